"""Shaping terms against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from r1.records import Problem, Trace
from r1.rewards import AnswerOnce, Cosine, Overlong, Repetition
from r1.rewards.shaping import repeated_share

FOUR = Problem("p/1", "?", "4")


def trace(
    length: int = 1, text: str = r"\boxed{4}", ids: list[int] | None = None, finish: str = "stop", problem: Problem = FOUR
) -> Trace:
    ids = list(range(length)) if ids is None else ids
    return Trace(problem, [1], ids, [-0.1] * len(ids), text, finish)


def test_overlong() -> None:
    """limit 100, margin 20: free up to 80, -1/2 at 90, -1 from 100 on (DAPO eq. 13)."""
    assert Overlong(100, 20)([trace(n) for n in (1, 80, 90, 95, 100, 150)]) == [0.0, 0.0, -0.5, -0.75, -1.0, -1.0]
    with pytest.raises(ValueError, match="0 < margin <= limit"):
        Overlong(100, 0)
    with pytest.raises(ValueError, match="0 < margin <= limit"):
        Overlong(100, 101)


def test_cosine() -> None:
    """cos is 1, 0, -1 at length 0, half and full: right 1 -> .75 -> .5, wrong -1 -> -.75 -> -.5."""
    part = Cosine(100)
    right = part([trace(n) for n in (0, 50, 100)])
    wrong = part([trace(n, r"\boxed{5}") for n in (0, 50, 100)])
    assert right == pytest.approx([1.0, 0.75, 0.5])
    assert wrong == pytest.approx([-1.0, -0.75, -0.5])
    assert part([trace(101), trace(5, finish="length")]) == [-1.0, -1.0]
    assert part([trace(5, problem=Problem("g", "?", None))]) == [None]
    assert part([trace(25)])[0] == pytest.approx(0.5 + 0.25 * (1 + math.cos(math.pi / 4)))


def test_repetition() -> None:
    assert repeated_share([1, 2, 1, 2, 1], 2) == 0.5
    assert repeated_share([1, 2, 3, 4], 2) == 0.0
    assert repeated_share([7] * 10, 3) == pytest.approx(7 / 8)  # eight trigrams, one of them new
    assert repeated_share([1], 2) == 0.0
    assert Repetition(2)([trace(ids=[1, 2, 1, 2, 1]), trace(ids=[1, 2, 3, 4])]) == [-0.5, 0.0]
    with pytest.raises(ValueError, match="n >= 1"):
        Repetition(0)


ONCE = [
    (r"<think>\boxed{1} \boxed{2}</think> \boxed{4}", 1.0),
    (r"\boxed{1} \boxed{4}", 0.0),
    ("<think>a</think> <answer>4</answer>", 1.0),
    (r"<think>a</think> <answer>\boxed{4}</answer>", 1.0),
    ("<think>a</think> <answer>3</answer><answer>4</answer>", 0.0),
    ("no answer here", 0.0),
    ("The answer is 4.", 1.0),
]


@pytest.mark.parametrize(("text", "value"), ONCE)
def test_answer_once(text: str, value: float) -> None:
    assert AnswerOnce()([trace(text=text)]) == [value]
