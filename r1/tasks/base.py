"""What a task is, how problems are split, mixed and kept clean, and in which order they are trained on.

A task is any object with a `name` and three lists of problems, `train`, `validation` and `test`. Choices are made on
validation; test is read once. Everything here is a pure function of its arguments: no list depends on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from r1.records import Problem
from r1.repro import shuffled

T = TypeVar("T")


@runtime_checkable
class Task(Protocol):
    """A problem set in three parts. No problem is in two of them."""

    name: str

    @property
    def train(self) -> list[Problem]: ...

    @property
    def validation(self) -> list[Problem]: ...

    @property
    def test(self) -> list[Problem]: ...


@dataclass(frozen=True)
class Split:
    """The three parts of a task, train first."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


def split(
    items: Sequence[T], validation: int, test: int, seed: int, by: Callable[[T], Hashable] = lambda item: repr(item)
) -> Split:
    """Items in three parts, shuffled by (seed, `by`): `test` of the distinct values of `by`, then `validation`, then the rest.

    Items that share a value of `by` (the same question, the same set of numbers) always land in the same part. The order
    depends only on the set of values, so the order in which a file lists its rows does not move a problem.
    """
    members: dict[str, list[T]] = {}
    for item in items:
        members.setdefault(str(by(item)), []).append(item)
    if validation < 0 or test < 0 or validation + test > len(members):
        raise ValueError(
            f"a split needs validation >= 0, test >= 0 and validation + test <= the {len(members)} distinct problems, "
            f"got validation={validation} and test={test}"
        )
    order = shuffled(sorted(members), seed, "split")

    def gather(names: list[str]) -> list[T]:
        return [item for name in names for item in members[name]]

    return Split(gather(order[test + validation :]), gather(order[test : test + validation]), gather(order[:test]))


def distinct(make: Callable[[int], T | None], size: int, by: Callable[[T], Hashable]) -> list[T]:
    """The first `size` of make(0), make(1), ... that are not None and differ in `by`.

    Raises ValueError when 50 draws per item are not enough: the generator has too few different problems.
    """
    found: dict[Hashable, T] = {}
    for index in range(50 * size):
        if len(found) == size:
            break
        item = make(index)
        if item is not None:
            found.setdefault(by(item), item)
    if len(found) < size:
        raise ValueError(
            f"only {len(found)} different problems of the {size} asked for exist or are found; ask for fewer or widen the ranges"
        )
    return list(found.values())


def unique_ids(problems: Sequence[Problem], where: str) -> list[Problem]:
    """The same list; ValueError where an id occurs twice, since random draws and per-problem scores are keyed by it."""
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise ValueError(f"{where} holds the problem id {problem.id!r} twice; ids must be unique within a set")
        seen.add(problem.id)
    return list(problems)


class Mixture:
    """Several tasks as one. Of the training problems, task `name` contributes the share `shares[name]`.

    The training set is as large as the shares allow without repeating a problem (`size` makes it smaller); each task gives the
    first problems of its own list in an order keyed by `seed`. Validation and test are all problems of all tasks.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        shares: Mapping[str, float],
        size: int | None = None,
        seed: int = 0,
        name: str = "mixture",
    ) -> None:
        if set(tasks) != set(shares):
            raise ValueError(f"a mixture needs one share per task: tasks {sorted(tasks)}, shares {sorted(shares)}")
        if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError(f"shares must be non-negative with a positive sum, got {dict(shares)}")
        total = sum(shares.values())
        self.name = name
        self.tasks = dict(tasks)
        self.shares = {task: share / total for task, share in shares.items()}
        self.seed = seed
        largest = int(min((len(tasks[task].train) + 1e-6) / share for task, share in self.shares.items() if share > 0))
        self.size = largest if size is None else size
        if not 0 < self.size <= largest:
            raise ValueError(
                f"with shares {dict(shares)} a mixture of these tasks holds 1 to {largest} problems without repeating one, got size={size}"
            )

    @property
    def train(self) -> list[Problem]:
        parts = [shuffled(task.train, self.seed, "mixture", name)[: self._count(name)] for name, task in self.tasks.items()]
        return shuffled(unique_ids([p for part in parts for p in part], self.name), self.seed, "mixture")

    @property
    def validation(self) -> list[Problem]:
        return unique_ids([p for task in self.tasks.values() for p in task.validation], self.name)

    @property
    def test(self) -> list[Problem]:
        return unique_ids([p for task in self.tasks.values() for p in task.test], self.name)

    def _count(self, name: str) -> int:
        return int(self.shares[name] * self.size + 1e-6)
