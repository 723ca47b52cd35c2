"""Expressions said step by step, in both languages: "try (12 + 7) * 3 : 12 plus 7 is 19 , 19 times 3 is 57 want 54 no ."

The words are those of the tiny family and a division. Numbers are no words here: intermediate results reach ten thousand and
beyond, most of them seen once or never, so a number is written digit by digit (`word_tokenizer(words, digits=True)`). Twenty
digit tokens cover every integer, and what a digit means is learned from all numbers at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from random import Random

from r1.records import Problem
from r1.tasks import arithmetic, countdown
from r1.tasks.words import ANSWER, LEXICON, THINK

SPOKEN: dict[str, dict[str, str]] = {"en": LEXICON["en"] | {"/": "over"}, "zh": LEXICON["zh"] | {"/": "除以"}}
SHEET = "Exercises."
SHEET_WITH = "Exercises with {numbers}."
OFF = (-10, -3, -2, -1, 1, 2, 3, 10)  # how far a slip is from the truth
_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def vocabulary() -> list[str]:
    """Every word of the English questions of Countdown and arithmetic, of the sheets, and of thoughts and answers, once.

    Full stop, comma and brackets are words of their own; digits are the tokenizer's.
    """
    questions = [countdown.ASK["en"], arithmetic.ASK["en"], SHEET, SHEET_WITH, "User Assistant"]
    asked = re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", " ".join(questions)))
    spoken = [word for lexicon in SPOKEN.values() for word in lexicon.values()]
    return list(dict.fromkeys([*THINK, *ANSWER, *"+-*/():,.", *asked, *spoken]))


def steps(expression: str, words: dict[str, str], slip: Callable[[int], int] = int) -> tuple[list[str], int]:
    """Every operation of an expression of integers, inner ones first, and the value that is stated last.

    `slip` turns a result into the one that is said, and the steps go on from that. A division that does not come out even (it
    can only follow a slip) is said as its whole part, a division by zero as 0.

    >>> steps("(12 + 7) * 3", SPOKEN["en"])
    (['12 plus 7 is 19', '19 times 3 is 57'], 57)
    """
    said: list[str] = []

    def visit(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if not isinstance(node, ast.BinOp) or type(node.op) not in _SYMBOLS:
            raise ValueError(f"expected an expression of non-negative integers and + - * /, got {expression!r}")
        a, b = visit(node.left), visit(node.right)
        symbol = _SYMBOLS[type(node.op)]
        value = slip(_apply(symbol, a, b))
        said.append(f"{a} {words[symbol]} {b} {words['is']} {value}")
        return value

    value = visit(ast.parse(expression, mode="eval").body)
    return said, value


def _apply(symbol: str, a: int, b: int) -> int:
    if symbol == "/":
        return a // b if b else 0
    return {"+": a + b, "-": a - b, "*": a * b}[symbol]


def attempt(expression: str, words: dict[str, str], want: int | None = None, slip: Callable[[int], int] = int) -> tuple[str, int]:
    """One line of a thought and the value it states. With `want`, that number and an honest verdict on the stated value follow.

    >>> attempt("9 - 6", SPOKEN["zh"], want=3)
    ('试 9 - 6 : 9 减 6 得 3 要 3 对 。', 3)
    """
    said, value = steps(expression, words, slip)
    line = f"{words['try']} {expression} : " + f" {words['comma']} ".join(said)
    if want is not None:
        line += f" {words['want']} {want} {words['yes' if value == want else 'no']}"
    return f"{line} {words['stop']}", value


def say(lines: list[str], expression: str, words: dict[str, str], want: int | None, slip: Callable[[int], int]) -> int:
    """Append an `attempt`, after "wait ," if it is not the first; the value it states."""
    line, value = attempt(expression, words, want, slip)
    lines.append(f"{words['wait']} {words['comma']} {line}" if lines else line)
    return value


def slips(rng: Random, share: float) -> Callable[[int], int]:
    """What turns a result into the one that is said: in this share of cases another number near it."""
    return lambda value: value + rng.choice(OFF) if rng.random() < share else value


def numbers_of(problem: Problem) -> tuple[int, ...]:
    """The sorted numbers of a problem of either task.

    >>> numbers_of(Problem("x", "Calculate 12 + 7 * (3 - 4)."))
    (3, 4, 7, 12)
    """
    return tuple(sorted(problem.meta["numbers"] if "numbers" in problem.meta else map(int, re.findall(r"\d+", problem.question))))
