"""Preference pairs, counted by hand; a judge that favours what it reads first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.build import compose
from r1.pipeline.preferences import PairRow, PreferenceData, matched, mean_gap, read_scores
from r1.pipeline.rows import kept, report, write_result
from r1.records import Problem
from r1.tasks.preference import Pair, Preferences

# What q/0, q/1 ... are answered with. q/2: 7 and 8 are too close; q/6: a judge without a verdict.
SAID = [
    ("good one", "poor one"), ("poor one", "good one"), ("good one", "fair one"), ("good one", "good one"), ("good one", "poor ..."),
    ("good one", "poor one, and on and on it goes"), ("odd ones", "poor one"), ("", "poor one"),
]  # fmt: skip
WORTH = {"good": 8, "fair": 7, "poor": 3}


def respond(problem: Problem, i: int) -> str:
    text = SAID[int(problem.id.partition("/")[2])][i]
    return f"<think> a thought that nobody judges: good </think> {text}"


def judge(problem: Problem, i: int) -> str:
    """Scores the first word of each response, and one more for the place it likes."""
    mark = re.search(r"=====\w+", problem.question)[0]
    first, second = (problem.question.split(mark)[k].strip() for k in (2, 4))
    assert "thought" not in first + second
    if "odd" in first + second:
        return "I would rather not say."
    return json.dumps({"first": WORTH[first[:4]] + 1, "second": WORTH[second[:4]]})


def recipe(lab: SimpleNamespace, **settings) -> PreferenceData:
    return PreferenceData(lab.Sums(8), lab.Script(respond), lab.Script(judge), **settings)


def test_every_pair_is_kept_or_has_a_reason(lab: SimpleNamespace, tmp_path: Path) -> None:
    rows, more = recipe(lab)(lab.desk())
    assert [(row.id, row.completion, row.rejected) for row in kept(rows)] == [
        ("q/0", "good one", "poor one"),
        ("q/1", "good one", "poor one"),
    ]
    counts = report(rows, **more)
    assert (counts["read"], counts["kept"]) == (8, 2)
    assert counts["dropped"] == {
        "identical": 1, "lengths apart": 1, "no summary": 1, "no verdict": 1, "too close": 1, "truncated": 1
    }  # fmt: skip
    assert kept(rows)[0].provenance == {"way": "preferences", "model": "script", "judge": "script", "gap": 5.0}


def test_what_is_written_is_what_a_reward_model_reads(lab: SimpleNamespace, tmp_path: Path) -> None:
    rows, more = recipe(lab)(lab.desk())
    write_result(tmp_path / "out", rows, **more)
    pairs = Preferences(str(tmp_path / "out" / "rows.jsonl")).train
    assert {(pair.problem.question, pair.chosen, pair.rejected) for pair in pairs} == {
        ("0 + 0 is what?", "good one", "poor one"),
        ("1 + 1 is what?", "good one", "poor one"),
    }
    assert all(isinstance(pair, Pair) for pair in pairs)
    (close,) = [row for row in map(json.loads, (tmp_path / "out/dropped.jsonl").open()) if row["reason"] == "too close"]
    assert close["responses"] == ["good one", "fair one"]


def test_both_orders_are_asked_as_often(lab: SimpleNamespace) -> None:
    data = recipe(lab, looks=2, limit=2)
    rows, _ = data(lab.desk())
    assert data.judge.asked == [["q/0/ab", "q/0/ba", "q/1/ab", "q/1/ba"]]
    assert [row.dropped for row in rows] == [None, None]


def test_a_killed_run_asks_nobody_twice(lab: SimpleNamespace) -> None:
    rows, _ = recipe(lab)(lab.desk())
    again = recipe(lab)
    assert again(lab.desk())[0] == rows
    assert again.sampler.asked == again.judge.asked == []


def test_a_place_is_worth_nothing() -> None:
    assert mean_gap([(9, 3), (9, 3)], [(9, 3), (9, 3)]) == 0
    assert mean_gap([(8, 6), (8, 6)], [(6, 7), (6, 7)]) == 1.5
    assert mean_gap([(8, 6), None], [(6, 7), (6, 7)]) == 1.5  # an unreadable judgement does not tilt the balance
    assert mean_gap([(8, 6)], [None]) is None


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ('{"first": 3, "second": 9}', (3, 9)),
        ('{"first": 1, "second": 1} no: {"first": "7", "second": 2.5}', (7, 2.5)),
        ('{"first": 0, "second": 9}', None),
        ('{"first": 11, "second": 9}', None),
        ('{"first": NaN, "second": 9}', None),
        ('{"first": 3}', None),
        ("3 and 9", None),
    ],
)
def test_scores(reply: str, scores: tuple | None) -> None:
    assert read_scores(reply) == scores


def test_totals_of_length_are_matched() -> None:
    """10:10 is taken, then 10:19 and 20:10 would each pull the totals apart, whichever comes first."""
    sizes = [(10, 10), (20, 10), (10, 19), (100, 100)]
    rows = [PairRow(str(i), Problem("q", "?"), "c" * c, {"way": "w"}, rejected="r" * r) for i, (c, r) in enumerate(sizes)]
    assert [row.dropped for row in matched(rows, 0.05)] == [None, "surplus length", "surplus length", None]
    assert [row.dropped for row in matched(rows, 0.1)] == [None, None, None, None]


def test_settings() -> None:
    task = SimpleNamespace(train=[Problem("q", "?")], validation=[], test=[])
    for wrong in ({"looks": 0}, {"min_gap": -1}, {"longest_ratio": 0.5}):
        with pytest.raises(ValueError, match="got"):
            PreferenceData(task, None, None, **wrong)
    cfg = compose("generate", ["data=preferences", "policy.path=/p", "data.judge.url=http://h/v1", "data.judge.model=m"])
    assert cfg.data.judge.model == "m" and cfg.data.sampler._target_.endswith("PolicySampler")
