"""Supervised examples and the order in which they are learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from r1 import repro


class Example(NamedTuple):
    """Token ids of one supervised example: the prompt [S] (at least one id) and the completion [T], end of sequence included."""

    prompt_ids: list[int]
    completion_ids: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


class ExampleLoader:
    """The examples of each optimiser update: about `tokens_per_step` padded tokens of examples of similar length.

    An epoch is a permutation keyed by (seed, epoch). It is cut into windows of many steps; inside a window examples are sorted
    by length, cut into steps, and the steps are shuffled again, so that little is padded and no step sees one length only by
    place. Give `steps`, or `epochs` and the number of steps follows. `position` counts steps handed out and is the whole state.
    """

    WINDOW = 64  # steps that share one sort by length

    def __init__(
        self,
        examples: Sequence[Example],
        tokens_per_step: int,
        steps: int | None = None,
        epochs: float | None = None,
        seed: int = 0,
    ) -> None:
        if not examples:
            raise ValueError("no examples to learn from: the data set is empty, or the filter left nothing")
        if (steps is None) == (epochs is None):
            raise ValueError(f"give either `steps` or `epochs`, got steps={steps} and epochs={epochs}")
        longest = max(example.length for example in examples)
        if longest > tokens_per_step:
            raise ValueError(
                f"the longest example has {longest} tokens, more than tokens_per_step={tokens_per_step}; raise it or filter"
            )
        self.examples, self.tokens_per_step, self.seed = list(examples), tokens_per_step, seed
        self.steps = steps if steps is not None else max(1, round(len(self._epoch(0)) * float(epochs or 0)))
        self.position = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Example]]:
        epoch, first, plan = 0, 0, self._epoch(0)
        while self.position < self.steps:
            while self.position >= first + len(plan):
                epoch, first = epoch + 1, first + len(plan)
                plan = self._epoch(epoch)
            self.position += 1  # before the yield: Lightning never asks for the item after the last
            yield [self.examples[i] for i in plan[self.position - 1 - first]]

    def _epoch(self, epoch: int) -> list[list[int]]:
        """The example numbers of every step of an epoch."""
        order = repro.shuffled(list(range(len(self.examples))), self.seed, "examples", epoch)
        mean = sum(example.length for example in self.examples) / len(self.examples)
        window = max(1, int(self.WINDOW * self.tokens_per_step / mean))
        steps: list[list[int]] = []
        for start in range(0, len(order), window):
            cut = self._cut(sorted(order[start : start + window], key=lambda i: self.examples[i].length))
            steps += repro.shuffled(cut, self.seed, "steps", epoch, start)
        return steps

    def _cut(self, numbers: list[int]) -> list[list[int]]:
        """Sorted examples in steps of at most `tokens_per_step` padded tokens."""
        steps: list[list[int]] = [[]]
        for number in numbers:
            if steps[-1] and self.examples[number].length * (len(steps[-1]) + 1) > self.tokens_per_step:
                steps.append([])
            steps[-1].append(number)
        return steps

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.position = int(state["position"])
