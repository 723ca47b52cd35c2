"""Pair countdown: "use two of 9 6 2 to make 54". A search small enough that a model of 122,560 parameters can think it through.

Three distinct numbers of 1..12 and + - * give nine candidates, so a blind valid guess is right in 11.7 % of the 1,884
problems; trying, checking and trying again is right in all of them. The split is by number set: a set of the test occurs
nowhere else, in any order or with any target.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from r1.records import Problem
from r1.repro import shuffled
from r1.tasks.base import Split, split
from r1.tasks.words import HIGHEST, OPERATIONS


class Candidate(NamedTuple):
    """One way to combine two of the numbers: `a op b = value`."""

    a: int
    op: str
    b: int
    value: int

    @property
    def expression(self) -> str:
        return f"{self.a} {self.op} {self.b}"


def candidates(numbers: Sequence[int]) -> list[Candidate]:
    """All pairs in list order, each with + - *; a difference has the larger number first, so every value is positive.

    >>> [c.expression for c in candidates([6, 9])]
    ['6 + 9', '9 - 6', '6 * 9']
    """
    found = []
    for a, b in combinations(numbers, 2):
        for op in OPERATIONS:
            first, second = (max(a, b), min(a, b)) if op == "-" else (a, b)
            value = {"+": a + b, "-": first - second, "*": a * b}[op]
            found.append(Candidate(first, op, second, value))
    return found


def ask(numbers: Sequence[int], target: int | None = None) -> str:
    """The question; without a target it is the header of an exercise sheet.

    >>> ask([9, 6, 2], 54)
    'use two of 9 6 2 to make 54'
    """
    listed = " ".join(str(number) for number in numbers)
    return f"use two of {listed}" if target is None else f"use two of {listed} to make {target}"


class PairCountdown:
    """The generated task of tiny models. `count` numbers of 1..`highest`; the harder variant is count=4, highest=10.

    `validation_share` and `test_share` are shares of the number sets. The test is the first `test_limit` problems of its
    shuffled list (None: all of them). With the defaults: 1,319 training, 188 validation and 377 test problems, 250 used
    (sets differ in how many targets they reach; split seed 30 is the first that gives these counts).
    """

    def __init__(
        self,
        count: int = 3,
        highest: int = 12,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        test_limit: int | None = 250,
        split_seed: int = 30,
        name: str = "pair_countdown",
    ) -> None:
        if not 2 <= count <= highest:
            raise ValueError(f"pair countdown needs 2 <= count <= highest distinct numbers, got count={count}, highest={highest}")
        if highest * (highest - 1) > HIGHEST:
            raise ValueError(f"numbers have words up to {HIGHEST}, so highest can be 14 at most (14 * 13 is 182), got {highest}")
        self.name, self.test_limit, self.split_seed = name, test_limit, split_seed
        sets = list(combinations(range(1, highest + 1), count))
        self.sets: Split = split(sets, round(validation_share * len(sets)), round(test_share * len(sets)), split_seed)

    @cached_property
    def train(self) -> list[Problem]:
        return self._problems(self.sets.train)

    @cached_property
    def validation(self) -> list[Problem]:
        return self._problems(self.sets.validation)

    @cached_property
    def test(self) -> list[Problem]:
        return self._problems(self.sets.test)[: self.test_limit]

    def _problems(self, sets: Sequence[tuple[int, ...]]) -> list[Problem]:
        targets = [(numbers, target) for numbers in sets for target in sorted({c.value for c in candidates(numbers)})]
        return shuffled([self._problem(numbers, target) for numbers, target in targets], self.split_seed, "problems")

    def _problem(self, numbers: tuple[int, ...], target: int) -> Problem:
        """The numbers stand in an order of the problem's own, so that no operand can be read off its place."""
        label = "-".join(str(number) for number in numbers)
        listed = shuffled(list(numbers), self.split_seed, label, target)
        answer = next(c.expression for c in candidates(listed) if c.value == target)
        meta = {"verifier": "expression", "numbers": listed, "use": 2, "target": target}
        return Problem(f"{self.name}/{label}/{target}", ask(listed, target), answer, meta=meta)
