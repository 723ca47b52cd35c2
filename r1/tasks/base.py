"""What a task is, how problems are split, mixed and kept clean, and in which order they are trained on.

A task is any object with a `name` and three lists of problems, `train`, `validation` and `test`. Choices are made on
validation; test is read once. Everything here is a pure function of its arguments: no list depends on what ran before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

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


@dataclass(frozen=True)
class Part:
    """Which part of a task a file of problems is: "test", a benchmark, all of it; or "train", of which `validation` and `test`
    problems are held out, chosen by question and `seed`. Raises ValueError where a benchmark is to hold problems out."""

    name: Literal["train", "test"] = "test"
    validation: int = 0
    test: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in ("train", "test"):
            raise ValueError(f"part must be 'train' or 'test', got {self.name!r}")
        if self.name == "test" and (self.validation or self.test):
            raise ValueError(
                "only a training set (part=train) holds problems out, "
                f"got part=test, validation={self.validation}, test={self.test}"
            )

    def split(self, problems: list[Problem]) -> Split:
        if self.name == "test":
            return Split([], [], problems)
        return split(problems, self.validation, self.test, self.seed, by=lambda problem: problem.question)


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


def phases(task: Task) -> list[tuple[int, list[Problem]]]:
    """(first optimiser update, training problems) of every phase of a run on this task: one from 0 on, unless the task says otherwise."""
    found = [(start, unique_ids(problems, f"the training set of {task.name}")) for start, problems in getattr(task, "phases", [])]
    return found or [(0, unique_ids(task.train, f"the training set of {task.name}"))]


class Mixture:
    """Several tasks as one. Of the training problems, task `name` contributes the share `shares[name]`.

    The training set is as large as the shares allow without repeating a problem (`size` makes it smaller); each task gives the
    first problems of its own list in an order keyed by `seed`. Validation and test are all problems of all tasks.

    starts   task -> optimiser update from which on its problems are drawn (R1's general prompts: the last 400 of 1,700). Before it,
             the other tasks keep their shares of each other. `phases` has the training sets in turn, `train` the last of them
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        shares: Mapping[str, float],
        size: int | None = None,
        starts: Mapping[str, int] | None = None,
        seed: int = 0,
        name: str = "mixture",
    ) -> None:
        self.starts = {task: (starts or {}).get(task, 0) for task in tasks}
        if set(starts or {}) - set(tasks) or min(self.starts.values(), default=0) < 0:
            raise ValueError(
                f"starts maps tasks ({', '.join(sorted(tasks))}) to optimiser updates, 0 or more, got {dict(starts or {})}"
            )
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
        return self._drawn(set(self.tasks))

    @property
    def phases(self) -> list[tuple[int, list[Problem]]]:
        """(first update, training set) of every phase, in order; the first begins at 0."""
        begins = sorted({0, *self.starts.values()})
        sets = [self._drawn({task for task in self.tasks if self.starts[task] <= begin}) for begin in begins]
        if not sets[0]:
            raise ValueError(f"no task of the mixture begins at update 0, got starts={self.starts}")
        return list(zip(begins, sets, strict=True))

    def _drawn(self, names: set[str]) -> list[Problem]:
        parts = [shuffled(task.train, self.seed, "mixture", n)[: self._count(n)] for n, task in self.tasks.items() if n in names]
        return shuffled(unique_ids([p for part in parts for p in part], self.name), self.seed, "mixture")

    @property
    def validation(self) -> list[Problem]:
        return unique_ids([p for task in self.tasks.values() for p in task.validation], self.name)

    @property
    def test(self) -> list[Problem]:
        return unique_ids([p for task in self.tasks.values() for p in task.test], self.name)

    def _count(self, name: str) -> int:
        return int(self.shares[name] * self.size + 1e-6)
