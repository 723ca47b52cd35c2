from __future__ import annotations

import json

import pytest

from r1.records import Problem
from r1.tasks.base import Mixture, Split, phases, split, unique_ids
from r1.tasks.loader import PhasedLoader, StepLoader


def numbered(n: int, name: str = "p") -> list[Problem]:
    return [Problem(f"{name}/{i}", f"question {name} {i}") for i in range(n)]


class Listed:
    """A task from three lists."""

    def __init__(self, name: str, train: int, validation: int = 0, test: int = 0) -> None:
        self.name = name
        problems = numbered(train + validation + test, name)
        self.train, self.validation, self.test = (
            problems[:train],
            problems[train : train + validation],
            problems[train + validation :],
        )


def ids(problems: list[Problem]) -> list[str]:
    return [p.id for p in problems]


# --- split


def test_split_keeps_what_belongs_together_and_ignores_file_order() -> None:
    items = [(name, copy) for name in "abcdefghij" for copy in (1, 2)]
    parts = split(items, validation=2, test=3, seed=0, by=lambda item: item[0])
    names = [{item[0] for item in part} for part in (parts.train, parts.validation, parts.test)]
    assert [len(n) for n in names] == [5, 2, 3]
    assert len(set.union(*names)) == 10
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [10, 4, 6]
    backwards = split(items[::-1], validation=2, test=3, seed=0, by=lambda item: item[0])
    assert {i[0] for i in backwards.test} == names[2]
    assert {i[0] for i in split(items, 2, 3, seed=1, by=lambda item: item[0]).test} != names[2]


def test_split_of_nothing_held_out() -> None:
    assert split([], 0, 0, seed=0) == Split([], [], [])
    with pytest.raises(ValueError, match="3 distinct problems, got validation=2 and test=2"):
        split("aabbc", validation=2, test=2, seed=0)


# --- mixture


def test_mixture_has_the_shares_and_no_problem_twice() -> None:
    mixture = Mixture({"a": Listed("a", 30, 2, 1), "b": Listed("b", 100, 3, 4)}, {"a": 1, "b": 3})
    # share of a is 1/4, so its 30 problems allow 120 in all: 30 of a, 90 of b
    train = ids(mixture.train)
    assert (len(train), sum(i.startswith("a/") for i in train)) == (120, 30)
    assert len(set(train)) == 120
    assert (len(mixture.validation), len(mixture.test)) == (5, 5)
    small = Mixture({"a": Listed("a", 30), "b": Listed("b", 100)}, {"a": 0.25, "b": 0.75}, size=40)
    assert sum(i.startswith("a/") for i in ids(small.train)) == 10


def test_mixture_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="one share per task"):
        Mixture({"a": Listed("a", 3)}, {"b": 1})
    with pytest.raises(ValueError, match="1 to 6 problems"):
        Mixture({"a": Listed("a", 3), "b": Listed("b", 9)}, {"a": 1, "b": 1}, size=7)
    with pytest.raises(ValueError, match="'a/0' twice"):
        _ = Mixture({"a": Listed("a", 3), "again": Listed("a", 3)}, {"a": 1, "again": 1}).train


# --- the training order


def test_loader_order_listed() -> None:
    """bug 42: the order of the sampler, written out. Seven problems, two a step: three steps an epoch, one problem left out."""
    loader = StepLoader(numbered(7), per_step=2, steps=7, seed=0)
    steps = [ids(step) for step in loader]
    assert steps == LISTED
    for epoch in (steps[0:3], steps[3:6]):
        assert len({i for step in epoch for i in step}) == 6
    assert steps[0:3] != steps[3:6]
    assert [ids(step) for step in StepLoader(numbered(7), 2, 7, seed=1)] != steps


LISTED = [["p/1", "p/6"], ["p/2", "p/0"], ["p/3", "p/4"], ["p/0", "p/2"], ["p/4", "p/3"], ["p/5", "p/1"], ["p/2", "p/6"]]


def test_loader_goes_on_after_a_pass() -> None:
    """Every epoch has another permutation, also when the trainer never asks for the item after the last one."""
    loader = StepLoader(numbered(8), per_step=4, steps=2)
    passes = []
    for _ in range(3):
        iterator = iter(loader)
        passes.append([ids(next(iterator)) for _ in range(len(loader))])  # Lightning stops here: no StopIteration is ever seen
    assert len({str(p) for p in passes}) == 3
    straight = [ids(step) for step in StepLoader(numbered(8), per_step=4, steps=6)]
    assert [step for one in passes for step in one] == straight


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 8])
def test_loader_resumes_where_it_stopped(stop: int) -> None:
    """bug 47: replayed data after a resume; 4 and 8 are the ends of a pass, where naive loaders repeat the last order."""

    def run(loader: StepLoader, count: int) -> list[list[str]]:
        seen: list[list[str]] = []
        while len(seen) < count:
            for step in loader:
                seen.append(ids(step))
                if len(seen) == count:
                    break
        return seen

    whole = run(StepLoader(numbered(10), 3, 4), 12)
    first = StepLoader(numbered(10), 3, 4)
    head = run(first, stop)
    second = StepLoader(numbered(10), 3, 4)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert head + run(second, 12 - stop) == whole


def test_epochs_give_the_number_of_steps() -> None:
    assert len(StepLoader(numbered(10), 3, epochs=2)) == 6  # three whole steps an epoch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per_step": 8}, "there are 7 to train on"),
        ({"steps": 0}, "at least 1"),
        ({"epochs": 1}, "either `steps` or `epochs`"),
        ({"steps": None}, "either `steps` or `epochs`"),
    ],
)
def test_loader_refuses_what_it_cannot_do(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepLoader(numbered(7), **{"per_step": 2, "steps": 3, **arguments})


def test_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="'p/0' twice"):
        unique_ids(numbered(2) + numbered(1), "the training set")


class TestPhases:
    """General prompts that come late: a mixture with `starts`, and the loader that follows it."""

    def mixture(self, **changes) -> Mixture:
        return Mixture({"a": Listed("a", 8), "b": Listed("b", 8)}, {"a": 0.5, "b": 0.5}, **{"starts": {"b": 3}, **changes})

    def test_a_task_joins_at_its_start(self) -> None:
        (first, before), (second, after) = phases(self.mixture())
        assert (first, second) == (0, 3)
        assert sorted(ids(before)) == ids(numbered(8, "a"))
        assert sorted(ids(after)) == sorted(ids(numbered(8, "a") + numbered(8, "b"))) == sorted(ids(self.mixture().train))

    def test_a_task_without_phases_has_one(self) -> None:
        (only,) = phases(Listed("a", 3))
        assert only == (0, numbered(3, "a"))

    def test_the_loader_follows_and_resumes(self) -> None:
        loader = PhasedLoader(phases(self.mixture()), per_step=4, steps=7)
        steps = [ids(step) for step in loader]
        assert not [i for step in steps[:3] for i in step if i.startswith("b")]
        late = [i for step in steps[3:] for i in step]
        assert sorted(late) == sorted(ids(self.mixture().train))  # one epoch of its own: every problem once
        again = PhasedLoader(phases(self.mixture()), per_step=4, steps=7)
        again.load_state_dict({"position": 4})
        assert [ids(step) for step in again] == steps[4:]

    def test_one_phase_is_the_plain_loader(self) -> None:
        assert list(PhasedLoader([(0, numbered(7))], 2, 5, seed=3)) == list(StepLoader(numbered(7), 2, 5, seed=3))

    @pytest.mark.parametrize("starts", [{"c": 1}, {"b": -1}])
    def test_strange_starts_are_refused(self, starts: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="optimiser updates, 0 or more"):
            self.mixture(starts=starts)

    def test_something_begins_at_once(self) -> None:
        with pytest.raises(ValueError, match="no task of the mixture begins at update 0"):
            phases(self.mixture(starts={"a": 2, "b": 3}))
        with pytest.raises(ValueError, match="first at 0; got"):
            PhasedLoader([(1, numbered(3))], 1, 2)
