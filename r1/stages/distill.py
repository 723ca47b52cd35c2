"""Distillation as the papers do it: supervised fine-tuning of a smaller model on a teacher's filtered samples (v1 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from r1.policy import Policy
from r1.records import Trace
from r1.rewards import Reward
from r1.rollout.trace_file import read_traces
from r1.stages.examples import Example
from r1.stages.optimizers import Schedule
from r1.stages.sft import SFT


class Distill(SFT):
    """SFT on the teacher's traces that the shared reward likes.

    traces       trace files of the teacher (`traces/*.jsonl.zst` of its run)
    min_reward   keep traces whose total reward is at least this
    per_problem  keep at most so many traces of one problem, the first ones; null keeps all

    Texts are tokenised anew with the student's template and tokenizer, since the two need not share a vocabulary. Truncated
    traces are never kept: the student would learn not to stop.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        optimizer: Callable[[Policy], Optimizer],
        traces: str | list[str],
        min_reward: float = 1.0,
        per_problem: int | None = None,
        schedule: Schedule | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        tokens_per_step: int = 1024,
        micro_tokens: int = 8192,
        max_tokens: int | None = None,
        packing: bool = False,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(
            policy, optimizer, reward, schedule, steps, epochs, tokens_per_step, micro_tokens, False, max_tokens, packing,
            max_grad_norm, stop_after, seed,
        )  # fmt: skip
        self.files = [Path(name) for name in ([traces] if isinstance(traces, str) else traces)]
        missing = [str(file) for file in self.files if not file.is_file()]
        if missing or not self.files:
            raise ValueError(f"expected the teacher's trace files in `stage.traces`, not found: {missing or 'none given'}")
        self.min_reward, self.per_problem = min_reward, per_problem

    def examples(self, task: Any) -> Iterable[Example]:
        """The kept traces as examples; `task` is not used, the problems come with the traces."""
        eos = self.policy.tokenizer.eos_token_id
        for trace in self.keep([trace for file in self.files for trace, _ in read_traces(file)]):
            body = self.policy.tokenizer(trace.text, add_special_tokens=False)["input_ids"]
            yield Example(self.policy.encode(trace.problem), [*body, eos])

    def keep(self, traces: list[Trace]) -> list[Trace]:
        """Finished, rewarded traces, at most `per_problem` of each problem."""
        kept: dict[str, list[Trace]] = {}
        for trace in self.reward.score([trace for trace in traces if not trace.truncated]):
            of_problem = kept.setdefault(trace.problem.id, [])
            good = trace.score.total is not None and trace.score.total >= self.min_reward
            if good and (self.per_problem is None or len(of_problem) < self.per_problem):
                of_problem.append(trace)
        return [trace for of_problem in kept.values() for trace in of_problem]
