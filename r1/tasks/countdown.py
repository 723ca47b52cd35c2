"""Countdown: reach a target with all of the given numbers, each once. The answer is an expression, so any solution counts.

Problems are built backwards from a solution: numbers are combined two at a time in a random tree until one value is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from r1.records import Problem
from r1.repro import key
from r1.tasks.base import distinct, split

ASK = {
    "en": "Using each of the numbers {numbers} exactly once, together with {operations} and parentheses, write an expression that equals {target}.",
    "zh": "用 {numbers} 这些数各一次，加上 {operations} 和括号，写出一个等于 {target} 的算式。",
}  # fmt: skip


class Countdown:
    """`size` training problems, and the problems of `validation` and of `test` other sets of numbers.

    count           how many numbers a problem has, fewest and most
    highest         numbers are drawn from 1..highest, repetition allowed; intermediate values are positive integers up to
                    ten times `target_highest`
    target_highest  the largest target
    operations      any of + - * /; a division comes out even
    """

    def __init__(
        self,
        size: int = 10_000,
        validation: int = 200,
        test: int = 500,
        count: Sequence[int] = (3, 4),
        highest: int = 99,
        target_highest: int = 999,
        operations: str = "+-*/",
        language: str = "en",
        seed: int = 0,
        name: str = "countdown",
    ) -> None:
        if not 2 <= count[0] <= count[1] <= highest:
            raise ValueError(f"count must be 2 <= fewest <= most <= highest, got count={list(count)} and highest={highest}")
        if not operations or set(operations) - set("+-*/"):
            raise ValueError(f"operations are any of + - * /, got {operations!r}")
        if language not in ASK:
            raise ValueError(f"language must be one of {', '.join(ASK)}, got {language!r}")
        self.name, self.seed, self.language, self.operations = name, seed, language, operations
        self.count, self.highest, self.target_highest = count, highest, target_highest
        problems = distinct(self.problem, size + validation + test, lambda p: (tuple(p.meta["numbers"]), p.meta["target"]))
        # By numbers, not by problem: the same numbers with another target would be half the solution.
        parts = split(problems, validation, test, seed, by=lambda p: p.meta["numbers"])
        self.train, self.validation, self.test = parts.train, parts.validation, parts.test

    def problem(self, index: int) -> Problem | None:
        """Problem number `index`, or None where its draw leads to no allowed target."""
        rng = Random(key(self.seed, self.name, index))
        numbers = [rng.randint(1, self.highest) for _ in range(rng.randint(*self.count))]
        solved = combine(rng, numbers, self.operations, 10 * self.target_highest)
        if solved is None or solved[0] > self.target_highest:
            return None
        target, expression = solved
        question = ASK[self.language].format(
            numbers=", ".join(map(str, numbers)), operations=" ".join(self.operations), target=target
        )
        meta = {
            "verifier": "expression",
            "numbers": sorted(numbers),
            "use": len(numbers),
            "target": target,
            "operations": self.operations,
        }
        label = "-".join(map(str, sorted(numbers)))
        return Problem(f"{self.name}/{label}/{target}", question, expression, language=self.language, meta=meta)


def combine(rng: Random, numbers: Sequence[int], operations: str, largest: int) -> tuple[int, str] | None:
    """(value, expression) of a random tree over all the numbers, every inner value a positive integer up to `largest`.

    None when the numbers left allow no operation.
    """
    parts = [(number, str(number)) for number in numbers]
    while len(parts) > 1:
        (a, left), (b, right) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        results = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if a % b == 0 else 0}
        allowed = [op for op in operations if 0 < results[op] <= largest]
        if not allowed:
            return None
        op = rng.choice(allowed)
        parts.append((results[op], f"({left} {op} {right})"))
    value, expression = parts[0]
    return value, expression.removeprefix("(").removesuffix(")")
