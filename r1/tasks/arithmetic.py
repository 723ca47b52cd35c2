"""Chained arithmetic: "Calculate 12 + 7 * (3 - 4) - 5." with the exact integer as gold answer, at any difficulty."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from r1.records import Problem
from r1.repro import key
from r1.tasks.base import distinct, split

ASK = {"en": "Calculate {expression}.", "zh": "计算 {expression}。"}


class Arithmetic:
    """`size` training problems, `validation` and `test` others; no expression occurs twice.

    terms        operands in a chain, fewest and most
    digits       digits of an operand, fewest and most
    operations   any of + - *; the usual precedence holds
    parentheses  how often a chain holds one bracketed pair of neighbours
    """

    def __init__(
        self,
        size: int = 10_000,
        validation: int = 200,
        test: int = 500,
        terms: Sequence[int] = (2, 4),
        digits: Sequence[int] = (1, 2),
        operations: str = "+-*",
        parentheses: float = 0.3,
        language: str = "en",
        seed: int = 0,
        name: str = "arithmetic",
    ) -> None:
        if not 2 <= terms[0] <= terms[1] or not 1 <= digits[0] <= digits[1]:
            raise ValueError(f"need 2 <= terms and 1 <= digits, fewest first, got terms={list(terms)} and digits={list(digits)}")
        if not operations or set(operations) - set("+-*"):
            raise ValueError(f"operations are any of + - *, got {operations!r}")
        if language not in ASK or not 0 <= parentheses <= 1:
            raise ValueError(f"language is one of {', '.join(ASK)} and parentheses a share, got {language!r} and {parentheses}")
        self.name, self.seed, self.language = name, seed, language
        self.terms, self.digits, self.operations, self.parentheses = terms, digits, operations, parentheses
        problems = distinct(self.problem, size + validation + test, lambda p: p.question)
        parts = split(problems, validation, test, seed, by=lambda p: p.question)
        self.train, self.validation, self.test = parts.train, parts.validation, parts.test

    def problem(self, index: int) -> Problem:
        rng = Random(key(self.seed, self.name, index))
        count = rng.randint(*self.terms)
        operands = [self._operand(rng) for _ in range(count)]
        chain = [rng.choice(self.operations) for _ in range(count - 1)]
        texts = [str(operand) for operand in operands]
        if count > 2 and rng.random() < self.parentheses:
            i = rng.randrange(count - 1)
            pair = operands[i : i + 2], chain[i : i + 1]
            operands[i : i + 2], texts[i : i + 2] = [evaluate(*pair)], [f"({texts[i]} {chain[i]} {texts[i + 1]})"]
            del chain[i]
        expression = texts[0] + "".join(f" {op} {text}" for op, text in zip(chain, texts[1:]))
        question = ASK[self.language].format(expression=expression)
        answer = str(evaluate(operands, chain))
        meta = {"verifier": "numeric"}  # mathematics would accept the question itself as an answer
        return Problem(f"{self.name}/{expression.replace(' ', '')}", question, answer, language=self.language, meta=meta)

    def _operand(self, rng: Random) -> int:
        digits = rng.randint(*self.digits)
        return rng.randint(10 ** (digits - 1), 10**digits - 1)


def evaluate(operands: Sequence[int], chain: Sequence[str]) -> int:
    """The value of operand (operation operand)*, products first.

    >>> evaluate([2, 3, 4, 5], ["-", "*", "+"])
    -5
    """
    total, product = 0, operands[0]
    for op, operand in zip(chain, operands[1:]):
        if op == "*":
            product *= operand
        else:
            total, product = total + product, operand if op == "+" else -operand
    return total + product
