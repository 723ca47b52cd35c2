"""Verdicts on text and on returned data, wrong beside right; and which functions test code calls."""

from __future__ import annotations

from typing import Any

import pytest

from r1.sandbox.compare import same_text, same_value
from r1.sandbox.judge import called_names

TEXT = [
    ("1 2\n", "1 2", True), ("1 2  \r\n3\n\n", "1 2\n3", True), ("1  2", "1 2", False), (" 1", "1", False), ("", "", True),
    ("1\n2", "1 2", False), ("1\u200b", "1", False), ("3.10", "3.1", False),
]  # fmt: skip


@pytest.mark.parametrize(("actual", "expected", "same"), TEXT)
def test_text(actual: str, expected: str, same: bool) -> None:
    assert same_text(actual, expected) is same


def test_tolerance_is_for_numbers_with_a_point() -> None:
    assert same_text("0.33333333 x", "0.333333 x", 1e-6)
    assert not same_text("0.3334", "0.333333", 1e-6)
    assert not same_text("1000000001", "1000000000", 1e-6)
    assert not same_text("nan", "1.0", 1e-6)


VALUE: list[tuple[Any, Any, bool]] = [
    ([1, "a", None], [1, "a", None], True), (True, 1, False), (1, True, False), (3.0, 3, True), (3, 4, False),
    ({"t": "tuple", "v": [1, 2]}, [1, 2], True), ({"t": "set", "v": [1]}, [1], False), ({"t": "ref", "v": 0}, 0, False),
    ({"t": "dict", "v": [[1, 2]]}, {"1": 2}, True), ({"t": "dict", "v": [["a", 2]]}, {"a": 3}, False),
    ({"t": "int", "v": "0x10"}, 16, True), ({"t": "eval", "v": "42"}, 42, False), ([1], [1, 2], False), ("1", 1, False),
]  # fmt: skip


@pytest.mark.parametrize(("actual", "expected", "same"), VALUE)
def test_value(actual: Any, expected: Any, same: bool) -> None:
    assert same_value(actual, expected) is same


def test_called_names() -> None:
    assert called_names("import math\ndef helper(): pass", "x = f(1)\nassert math.sqrt(helper(x)) == g(len(x))") == ["f", "g"]
    assert called_names("", "assert sum(1) == 1") == []
    assert called_names("", "assert sum(1) == 1", ["sum"]) == ["sum"]
    with pytest.raises(ValueError, match="not valid Python"):
        called_names("", "assert (")
