"""The training order: which items each step is made of, as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from r1.repro import shuffled

T = TypeVar("T")
Phase = tuple[int, Sequence[T]]  # (first step, items from then on)


class StepLoader(Generic[T]):
    """`steps` lists of `per_step` items. Give `steps`, or `epochs` and the number of steps follows.

    An epoch is one permutation, keyed by (seed, "order", epoch), cut into whole steps; the remainder that fills no step is
    left out of this epoch, so that no step holds an item twice. Every rank is handed the whole step and takes its share.

    `position` counts the steps handed out. It moves before the step is yielded: Lightning never asks a sized loader for the
    item after the last, so code behind the last `yield` would not run. A second pass goes on where the first one ended.
    """

    def __init__(
        self, items: Sequence[T], per_step: int, steps: int | None = None, seed: int = 0, epochs: float | None = None
    ) -> None:
        self.items = list(items)
        if not 0 < per_step <= len(self.items):
            raise ValueError(
                f"a step of {per_step} cannot be filled: there are {len(self.items)} to train on, and it holds at least one and none twice"
            )
        if (steps is None) == (epochs is None):
            raise ValueError(f"give either `steps` or `epochs` and leave the other null, got steps={steps} and epochs={epochs}")
        self.per_step, self.seed = per_step, seed
        self.steps = steps if steps is not None else max(1, round(len(self.items) // per_step * float(epochs or 0)))
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.position = 0
        self._order: tuple[int, list[T]] = (-1, [])

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[T]]:
        end = (self.position // self.steps + 1) * self.steps
        while self.position < end:
            self.position += 1
            yield self.step(self.position - 1)

    def step(self, index: int) -> list[T]:
        """The items of step `index`, counted from 0 over all passes."""
        epoch, place = divmod(index, len(self.items) // self.per_step)
        if self._order[0] != epoch:  # a permutation per epoch, not per step
            self._order = (epoch, shuffled(self.items, self.seed, "order", epoch))
        return self._order[1][place * self.per_step : (place + 1) * self.per_step]

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.position = int(state["position"])


class PhasedLoader(StepLoader[T]):
    """A StepLoader whose items change on the way: `phases` are (first step, items), the first of them from step 0 on.

    Each phase has its own epochs, counted from its first step. Still a pure function of (seed, step).
    """

    def __init__(self, phases: Sequence[Phase[T]], per_step: int, steps: int, seed: int = 0) -> None:
        starts = [start for start, _ in phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise ValueError(f"phases begin at rising steps, the first at 0; got {starts}")
        super().__init__(phases[0][1], per_step, steps, seed)
        self.items = [item for _, items in phases for item in items]  # whatever the run can meet
        self.phases = [(start, StepLoader(items, per_step, steps, seed)) for start, items in phases]

    def step(self, index: int) -> list[T]:
        start, loader = max((phase for phase in self.phases if phase[0] <= index), key=lambda phase: phase[0])
        return loader.step(index - start)
