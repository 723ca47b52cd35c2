"""Each verifier with a right and a wrong answer beside it."""

from __future__ import annotations

import pytest

from r1.grading import canonical, correct, parse
from r1.records import Problem


def problem(gold: str | None, **meta) -> Problem:
    return Problem("p/1", "?", gold, meta=meta)


CASES = [
    (problem("42"), "42", True),
    (problem("42"), "41", False),
    (problem("42"), None, False),
    (problem("42"), "", False),
    (problem("42"), "  ", False),
    (problem("1/2"), "0.5", True),
    (problem("80", accept=["81"]), "81", True),
    (problem("80", accept=["81"]), "82", False),
    (problem("42", verifier="numeric"), "42.0", True),
    (problem("42", verifier="numeric"), "12 + 30", False),  # the question itself is no answer
    (problem("42", verifier="numeric"), "6 * 7", False),
    (problem("olleh", verifier="exact"), "Olleh ", True),
    (problem("olleh", verifier="exact"), "olle", False),
    (problem("olleh", verifier="exact"), "say olleh", False),
    (problem("B", verifier="choice"), "(b)", True),
    (problem("B", verifier="choice"), "B. 42", True),
    (problem("B", verifier="choice"), "A", False),
    (problem("B", verifier="choice"), "A or B", False),
    (problem("B", verifier="choice"), "Because", False),
    (problem("9 * 6", verifier="expression", numbers=[9, 6, 2], use=2, target=54), "6 * 9", True),
    (problem(None, verifier="expression", numbers=[9, 6, 2], use=2, target=54), "6 * 9", True),
    (problem("9 * 6", verifier="expression", numbers=[9, 6, 2], use=2, target=54), "54", False),
]


@pytest.mark.parametrize(("asked", "answer", "verdict"), CASES)
def test_correct(asked: Problem, answer: str | None, verdict: bool) -> None:
    """Bug 34: an empty answer is wrong everywhere."""
    assert correct(asked, answer) is verdict


def test_correct_takes_what_parse_returns() -> None:
    assert correct(problem("4"), parse(r"<think>\boxed{3}</think> \boxed{4}"))
    assert not correct(problem("3"), parse(r"<think>\boxed{3}</think> \boxed{4}"))


def test_errors_for_people() -> None:
    with pytest.raises(ValueError, match="verifier 'maths'; there are math, numeric"):
        correct(problem("4", verifier="maths"), "4")
    with pytest.raises(ValueError, match="no gold answer"):
        correct(problem(None), "4")
    with pytest.raises(ValueError, match="gold answer is empty"):
        correct(problem(" "), "4")
    with pytest.raises(ValueError, match="must be a number, got 'B'"):
        correct(problem("B", verifier="numeric"), "4")


def test_canonical() -> None:
    assert canonical(None, "$1{,}000$") == canonical(None, "1000.0") == "1000"
    assert canonical(None, r"\dfrac12") == canonical(None, "0.5")
    assert canonical(None, "10%") != canonical(None, "10")
    assert canonical(CASES[-1][0], "6 * 9") == canonical(CASES[-1][0], "9*6")
