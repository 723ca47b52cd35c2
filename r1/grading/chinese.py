"""Numbers written in Chinese: 三百二十 is 320, 五分之二 is 2/5, 三点一四 is 3.14, 百分之十 is 1/10."""

from __future__ import annotations

import re
from fractions import Fraction

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10**4, "亿": 10**8}
_NUMERAL = re.compile(r"[零〇一二两三四五六七八九十百千万亿点负]+")


def chinese_number(text: str) -> Fraction | None:
    """The exact value, None for anything that is not a number in Chinese numerals.

    >>> chinese_number("五分之二"), chinese_number("一百零五"), chinese_number("星期三")
    (Fraction(2, 5), Fraction(105, 1), None)
    """
    below, parts, above = text.partition("分之")
    if parts:
        bottom = Fraction(100) if below == "百" else chinese_number(below)
        top = chinese_number(above)
        return top / bottom if top is not None and bottom else None
    if not _NUMERAL.fullmatch(text):
        return None
    sign, text = (-1, text[1:]) if text.startswith("负") else (1, text)
    whole, point, decimals = text.partition("点")
    value = _whole(whole)
    if value is None or (point and not (decimals and all(c in _DIGITS for c in decimals))):
        return None
    return sign * (value + Fraction(int("0" + "".join(str(_DIGITS[c]) for c in decimals)), 10 ** len(decimals)))


def _whole(text: str) -> int | None:
    total = section = 0
    digit: int | None = None
    for c in text:
        if c in _DIGITS:
            if digit not in (None, 0):
                return None  # two digits side by side, as in a telephone number
            digit = _DIGITS[c]
        elif c in _TENS:
            section += (1 if digit is None else digit) * _TENS[c]
            digit = None
        elif c in _LARGE:
            total = (total + section + (digit or 0)) * _LARGE[c]
            section, digit = 0, None
        else:
            return None
    return total + section + (digit or 0) if text else None
