"""Expressions said step by step."""

from __future__ import annotations

import pytest

from r1.tasks.spoken import SPOKEN, attempt, steps, vocabulary


def test_steps_follow_precedence_and_brackets() -> None:
    # 12 + 7 * (3 - 4) - 5 = 12 - 7 - 5 = 0
    assert steps("12 + 7 * (3 - 4) - 5", SPOKEN["en"]) == (
        ["3 minus 4 is -1", "7 times -1 is -7", "12 plus -7 is 5", "5 minus 5 is 0"],
        0,
    )
    assert steps("(30 / 6) + 2", SPOKEN["zh"]) == (["30 除以 6 得 5", "5 加 2 得 7"], 7)


def test_a_slip_is_carried_on_and_the_verdict_is_about_what_is_said() -> None:
    slips = iter([1, 0])
    line, value = attempt("(12 + 7) * 3", SPOKEN["en"], want=60, slip=lambda result: result + next(slips))
    assert (line, value) == ("try (12 + 7) * 3 : 12 plus 7 is 20 , 20 times 3 is 60 want 60 yes .", 60)
    slips = iter([-1, 0])
    assert attempt("(3 + 4) / 7", SPOKEN["en"], want=1, slip=lambda r: r + next(slips))[0].endswith("6 over 7 is 0 want 1 no .")
    slips = iter([-1, 0])
    assert attempt("5 / (2 - 1)", SPOKEN["en"], slip=lambda r: r + next(slips)) == (
        "try 5 / (2 - 1) : 2 minus 1 is 0 , 5 over 0 is 0 .",
        0,
    )


@pytest.mark.parametrize("text", ["2 ** 3", "-3 + 4", "x + 1", "1.5 + 2"])
def test_only_plain_expressions_are_said(text: str) -> None:
    with pytest.raises(ValueError, match="non-negative integers"):
        steps(text, SPOKEN["en"])


def test_words_are_listed_once_and_without_digits() -> None:
    words = vocabulary()
    assert len(words) == len(set(words)) == 55
    assert not any(char.isdigit() for word in words for char in word)
