"""Training a reward model: pairwise (Bradley-Terry) for helpfulness, pointwise for harmlessness (v2 2.2, 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from r1 import metrics
from r1.grading import parse
from r1.policy import Policy
from r1.policy.scorer import Scorer
from r1.records import Problem
from r1.rollout.hf import evaluating
from r1.stages.base import Stage
from r1.stages.optimizers import Schedule
from r1.tasks.loader import StepLoader
from r1.tasks.preference import Labelled, Pair


class RewardModel(Stage):
    """Teach the policy's backbone, with one number on top, which responses people prefer.

    Pairs:     loss = -log sigmoid(s(chosen) - s(rejected))         mean over the pairs of a step
    Labelled:  loss = -log sigmoid(+-s(response))                   mean over the responses of a step

    judged      what of a response is read: "summary", what follows the thought (the paper's helpfulness), or "whole" (harmlessness)
    batch_size  pairs or labelled responses of one update; the paper: 256
    max_tokens  longer rows lose their middle
    micro_rows  rows of one forward pass
    """

    policy: Scorer

    def __init__(
        self,
        policy: Policy,
        optimizer: Callable[[Any], Optimizer],
        schedule: Schedule | None = None,
        judged: Literal["summary", "whole"] = "summary",
        steps: int | None = None,
        epochs: float | None = None,
        batch_size: int = 256,
        max_tokens: int = 8192,
        micro_rows: int = 32,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        scorer = Scorer.from_policy(policy)
        super().__init__(scorer, None, optimizer, schedule, steps or 1, max_grad_norm, stop_after, seed)
        self.fixed_steps, self.epochs = steps, epochs
        self.judged, self.batch_size = judged, batch_size
        self.max_tokens, self.micro_rows = max_tokens, micro_rows
        self.held_out: list[Pair | Labelled] = []

    def loader(self, task: Any) -> StepLoader:
        self.held_out = list(task.validation)
        loader = StepLoader(task.train, self.batch_size, self.fixed_steps, self.seed, self.epochs)
        self.steps = len(loader)
        return loader

    def training_step(self, rows: list[Pair | Labelled], batch_idx: int) -> None:
        rows = self.my_share(rows)
        (count,) = self.over_ranks(len(rows))
        with self.clock("update"):
            batches = [rows[i : i + self.micro_rows] for i in range(0, len(rows), self.micro_rows)]
            right: list[Tensor] = []

            def loss_of(batch: Sequence[Pair | Labelled]) -> tuple[Tensor, None]:
                loss, margins = self.loss(batch)
                right.append((margins > 0).float().sum())
                return loss / count, None

            _, figures = self.optimise(batches, loss_of)
        (correct,) = self.over_ranks(float(sum(right)))
        self.log_step(figures | {metrics.PAIR_ACCURACY: correct / count})
        if self.rollout_step == self.trainer.num_training_batches:
            self.log_held_out()

    def loss(self, batch: Sequence[Pair | Labelled]) -> tuple[Tensor, Tensor]:
        """The sum of the rows' losses, and their margins."""
        margins = self.margins(batch)
        return -F.logsigmoid(margins).sum(), margins.detach()

    def rehearsal(self, loader: StepLoader[Pair | Labelled]) -> list[list[Pair | Labelled]]:
        """The largest micro-batch this run can meet: as many of the longest row as one holds."""
        longest = max(loader.items, key=lambda row: max(map(len, self.encoded(texts_of(row)))))
        return [[longest] * min(self.micro_rows, self.batch_size)]

    def margins(self, batch: Sequence[Pair | Labelled]) -> Tensor:
        """[n] how far each row is on the right side: s(chosen) - s(rejected), or +-s(response)."""
        if isinstance(batch[0], Pair):
            pairs = cast("Sequence[Pair]", batch)
            scores = self.scores([text for row in pairs for text in texts_of(row)]).reshape(-1, 2)
            return scores[:, 0] - scores[:, 1]
        labelled = cast("Sequence[Labelled]", batch)
        signs = torch.tensor([1.0 if row.good else -1.0 for row in labelled], device=self.device)
        return signs * self.scores([text for row in labelled for text in texts_of(row)])

    def scores(self, texts: Sequence[tuple[Problem, str]]) -> Tensor:
        """[B] scores of responses, each to its problem."""
        return self.policy(self.encoded(texts))

    def encoded(self, texts: Sequence[tuple[Problem, str]]) -> list[list[int]]:
        """What is read of responses, each with its problem, as token ids."""
        return [self.policy.encode(problem, self._read(text), self.max_tokens) for problem, text in texts]

    def _read(self, response: str) -> str:
        return parse(response).summary if self.judged == "summary" else response

    @torch.no_grad()
    def accuracy(self, rows: Sequence[Pair | Labelled]) -> float:
        """Share of rows on the right side of 0; a tie counts half. Dropout is off: the same weights give the same share."""
        with evaluating(self.policy):
            margins = torch.cat([self.margins(rows[i : i + self.micro_rows]) for i in range(0, len(rows), self.micro_rows)])
        return float((margins > 0).float().mean() + 0.5 * (margins == 0).float().mean())

    def log_held_out(self) -> None:
        """Accuracy on what was not trained on. Part of the last step: a hook after it would come after the last checkpoint, and a run
        that is killed in between would never log it."""
        if self.held_out:  # on every rank: sharded weights are gathered by all
            name, value = metrics.evaluation("preferences", "accuracy"), self.accuracy(self.held_out)
            for logger in self.trainer.loggers:
                logger.log_metrics({name: value}, step=self.rollout_step)
            self.trainer.callback_metrics[name] = torch.tensor(value)


def texts_of(row: Pair | Labelled) -> list[tuple[Problem, str]]:
    """The responses that a row scores, each with its problem; of a pair the better one first."""
    responses = (row.chosen, row.rejected) if isinstance(row, Pair) else (row.response,)
    return [(row.problem, response) for response in responses]
