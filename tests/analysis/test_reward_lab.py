"""A run's stored rollouts in, what other weights would have made of them out."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from r1.analysis.reading import read_run
from r1.analysis.reward_lab import Lab, Setting, compare, experiment, reweigh, rollouts
from r1.analysis.reward_verdict import markdown, table, verdicts
from r1.analysis.tables import show
from r1.commands.report import main
from r1.losses import advantages
from r1.losses.advantage import NORMALISE
from r1.records import Group, Problem, Score, Trace
from r1.rollout.trace_file import TraceWriter

WAYS = {name: partial(advantages, normalise=name) for name in NORMALISE}
WEIGHTS = {"accuracy": 1.0, "format": 0.1, "language": 0.0}


def group(name: str, accuracy: Sequence[float], form: Sequence[float], language: Sequence[float] | None = None) -> Group:
    problem = Problem(name, "?")
    rows = zip(accuracy, form, language or [0.5] * len(accuracy), strict=True)
    scores = [Score(a + 0.1 * f, {"accuracy": a, "format": f, "language": s}, WEIGHTS) for a, f, s in rows]
    return Group(problem, tuple(Trace(problem, [1], [2], [-0.1], "", "stop", score=score) for score in scores))


def step_of(tag: str) -> list[Group]:
    """Three groups: only format differs, both differ (the right one is badly formatted), and nothing differs."""
    return [
        group(f"{tag}/a", (0, 0, 0, 0), (1, 1, 0, 0)),
        group(f"{tag}/b", (1, 0, 0, 0), (0, 1, 1, 1), (0.1, 0.2, 0.3, 0.4)),
        group(f"{tag}/c", (1, 1, 1, 1), (1, 1, 1, 1)),
    ]


def write_run(folder: Path, normalise: str = "group_std", files: Sequence[str] = ("rollouts.jsonl",), steps: int = 2) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("step,train/reward\n1,0.5\n")
    (folder / "config.yaml").write_text("name: toy\n")
    for rank, file in enumerate(files):
        writer = TraceWriter(folder / "traces" / file)
        for step in range(1, steps + 1):
            groups = advantages(step_of(f"{rank}/{step}"), normalise)
            writer.write([t for g in groups for t in g.traces], step=step, stage="grpo", phase="rollout")
            writer.write(list(groups[0].traces), step=step, stage="grpo", phase="eval/sums")
    return folder


def lab_of(folder: Path, weights: dict[str, list[float]] | None = None) -> Lab:
    return experiment(read_run(folder), WAYS, weights)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_groups_are_read_back_step_by_step(run):
    steps = list(rollouts(read_run(run)))
    assert [key[1] for key, _ in steps] == [1, 2]
    assert [[(g.problem.id, len(g)) for g in groups] for _, groups in steps][1] == [("0/2/a", 4), ("0/2/b", 4), ("0/2/c", 4)]


def test_shares_as_trained_by_hand(run):
    """Group a: squares 4, all format's. Group b: rewards 1 .1 .1 .1 lie along accuracy alone, which is +1 where format is -.1:
    accuracy 1 / .9 of 4, format -.1 / .9 of 4. Of 8: accuracy .5556, format .5 - .0556 = .4444."""
    lab = lab_of(run)
    assert (lab.way, lab.steps) == ("group_std", 2)
    assert lab.trained.shares == pytest.approx({"accuracy": 0.5 / 0.9, "format": 0.5 - 0.05 / 0.9, "language": 0})
    assert (lab.trained.groups, lab.trained.silent, lab.trained.rows) == (6, 2, 24)
    assert lab.trained.alone == {"format": 2}
    assert lab.trained.alone_shares["format"] == pytest.approx(0.5)
    assert len(lab.quarters) == 2


@pytest.mark.parametrize("normalise", NORMALISE)
def test_the_runs_own_normalisation_is_recognised(tmp_path, normalise):
    """Two ranks, each with a file: batch_std is taken over what one rank saw in one step, so files must not be mixed."""
    lab = lab_of(write_run(tmp_path / "run", normalise, ["rollouts.jsonl.zst", "rollouts-rank1.jsonl.zst"]))
    assert lab.way == normalise
    assert (lab.steps, lab.trained.groups) == (2, 12)
    assert lab.outcomes[Setting((), normalise)].shift.cosine == pytest.approx(1)


def test_signs_that_flip(run):
    """Group b under format=2: rewards 1 2 2 2 instead of 1 .1 .1 .1, all four turn round. Group a stays, c is silent.
    Under format=0 group a falls silent. Cosine: (4 - 4) / 8 and 4 / sqrt(8 * 4)."""
    lab = lab_of(run, {"format": [0, 2]})
    turned, cut = (lab.outcomes[Setting((("format", w),), "group_std")].shift for w in (2, 0))
    assert (turned.rows, turned.flipped, turned.silenced, turned.woken) == (24, 8, 0, 0)
    assert turned.cosine == pytest.approx(0, abs=1e-12)
    assert (cut.flipped, cut.silenced) == (0, 8)
    assert cut.cosine == pytest.approx(4 / 32**0.5)
    text = " ".join(verdicts(lab))
    assert "With format=2 under group_std 33 % of the completions change the sign" in text
    assert "With format=0 under group_std no completion changes the sign of its advantage, 33 % lose theirs" in text


def test_a_part_of_weight_zero_can_be_tried(run):
    lab = lab_of(run, {"language": [1]})
    assert lab.outcomes[Setting((("language", 1),), "none")].signal.shares["language"] != 0
    assert lab.trained.shares["language"] == 0


def test_combinations(run):
    lab = lab_of(run, {"format": [0, 1], "language": [0, 1]})
    tried = {s.weights for s in lab.outcomes}
    assert len(tried) == 1 + 2 + 4  # as trained, each weight cut in turn, and 2 x 2
    assert (("format", 1), ("language", 0)) in tried


def test_verdict_on_an_inert_weight(run):
    """Cut to .001 under group_std: a keeps squares 4 of 8, b: .999 + -.001, format .5 - .0005: 0.44 -> 0.50. Under none the
    squares of a are 4 * .0005 ** 2 beside b's .75."""
    text = "\n".join(verdicts(lab_of(run)))
    assert (
        "Cutting the format weight 100x changes its share of the signal 0.44 -> 0.50: under group_std this weight is nearly inert"
        in text
    )
    assert "Of the squared advantage accuracy (weight 1) carries 56 %, format (weight 0.1) carries 44 %" in text
    assert "language has weight 0 and is only logged; 33 % of the groups have no spread" in text
    assert "In 50 % of the groups with signal only format differs: 50 % of the squared advantage" in text
    assert "Under none no completion changes the sign" in text


def test_verdict_on_a_weight_that_acts(tmp_path):
    """Under none, groups of accuracy (1 0: squares .5) and format (squares .005, cut: .0000005)."""
    folder = tmp_path / "run"
    write_run(folder, steps=0)
    groups = advantages([group("a", (1, 0), (1, 1)), group("b", (0, 0), (1, 0))], "none")
    TraceWriter(folder / "traces" / "rollouts.jsonl").write(
        [t for g in groups for t in g.traces], step=1, stage="grpo", phase="rollout"
    )
    lab = lab_of(folder)
    assert lab.way == "none"
    text = "\n".join(verdicts(lab))
    assert "Cutting the accuracy weight 100x changes its share of the signal 0.99 -> 0.01: under none this weight acts" in text
    trained = experiment(read_run(folder), {"group_std": WAYS["group_std"], "none": WAYS["none"]})
    inert = replace(trained, way="group_std")
    assert (
        "0.50 -> 0.50: under group_std this weight is nearly inert; use advantage.normalise=none (0.0099 -> 1e-06)"
        in "\n".join(verdicts(inert))
    )


def test_advantages_of_ones_own_are_said(tmp_path):
    folder = write_run(tmp_path / "run", steps=0)
    groups = advantages(step_of("x"), "group_std")
    odd = [replace(t, advantage=2 * t.advantage) for g in groups for t in g.traces]
    TraceWriter(folder / "traces" / "rollouts.jsonl").write(odd, step=1, stage="grpo", phase="rollout")
    lab = lab_of(folder)
    assert lab.way is None
    assert lab.trained.unexplained == pytest.approx(0)  # twice as large, but along the rewards
    assert any("No normalisation known here" in text for text in verdicts(lab))
    assert "| as trained | its own |" in markdown(lab)


def test_a_step_that_was_run_again_counts_once(run):
    """A resumed run appends the steps after its checkpoint a second time: 1, 2, and 1 again."""
    again = advantages([group("z", (1, 0), (1, 1))], "group_std")
    TraceWriter(run / "traces" / "rollouts.jsonl").write(list(again[0].traces), step=1, stage="grpo", phase="rollout")
    lab = lab_of(run)
    assert (lab.steps, lab.trained.groups) == (2, 3 + 1)


def test_reweighing_keeps_outages_out_and_compare_says_so():
    """An outage masks only where its part has a weight."""
    one = group("a", (1, 0, 0), (0, 1, 1), (float("nan"), 1, 0))
    heard = reweigh([one], {**WEIGHTS, "language": 1})[0]
    assert [t.score.total for t in heard.traces] == [None, pytest.approx(1.1), pytest.approx(0.1)]
    assert [t.score.total for t in reweigh([heard], WEIGHTS)[0].traces] == pytest.approx([1, 0.1, 0.1])
    shift = compare(advantages([one]), advantages([heard]))
    assert (shift.rows, shift.furthest) == (2, float("inf"))


def test_command(run, capsys):
    assert main(["--reward-lab", str(run), "--weights", "format=0,1"]) == 0
    out = capsys.readouterr().out
    assert "nearly inert" in out
    assert "reward_lab.json" in out
    found = json.loads((run / "reward_lab.json").read_text())
    assert (found["normalise"], found["weights"], found["steps"]) == ("group_std", WEIGHTS, 2)
    assert found["as_trained"]["share"]["accuracy"] == pytest.approx(0.5 / 0.9)
    assert len(found["settings"]) == 4 * (1 + 2 + 2)
    page = (run / "reward_lab.md").read_text()
    assert "| as trained | group_std | 0.556 | 0.444 | 0.000 | 0.500 | 0.333 | 0.000 | 1.000 |" in page
    assert table(lab_of(run)).row_count == 4 * 3


def test_the_table_keeps_every_digit_at_80_columns(run):
    on = Console(width=80, file=io.StringIO())
    show(table(lab_of(run, {"format": [0, 0.1, 1], "language": [0, 0.1]})), on)
    told = on.file.getvalue()
    assert "…" not in told
    assert "language=0.1" in told
    assert len(re.findall(r"\d\.\d{3}(?=\s|$)", told)) >= 5 * 4 * (3 + 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "frmat=1"], "have no part frmat; there are: accuracy, format, language"),
        (["--weights", "format=high"], "takes PART=NUMBER"),
        (["--weights", "format"], "takes PART=NUMBER"),
    ],
)
def test_mistakes_are_explained(run, capsys, arguments, message):
    assert main(["--reward-lab", str(run), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_run_without_rollouts_is_told_what_is_missing(run, tmp_path, capsys):
    (run / "traces" / "rollouts.jsonl").unlink()
    assert main(["--reward-lab", str(run)]) == 1
    assert "no rollouts under" in capsys.readouterr().err
    assert main(["--reward-lab", str(tmp_path / "nowhere")]) == 1
    assert "no run at" in capsys.readouterr().err
    for wrong in (["--weights", "format=1"], ["--reward-lab", "--out", "page.html"]):
        with pytest.raises(SystemExit):
            main([str(run), *wrong])
