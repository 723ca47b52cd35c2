"""The audit: our rewards pay for no trick, other people's are caught, and gold answers earn full marks."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from r1.records import Problem
from r1.rewards import Accuracy, AnswerOnce, Format, Language, Reward, Trl
from r1.rewards.audit import PROBLEMS, STYLES, audit, probes, refused_golds


def reward(**parts) -> Reward:
    return Reward(parts, dict.fromkeys(parts, 1.0))


def test_the_corpus() -> None:
    kinds = Counter(probe.kind for probe in probes())
    assert sum(n for kind, n in kinds.items() if kind != "good") >= 100
    assert kinds["good"] >= 25
    assert len({(p.kind, p.name) for p in probes()}) == len({(p.problem, p.text) for p in probes()}) == len(probes())
    for probe in probes():
        assert probe.problem in PROBLEMS
        assert set(probe.styles) <= set(STYLES)
        assert (probe.kind != "good") or (probe.right and probe.styles)


@pytest.mark.parametrize("structure", STYLES)
def test_our_rewards_pay_for_no_trick_and_refuse_nothing_honest(structure: str) -> None:
    report = audit(reward(accuracy=Accuracy(), format=Format(structure), language=Language()))
    accuracy, form, language = report.parts
    assert (accuracy.judges, form.judges, language.judges) == ("answers", "structure", "")
    assert accuracy.tried >= 100
    assert form.tried >= 50
    for part in report.parts:
        assert ([str(p) for p in part.paid], [str(p) for p in part.refused]) == ([], [])
    assert report.ok


def test_the_fast_audit_looks_at_every_kind() -> None:
    report = audit(reward(format=Format()), fast=True)
    assert report.ok
    assert 5 <= report.parts[0].tried < audit(reward(format=Format())).parts[0].tried


def test_trls_rewards_are_caught() -> None:
    """TRL pays for `\\boxed{41=42}`, for a box inside the thought, and for an empty thought."""
    theirs = pytest.importorskip("trl.rewards", reason="TRL is a development extra")
    parts = {
        "accuracy": Trl(theirs.accuracy_reward, conversational=True),
        "format": Trl(theirs.think_format_reward, conversational=True),
    }
    report = audit(reward(**parts))
    accuracy, form = ({str(p) for p in part.paid} for part in report.parts)
    assert {"equation: 41=42 in a box", "in the thought: box only"} <= accuracy
    assert {"empty: only tags", "structure: empty thought"} <= form
    assert not report.ok


def anything(completions, **_):
    return [float("42" in c) for c in completions]


def test_a_substring_reward_is_caught() -> None:
    (part,) = audit(reward(substring=Trl(anything))).parts
    assert part.judges == "answers"
    assert len(part.paid) > 50


def test_a_reward_that_refuses_honest_answers_is_told() -> None:
    def picky(completions, **_):
        return [float("<answer>42</answer>" in c or c.endswith("\\boxed{42}")) for c in completions]

    (part,) = audit(reward(picky=Trl(picky))).parts
    assert "good: with sentence" in {str(p) for p in part.refused}


def test_parts_that_judge_neither_are_left_alone() -> None:
    assert [p.judges for p in audit(reward(once=AnswerOnce(), language=Language())).parts] == ["", ""]


def test_a_trick_paid_by_a_part_without_weight_is_reported_but_no_reason_to_stop() -> None:
    report = audit(Reward({"substring": Trl(anything)}, {"substring": 0.0}))
    assert report.parts[0].paid
    assert report.ok


def test_the_text_names_what_was_paid() -> None:
    text = audit(reward(substring=Trl(anything)), fast=True).text()
    assert "substring (weight 1) judges answers" in text
    assert "in the thought: box" in text
    assert text.endswith("this reward pays for tricks: a policy will find them")
    assert audit(reward(format=Format()), fast=True).text().endswith("no trick is paid for")


def test_gold_answers_that_the_reward_cannot_read() -> None:
    problems = [
        Problem("ok/1", "?", "42"),
        Problem("ok/2", "?", r"(2,\infty)"),
        Problem("bad/1", "?", "x" * 2000),
        Problem("none/1", "?", None),
    ]

    def strict(completions, answer, **_):
        return [float(f"<answer>{a}</answer>" in c and len(str(a)) < 100) for c, a in zip(completions, answer, strict=True)]

    assert refused_golds(reward(accuracy=Accuracy()), problems[:2]) == []
    assert [p.id for p in refused_golds(reward(strict=Trl(strict)), problems)] == ["bad/1"]


@pytest.mark.parametrize("name", ["math500", "aime2024", "olymmath_zh_hard", "gsm8k_test"])
def test_gold_answers_of_real_problem_sets_earn_full_marks(name: str, data_dir) -> None:
    rows = [json.loads(line) for line in (data_dir / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    problems = [Problem(row["id"], row["problem"], row["answer"]) for row in rows]
    assert refused_golds(reward(accuracy=Accuracy()), problems) == []
