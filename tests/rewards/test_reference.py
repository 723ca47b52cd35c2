from __future__ import annotations

from r1.records import Problem, Trace
from r1.rewards.reference import Reference

KNOWN = Problem("g/1", "who are you", domain="general", meta={"references": ["i am r1 .", "r1 ."]})


def trace(text: str, problem: Problem = KNOWN) -> Trace:
    return Trace(problem, [1], [2], [0.0], text, "stop")


def test_one_of_the_replies_said_after_the_thought() -> None:
    texts = ["<think> hm </think> i am  R1 .", "r1 .", "<think> r1 . </think> no", "<think> i am r1 .", "i am r1 . yes", ""]
    assert Reference()([trace(text) for text in texts]) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_problems_without_references_are_not_its_business() -> None:
    assert Reference()([trace("2", Problem("q", "1 + 1?", "2"))]) == [None]
