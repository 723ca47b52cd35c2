"""Numbers and quantities without sympy."""

from __future__ import annotations

from fractions import Fraction

import pytest

from r1.grading.latex import squeeze, tidy
from r1.grading.quantity import quantity
from r1.grading.rational import rational

NUMBERS = [
    ("42", 42), ("-42", -42), ("+42", 42), ("042", 42), ("42.", 42), ("42.0", 42), (".5", "1/2"), ("1,000", 1000), ("1,234,567.5", "2469135/2"),
    ("2/3", "2/3"), ("-2/3", "-2/3"), (r"\frac{2}{3}", "2/3"), (r"-\frac{2}{3}", "-2/3"), (r"\frac{-2}{3}", "-2/3"), (r"2\frac{1}{3}", "7/3"),
    (r"-2\frac{1}{3}", "-7/3"), ("2 1/3", "7/3"), ("1.6e-19", "16e-20"), (r"1.6 \times 10^{-19}", "16e-20"), ("3 x 10^2", 300), ("(5)", 5), ("{5}", 5),
]  # fmt: skip
NOT_NUMBERS = [
    "",
    "x",
    "1,00",
    "1,0",
    "1,2",
    "1.2.3",
    "--3",
    "2/0",
    r"\frac{1}{0}",
    "1 2",
    "3+4",
    "2^3",
    "1e9999999",
    "9" * 300,
    "(1)(2)",
    "½x",
    "12e",
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_rational(text: str, value: int | str) -> None:
    assert rational(text) == Fraction(value)


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_not_rational(text: str) -> None:
    assert rational(text) is None


QUANTITIES = [
    ("42%", 42, "%", ""), ("42 percent", 42, "%", ""), (r"90^\circ", 90, "degree", ""), ("90°", 90, "degree", ""), ("5 cm", 5, "", "cm"),
    (r"5\text{ cm}^2", 5, "", "cm^2"), ("60 km/h", 60, "", "km/h"), ("30元", 30, "", "元"), ("25平方厘米", 25, "", "平方厘米"), ("3 apples", 3, "", "apples"),
    (r"\$18", 18, "", ""), ("￥18", 18, "", ""), ("18 dollars", 18, "", "dollars"), (r"\frac{1}{2} hours", "1/2", "", "hours"), ("5 m", 5, "", "m"),
]  # fmt: skip
NO_QUANTITY = [
    "5x",
    "5 x",
    "5m",
    "12 hours 30 minutes",
    "12小时30分钟",
    "5 million",
    "3 dozen",
    "5 + 2 cm",
    "x cm",
    "3 or 4",
    "2 pi",
    "cm",
    "%",
]


@pytest.mark.parametrize(("text", "value", "sign", "unit"), QUANTITIES)
def test_quantity(text: str, value: int | str, sign: str, unit: str) -> None:
    found = quantity(tidy(text))
    assert found is not None
    assert (found.value, found.sign, found.unit) == (Fraction(value), sign, unit)


@pytest.mark.parametrize("text", NO_QUANTITY)
def test_no_quantity(text: str) -> None:
    assert quantity(tidy(text)) is None


TIDY = [
    (r"$\dfrac{1}{2}$.", r"\frac{1}{2}"), (r"\frac12", r"\frac{1}{2}"), (r"\tfrac{a}b", r"\frac{a}{b}"), ("√2", r"\sqrt{2}"), ("√(x+1)", r"\sqrt{x+1}"),
    (r"\sqrt 2", r"\sqrt{2}"), ("x²", "x^{2}"), ("２＋３", "2+3"), (r"\left( 1, 2 \right)", "( 1, 2 )"), (r"10,\!080", "10,080"), (r"\text{(B)}", "(B)"),
    (r"90^{\circ}", r"90^\circ"), (r"2\mathrm{i}", "2i"), ("**42**", "42"), (r"\varnothing", r"\emptyset"), ("42。", "42"), (r"x \leq 2", r"x \le 2"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "spelt"), TIDY)
def test_tidy(text: str, spelt: str) -> None:
    assert tidy(text) == spelt
    assert tidy(tidy(text)) == tidy(text)


def test_squeeze_keeps_what_separates() -> None:
    assert squeeze("x + y") == "x+y"
    assert squeeze("1 2") == "1 2"
    assert squeeze("two words") == "two words"
