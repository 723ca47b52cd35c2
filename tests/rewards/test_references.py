"""Replies that are known: what counts as one of them."""

from __future__ import annotations

import pytest

from r1.records import Problem, Trace
from r1.rewards.references import References

KNOWN = Problem("q", "what color has the snow", None, domain="general", meta={"references": ["the snow is white .", "white ."]})


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("<think> want the color . </think> the snow is white .", 1.0),
        ("<think> want the color . </think>\n white  . ", 1.0),
        ("the snow is white .", 1.0),
        ("<think> the snow is white . </think> the snow is black .", 0.0),
        ("<think> want the color . </think> the snow is white . white .", 0.0),
        ("<think> the snow is white .", 0.0),
    ],
)
def test_the_summary_must_be_a_known_reply(text, worth):
    assert References()([Trace(KNOWN, [1], [2], [-1.0], text, "stop")]) == [worth]


def test_a_reply_that_was_cut_off_is_wrong_and_other_problems_are_left_alone():
    assert References()([Trace(KNOWN, [1], [2], [-1.0], "white .", "length")]) == [0.0]
    assert References()([Trace(Problem("p", "1 + 1", "2"), [1], [2], [-1.0], "2", "stop")]) == [None]
