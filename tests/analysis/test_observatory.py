"""The observatory of a run folder, as records and as a section of the report."""

from __future__ import annotations

import re

import pytest

from r1.analysis.observatory import checkpoints, section, snapshots
from r1.analysis.reading import read_run
from r1.analysis.report import report
from r1.rollout.trace_file import TraceWriter

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def run(tmp_path, aha):
    """Two problems of four samples at steps 0 and 10: none of them right, then the reflecting ones."""
    lines = [f"{step},{0.1 if step < 12 else 0.8}" for step in range(24)]
    (tmp_path / "metrics.csv").write_text("\n".join(["step,train/reflection_rate", *lines, ""]))
    writer = TraceWriter(tmp_path / "traces" / "evaluations.jsonl")
    saved = f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}"
    lost = f"{aha.FIRST} </think> {aha.WRONG}"
    for step, texts in ((0, [lost] * 4), (10, [saved, saved, lost, lost])):
        for name in ("a", EVIL):
            writer.write(list(aha.group(name, *texts).traces), step=step, stage="grpo", phase="eval/pairs")
    writer.write(list(aha.group("a", saved).traces), step=10, stage="grpo", phase="eval/other")
    TraceWriter(tmp_path / "traces" / "rollouts.jsonl").write(
        list(aha.group("a", saved).traces), step=10, stage="grpo", phase="rollout"
    )
    return tmp_path


def test_a_snapshot_for_each_evaluation_of_the_first_benchmark(run):
    first, last = snapshots(read_run(run))
    assert (first.step, first.samples, first.reflects, first.accuracy, first.outcomes, first.pays) == (0, 8, 0, 0, None, None)
    assert (last.step, last.samples, last.reflects, last.accuracy) == (10, 8, 0.5, 0.5)
    assert last.outcomes.shares["wrong to right"].value == 1
    assert last.pays.difference == 1
    other = checkpoints(read_run(run).traces(), phase="eval/other")
    assert list(other) == [10]


def test_the_section_says_what_was_found(run):
    anchor, _, html = section(read_run(run))
    text = re.sub("<[^>]+>", " ", html)
    assert anchor == "observatory"
    assert "Reflection: change began at step 11" in text
    assert "Length: no onset found" in text
    assert "2 of 2 candidate cells, 0.3 expected by luck" in text  # both right ones shift: one way of six, twice
    assert re.search(r"\+100 \(\+100 to \+100\)", text)
    for title in ("What reflections came to", "Accuracy of reflecting minus plain samples", "How the samples are written"):
        assert title in html


def test_the_report_holds_it_and_stays_self_contained(run):
    page = report(run).read_text()
    assert 'id="observatory"' in page
    assert EVIL not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_runs_without_evaluation_samples_or_reflections_have_no_section(tmp_path, aha):
    (tmp_path / "metrics.csv").write_text("step,train/reward\n1,0.1\n")
    assert section(read_run(tmp_path)) is None
    TraceWriter(tmp_path / "traces" / "evaluations.jsonl").write(
        list(aha.group("a", aha.RIGHT).traces), step=0, stage="grpo", phase="eval/x"
    )
    assert section(read_run(tmp_path)) is None
