"""Supervised fine-tuning: cross-entropy on completions. Also what pretrains the tiny base from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from r1_kernels import Stats, linear_cross_entropy
from torch import Tensor
from torch.optim import Optimizer

from r1 import metrics
from r1.policy import Policy
from r1.records import Batch
from r1.rewards import Reward
from r1.rollout.collate import narrow
from r1.rollout.supervised import collate_pairs, pack_pairs
from r1.stages.base import Stage
from r1.stages.examples import Example, ExampleLoader
from r1.stages.optimizers import Schedule
from r1.tasks.documents import Lesson


class SFT(Stage):
    """Learn the completions of documents, mean over the learned tokens of a step (v1 2.3.3 for the recipe).

    tokens_per_step   padded tokens of one optimiser update; `micro_tokens` of one forward pass
    steps, epochs     give one of them; the other is null
    train_on_prompt   learn the prompt's tokens too (all but the first), as in pretraining on whole texts
    max_tokens        examples longer than this are left out and counted; the length of a packed row
    packing           several examples a row, each with positions from 0 and unseen by the others, instead of padding
    """

    policy: Policy
    counters = (*Stage.counters, "num_tokens")

    def __init__(
        self,
        policy: Policy,
        optimizer: Callable[[Policy], Optimizer],
        reward: Reward | None = None,
        schedule: Schedule | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        tokens_per_step: int = 1024,
        micro_tokens: int = 8192,
        train_on_prompt: bool = False,
        max_tokens: int | None = None,
        packing: bool = False,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(policy, reward, optimizer, schedule, steps or 1, max_grad_norm, stop_after, seed)
        if (steps is None) == (epochs is None):
            raise ValueError(f"give either `steps` or `epochs` and leave the other null, got steps={steps} and epochs={epochs}")
        self.num_tokens = 0  # of all examples so far, prompts included
        self.epochs = epochs
        self.fixed_steps = steps
        self.tokens_per_step, self.micro_tokens = tokens_per_step, micro_tokens
        self.train_on_prompt, self.packing = train_on_prompt, packing
        self.max_tokens = min(max_tokens or tokens_per_step, tokens_per_step)

    def examples(self, task: Any) -> Iterable[Example]:
        """The task's documents as token ids. A `Lesson` goes through the policy's template; the prompt of a corpus document is
        text that is already rendered."""
        documents = task.documents
        tokenizer, eos = self.policy.tokenizer, self.policy.tokenizer.eos_token_id
        if isinstance(documents[0], Lesson):
            prompts = [self.policy.encode(lesson.problem) for lesson in documents]
        else:
            prompts = tokenizer([document.prompt for document in documents], return_attention_mask=False)["input_ids"]
        texts = [document.body for document in documents]
        bodies = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return (Example(list(prompt), [*body, eos]) for prompt, body in zip(prompts, bodies, strict=True))

    def loader(self, task: Any) -> ExampleLoader:
        everything = list(self.examples(task))
        short = [example for example in everything if example.length <= self.max_tokens]
        if len(short) < len(everything):
            print(f"left out {len(everything) - len(short)} of {len(everything)} examples longer than {self.max_tokens} tokens")
        loader = ExampleLoader(short, self.tokens_per_step, self.fixed_steps, self.epochs, self.seed)
        self.steps = len(loader)
        return loader

    def training_step(self, examples: list[Example], batch_idx: int) -> None:
        self.log_step(self.learn(self.my_share(examples)))

    def learn(self, examples: list[Example]) -> dict[str, float]:
        """One update on this rank's examples, and its figures."""
        with self.clock("update"):
            stats, figures = self.optimise(self.collate(examples), self.loss)
        (tokens,) = self.over_ranks(sum(example.length for example in examples))
        self.num_tokens += int(tokens)
        figures[metrics.NUM_TOKENS] = float(self.num_tokens)
        return figures | (metrics.of_stats(stats.as_dict()) if stats is not None else {})

    def collate(self, examples: list[Example]) -> list[Batch]:
        """Micro-batches whose weights are 1 / (learned tokens of this step over all ranks)."""
        batches = self._packed(examples) if self.packing else self._padded(examples)
        (tokens,) = self.over_ranks(sum(float(batch.weight.sum()) for batch in batches))
        return [replace(batch, weight=batch.weight / tokens) for batch in batches]

    def _padded(self, examples: list[Example]) -> list[Batch]:
        rows = max(1, self.micro_tokens // max((example.length for example in examples), default=1))
        chunks = [examples[i : i + rows] for i in range(0, len(examples), rows)]
        return [collate_pairs(chunk, self.policy.pad_id, self.train_on_prompt) for chunk in chunks]

    def _packed(self, examples: list[Example]) -> list[Batch]:
        if not examples:
            return []
        batch = pack_pairs(examples, self.policy.pad_id, self.max_tokens, self.train_on_prompt)
        rows = max(1, self.micro_tokens // batch.tokens.shape[1])
        return [narrow(batch, range(i, min(i + rows, len(batch)))) for i in range(0, len(batch), rows)]

    def rehearsal(self, loader: ExampleLoader) -> list[Batch]:
        """The largest micro-batch this run can meet: as many of the longest example as a step holds."""
        if not isinstance(loader, ExampleLoader):  # a stage that samples its own examples has no longest one
            return []
        longest = max(loader.examples, key=lambda example: example.length)
        return self.collate([longest] * max(1, self.tokens_per_step // longest.length))[:1]

    def loss(self, batch: Batch) -> tuple[Tensor, Stats]:
        batch = batch.to(self.device)
        return linear_cross_entropy(self.policy.hidden(batch), self.policy.head, batch.targets, batch.weight)
