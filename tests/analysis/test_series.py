"""How writing changes over training: the templates one by one, and every curve by hand."""

from __future__ import annotations

import pytest

from r1.analysis.series import behaviour, template_of
from r1.records import Problem, Trace

FULL = "<think> try 9 plus 6 </think> <answer> 9 + 6 </answer>"


def trace(text: str, tokens: int = 4, reason: str = "stop") -> Trace:
    return Trace(Problem("p/1", "?", "1"), [1], [2] * tokens, [0.0] * tokens, text, reason)


@pytest.mark.parametrize(
    ("text", "reason", "name"),
    [
        (FULL, "stop", "think and answer tags"),
        ("<think> a </think> so it is 5", "stop", "thought and summary"),
        ("<answer> 5 </answer>", "stop", "answer tag alone"),
        ("<think> try 9", "length", "unfinished"),
        ("it is 5", "stop", "no tags"),
        ("</think> <answer> 5 </answer>", "stop", "broken"),
        ("<answer> 5 </answer> <answer> 6 </answer>", "stop", "broken"),
    ],
)
def test_templates(text, reason, name):
    assert template_of(trace(text, reason=reason)) == name


def test_curves_by_hand():
    rows = [(trace(FULL), {"step": 0, "phase": "rollout"})] * 3 + [(trace("no tags here"), {"step": 0, "phase": "rollout"})]
    late = trace("<think> try 加 . wait , no", 10, "length")
    rows += [(late, {"step": 5, "phase": "rollout"}), (trace("never read"), {"step": 5, "phase": "eval/x"})]
    found = behaviour(rows)
    assert found["reflects"].x == [0, 5]
    assert found["reflects"].y == [0, 1]
    assert found["two languages"].y == [0, 1]
    assert found["truncated"].y == [0, 1]
    assert found["length"].y == [4, 10]
    assert found["language/zh"].y == pytest.approx([0, 1 / 4])  # of try, 加, wait, no
    assert found["template/think and answer tags"].y == [0.75, 0]
    assert found["template drift"].y == [0, 1]
    assert found["repetition"].y == [0, 0]
    assert behaviour(rows, "eval/y") == {}


def test_drift_is_half_the_sum_of_the_changes():
    rows = [(trace(FULL), {"step": s, "phase": "rollout"}) for s in (0, 0, 0, 0, 1, 1)]
    rows += [(trace("plain words"), {"step": 1, "phase": "rollout"})] * 2
    assert behaviour(rows)["template drift"].y == [0, 0.5]
