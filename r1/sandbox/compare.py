"""Outside the box: is this what the test expects? Only decoded text and plain data are compared, never objects of a program."""

from __future__ import annotations

import math
from typing import Any

_NOT_DATA = object()


def same_text(actual: str, expected: str, tolerance: float = 0.0) -> bool:
    """Line by line, white space at the ends of lines and of the text aside.

    tolerance  when positive, numbers that are written with a point or an exponent in `expected` may differ by as much, absolutely
               or relatively; whole numbers stay exact.
    """
    left, right = _lines(actual), _lines(expected)
    if left == right:
        return True
    if not tolerance or len(left) != len(right):
        return False
    return all(_same_line(a, b, tolerance) for a, b in zip(left, right, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_line(actual: str, expected: str, tolerance: float) -> bool:
    left, right = actual.split(), expected.split()
    return len(left) == len(right) and all(a == b or _close(a, b, tolerance) for a, b in zip(left, right, strict=True))


def _close(actual: str, expected: str, tolerance: float) -> bool:
    if len(actual) > 400 or not any(c in expected for c in ".eE"):
        return False
    try:
        return math.isclose(float(actual), float(expected), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False


def same_value(actual: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """A returned value, in the encoding of inside/calls.py, against JSON data: a tuple is a list, True is not 1, 3.0 is 3."""
    return _same(_plain(actual), expected, tolerance)


def _same(actual: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool) or expected is None or isinstance(expected, str):
        return type(actual) is type(expected) and actual == expected
    if isinstance(expected, int | float):
        if not isinstance(actual, int | float):
            return False
        if tolerance and isinstance(expected, float) and abs(actual) < 1e300:
            return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance)
        return actual == expected
    if isinstance(expected, list | tuple):
        pairs = isinstance(actual, list) and len(actual) == len(expected)
        return pairs and all(_same(a, e, tolerance) for a, e in zip(actual, expected, strict=True))
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or actual.keys() != {str(key) for key in expected}:
            return False
        return all(_same(actual[str(key)], value, tolerance) for key, value in expected.items())
    raise ValueError(f"a function_call test expects JSON data, got {type(expected).__name__}")


def _plain(data: Any) -> Any:
    """The encoding's tags taken off, as far as JSON has such data; keys become text, as in JSON."""
    if isinstance(data, list):
        return [_plain(item) for item in data]
    if not isinstance(data, dict):
        return data
    kind, value = data.get("t"), data.get("v")
    if kind == "int" and isinstance(value, str):
        return int(value, 16)
    if kind == "tuple" and isinstance(value, list):
        return [_plain(item) for item in value]
    if kind == "dict" and isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return {str(_plain(key)): _plain(item) for key, item in value}
    return _NOT_DATA
