"""Numbers without sympy: integers, decimals, fractions, mixed numbers, powers of ten, as exact `Fraction`s.

Nine answers of ten are decided here in microseconds. What is not clearly one number is left to others: None.
"""

from __future__ import annotations

import re
from fractions import Fraction

_INTEGER = r"\d{1,3}(?:,\d{3})+|\d+"
_DECIMAL = rf"(?:{_INTEGER})(?:\.\d*)?|\.\d+"
_PLAIN = re.compile(rf"([+-]?)\s*({_DECIMAL})")
_POWER_OF_TEN = re.compile(
    rf"([+-]?)\s*({_DECIMAL})\s*(?:[eE]|(?:\\times|\\cdot|\*|x)\s*10\s*\^)\s*\{{?\s*([+-]?\d{{1,3}})\s*\}}?"
)
_FRACTION = re.compile(rf"([+-]?)\s*\\frac\{{\s*([+-]?)\s*({_DECIMAL})\s*\}}\{{\s*([+-]?)\s*({_DECIMAL})\s*\}}")
_SLASH = re.compile(rf"([+-]?)\s*\(?\s*([+-]?)({_DECIMAL})\s*\)?\s*/\s*\(?\s*({_DECIMAL})\s*\)?")
_MIXED = re.compile(r"([+-]?)\s*(\d+)\s*(?:\\frac\{\s*(\d+)\s*\}\{\s*(\d+)\s*\}|\s(\d+)\s*/\s*(\d+))")
_REPEATING = re.compile(r"([+-]?)\s*(\d*)\.(\d*)\\(?:overline|dot|bar)\s*\{(\d+)\}")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?: \d{3})+")
_DIGITS_LIMIT = 200


def rational(text: str) -> Fraction | None:
    r"""The exact value of one plain number, None for anything else: `-3`, `1,000`, `.5`, `2/3`, `\frac{2}{3}`, `1.6e-19`, `2\frac{1}{3}`.

    >>> rational("1,000.50"), rational("1,00")
    (Fraction(2001, 2), None)
    """
    text = text.strip()
    if len(text) > _DIGITS_LIMIT:
        return None
    while text[:1] + text[-1:] in ("{}", "()") and text.count(text[0]) == 1 and "," not in text:  # (12,345) is a pair
        text = text[1:-1].strip()
    if match := _PLAIN.fullmatch(text):
        return _signed(match.group(1)) * _number(match.group(2))
    if _GROUPED.fullmatch(text):  # 1 000 000
        return Fraction(text.replace(" ", ""))
    if match := _REPEATING.fullmatch(text):
        sign, whole, once, again = match.groups()
        digits, period = len(once), len(again)
        fraction = Fraction(int(once or 0)) + Fraction(int(again), 10**period - 1)
        return _signed(sign) * (int(whole or 0) + fraction / 10**digits)
    if match := _MIXED.fullmatch(text):
        sign, whole, above, below, above2, below2 = match.groups()
        return _over(_signed(sign), Fraction(int(above or above2)), Fraction(int(below or below2)), Fraction(int(whole)))
    if match := _FRACTION.fullmatch(text):
        sign, sign_above, above, sign_below, below = match.groups()
        return _over(_signed(sign) * _signed(sign_above) * _signed(sign_below), _number(above), _number(below))
    if match := _SLASH.fullmatch(text):
        sign, sign_above, above, below = match.groups()
        return _over(_signed(sign) * _signed(sign_above), _number(above), _number(below))
    if match := _POWER_OF_TEN.fullmatch(text):
        return _signed(match.group(1)) * _number(match.group(2)) * Fraction(10) ** int(match.group(3))
    return None


def close(answer: Fraction, gold: Fraction) -> bool:
    """Equal; or the decimal form of a fraction that has no finite one, to at least six digits (0.333333 for 1/3)."""
    if answer == gold:
        return True
    if _decimals(gold) is not None:
        return False
    digits = _decimals(answer)
    if digits is None or abs(answer) * 10**digits < 10**5:
        return False
    unit = Fraction(1, 10**digits)
    short = abs(gold) - abs(answer)  # rounded, or cut off
    return answer * gold > 0 and (abs(short) <= unit / 2 or 0 < short < unit)


def _decimals(number: Fraction) -> int | None:
    """Decimal places of a finite decimal, None for a number that has no finite decimal form."""
    twos, fives, rest = 0, 0, number.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _number(text: str) -> Fraction:
    return Fraction("0" + text.replace(",", "").rstrip("."))


def _signed(sign: str) -> int:
    return -1 if sign == "-" else 1


def _over(sign: int, above: Fraction, below: Fraction, whole: Fraction = Fraction(0)) -> Fraction | None:
    return None if below == 0 else sign * (whole + above / below)
