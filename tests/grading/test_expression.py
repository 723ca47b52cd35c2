"""Countdown answers: which expressions solve the problem, and which are the same opinion."""

from __future__ import annotations

from fractions import Fraction

import pytest

from r1.grading import expression

TWO_OF = {"numbers": [9, 6, 2], "use": 2, "target": 54}

SOLVES = ["9 * 6", "6*9", "(9*6)", "9 × 6", r"9 \times 6", "$9 * 6$", "9 * 6 = 54", "  9  *  6 ", r"9 \cdot 6", "((9))*(6)"]
FAILS = [
    "", "54", "9 + 6", "9 * 6 * 2", "9 * 9", "27 * 2", "9 * 6 * 1", "9 * 6 + 0", "9*6-2+2", "6 * 9 = 45", "41 = 54", "9 * 6 = 54 = 54",
    "9 6", "9 ** 6", "9 // 6", "9 * 6 %", "9 * 06", "9.0 * 6", "-9 * -6", "nine * six", "9 * 6; import os", "__import__('os')", "9 * x",
    "9 * (6", "9 * 6)", "* 9 6", "9 *", "9 * 6 * 9 / 9", "96", "٩ * ٦", "9 * 6\n= 53", "9 * 6 or 2", "answer: 9 * 6", "9 ^ 6", "1e1",
]  # fmt: skip


@pytest.mark.parametrize("answer", SOLVES)
def test_solves(answer: str) -> None:
    assert expression.solves(answer, TWO_OF)


@pytest.mark.parametrize("answer", FAILS)
def test_does_not_solve(answer: str) -> None:
    assert not expression.solves(answer, TWO_OF)


def test_how_many_numbers_must_be_used() -> None:
    rule = {"numbers": [3, 3, 8, 8], "target": 24}
    clever = "8 / (3 - 8 / 3)"  # exact: in floating point this is 23.999999999999989
    assert expression.solves(clever, rule | {"use": "all"})
    assert expression.solves("8 * 3", rule)
    assert not expression.solves("8 * 3", rule | {"use": "all"})
    assert not expression.solves("8 * 3", rule | {"use": 3})
    assert not expression.solves("8 * 3 * 3 / 3", rule)  # three 3s, only two are given


def test_division_by_zero_is_no_solution() -> None:
    assert not expression.solves("9 / (6 - 6)", {"numbers": [9, 6, 6], "target": 0})


def test_value_is_exact() -> None:
    assert expression.value(expression.read("1/3 + 1/6")) == Fraction(1, 2)
    assert expression.value(expression.read("8 - 3 - 2")) == 3  # left to right
    assert expression.value(expression.read("2 + 3 * 4")) == 14
    assert expression.value(expression.read(r"\frac{9 + 1}{2}")) == 5


FORMS = [("9 * 6", "6*9", True), ("1 + 2 + 3", "3 + (2 + 1)", True), ("9 - 2 + 6", "9 + 6 - 2", True), ("9 - (2 - 6)", "9 + 6 - 2", True),
         ("8 / 2 * 3", "3 * 8 / 2", True), ("(1+2)*3", "3*(2+1)", True), ("9 - 6", "6 - 9", False), ("9 / 6", "6 / 9", False),
         ("9 * 6", "27 * 2", False), ("(1+2)*3", "1+2*3", False)]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "same"), FORMS)
def test_form(one: str, other: str, same: bool) -> None:
    assert (expression.form(expression.read(one)) == expression.form(expression.read(other))) is same


@pytest.mark.parametrize("text", ["(" * 10**5, "1+" * 10**5, "9" * 10**5, "(" * 90 + "1" + ")" * 90])
def test_hostile_depth(text: str) -> None:
    assert expression.read(text) is None
