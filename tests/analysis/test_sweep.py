"""A sweep's folder in, a table out: cells, seeds, paired differences, and the jobs that did not make it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1.analysis.sweep import difference, is_sweep, mean_over_seeds, read_sweep
from r1.analysis.sweep_report import html, markdown, sweep_report, tabulate, warnings
from r1.commands.report import main

AXIS = "reward.weights.format"


def write_job(
    folder: Path, number: int, weight: str, seed: int, score: float | None, steps: int = 4, finished: bool = True
) -> None:
    job = folder / str(number)
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text(f"- experiment=tiny\n- {AXIS}={weight}\n- seed={seed}\n")
    (job / "config.yaml").write_text(f"name: sweep\nseed: {seed}\nstage: {{steps: 4}}\n")
    if score is None:
        return
    rows = "".join(f"{step},{0.5 + step},{score * step / steps}\n" for step in range(0, steps + 1, 2))
    (job / "metrics.csv").write_text("step,train/reward,eval/pc/pass@1\n" + rows)
    right = round(score * 8)  # of 8 samples, for each of 5 problems
    problems = [{"id": f"p{i}", "n": 8, "correct": right} for i in range(5)]
    row = {"step": steps, "benchmark": "pc", "setting": {"samples a problem": 8, "temperature": 1.0}, "problems": problems}
    (job / "evaluations.jsonl").write_text(json.dumps(row) + "\n" + '{"step": 9, "torn')
    if finished:
        (job / "summary.json").write_text(json.dumps({"seconds": 60.0 + seed}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights 0.1, 1 and 3 x seeds 0, 1, 2: 0.1 and 1 finished, of 3 one failed, one stopped, one never began."""
    top = tmp_path / "2026-11-22_12-00-00"
    scores = {("0.1", 0): 0.5, ("0.1", 1): 0.625, ("0.1", 2): 0.375, ("1", 0): 0.75, ("1", 1): 0.875, ("1", 2): 0.625}
    for number, ((weight, seed), score) in enumerate(scores.items()):
        write_job(top, number, weight, seed, score)
    write_job(top, 6, "3", 0, None)
    write_job(top, 10, "3", 1, 0.25, steps=2, finished=False)
    task = [f"{AXIS}=0.1,1,3", "seed=0,1,2"]
    record = {"hydra": {"sweeper": {"params": None}, "overrides": {"task": ["experiment=tiny", *task]}}}
    (top / "multirun.yaml").write_text(json.dumps(record))
    return top


def test_cells_and_jobs(folder):
    sweep = read_sweep(folder)
    assert sweep.axes == {AXIS: ["0.1", "1", "3"]}  # the seed repeats, it is no axis; the experiment did not vary
    assert [job.folder.name for job in sweep.jobs] == ["0", "1", "2", "3", "4", "5", "6", "10"]  # by number
    assert {cell: [job.state for job in jobs] for cell, jobs in sweep.cells.items()} == {
        ("0.1",): ["finished"] * 3,
        ("1",): ["finished"] * 3,
        ("3",): ["failed", "unfinished"],
    }
    assert sweep.name(("3",)) == "format 3"


def test_jobs_that_did_not_make_it_are_named(folder):
    lines = read_sweep(folder).unwell
    assert lines == [
        f"6: {AXIS}=3 seed=0: failed, no step was logged",
        f"10: {AXIS}=3 seed=1: unfinished, stopped at step 2 of 4",
        f"{AXIS}=3 seed=2: never started",
    ]


def test_means_and_paired_differences(folder):
    table = tabulate(read_sweep(folder))
    first, second, third = table.rows
    # .5, .625, .375: mean .5, sd .125, t(2) = 4.303, half width 4.303 * .125 / sqrt(3) = .3105
    assert first.figures[0].value == pytest.approx(0.5)
    assert first.figures[0].interval == pytest.approx((0.1895, 0.8105), abs=1e-3)
    # every seed gained .25: the difference has no spread, though the cells overlap widely
    assert second.difference.seeds.value == pytest.approx(0.25)
    assert second.difference.seeds.interval == pytest.approx((0.25, 0.25))
    assert second.difference.verdict == "better"
    assert second.difference.problems == pytest.approx(2 / 2**5)  # five problems, all up: 2 of 32 sign patterns
    assert third.figures[0] is None  # what did not finish has no figure
    assert third.difference is None
    assert first.is_baseline


def test_another_baseline_turns_the_sign(folder):
    table = tabulate(read_sweep(folder), {AXIS: "1"})
    assert table.rows[0].difference.seeds.value == pytest.approx(-0.25)
    assert table.rows[0].difference.verdict == "worse"
    with pytest.raises(ValueError, match="swept were reward"):
        tabulate(read_sweep(folder), {"lr": "1"})
    with pytest.raises(ValueError, match="there are format 0.1, format 1, format 3"):
        tabulate(read_sweep(folder), {AXIS: "7"})


def test_too_few_seeds_are_said_and_nothing_is_called_better(tmp_path):
    top = tmp_path / "sweep"
    for number, (weight, score) in enumerate((("0.1", 0.5), ("1", 0.75))):
        write_job(top, number, weight, 0, score)
    table = tabulate(read_sweep(top))
    assert "1 finished seed in some cells" in warnings(table)[0]
    assert table.rows[1].difference.verdict == "cannot tell"
    assert "±" not in markdown(table).split("|---")[1].split("Mean over")[0]


def test_seeds_that_only_one_cell_finished_are_not_paired(folder):
    sweep = read_sweep(folder)
    cells = list(sweep.cells.values())
    found = difference(cells[0], cells[1][:2], "pc")
    assert found.seeds.count == 2
    assert difference(cells[0], cells[2], "pc") is None


def test_mean_over_seeds_by_hand():
    assert mean_over_seeds([0.5]).interval is None
    # two values: t(1) = 12.706, sd .1414, half width 12.706 * .1414 / sqrt(2) = 1.2706
    assert mean_over_seeds([0.4, 0.6]).interval == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-3)


def test_files(folder):
    paths = sweep_report(folder)
    text = paths[0].read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert f"| {AXIS} | seeds | pass@1 | Δ to baseline | settings | p, these policies | reward | time |" in text
    assert "| 0.1 | 3/3 | 50\u00a0% ± 31 | baseline |  |  | 4.5 | 61 s |" in text
    assert "| 1 | 3/3 | 75\u00a0% ± 31 | +25.0 (+25 to +25) | better | 0.062 | 4.5 | 61 s |" in text
    assert "| 3 | 0/2 | – | – | no shared seed |  | – | – |" in text
    assert text.startswith("# sweep, 2026-11-22_12-00-00")
    assert "never started" in text
    assert "pc: samples a problem 8, temperature 1.0." in text
    page = paths[1].read_text()
    assert page.count("<figure") == 2  # pass@1 and reward
    assert "format 0.1" in page


def test_names_are_escaped(tmp_path):
    top = tmp_path / "sweep"
    write_job(top, 0, "<script>", 0, 0.5)
    write_job(top, 1, "a|b", 0, 0.5)
    table = tabulate(read_sweep(top))
    assert "<script>," not in html(table)
    assert "&lt;script&gt;" in html(table)
    assert "| a\\|b |" in markdown(table)


def test_command_tells_sweeps_from_runs(folder, tmp_path, capsys):
    assert is_sweep(folder)
    assert not is_sweep(folder / "0")
    assert main([str(folder), "--baseline", f"{AXIS}=1"]) == 0
    assert "worse" in capsys.readouterr().out
    assert main([str(folder), "--baseline", "nonsense"]) == 1
    assert "KEY=VALUE" in capsys.readouterr().err
    assert main([str(folder / "0")]) == 0
    assert (folder / "0" / "report.html").is_file()
    with pytest.raises(ValueError, match="no sweep at"):
        read_sweep(tmp_path / "nothing")


def test_a_folder_of_unrelated_runs_is_no_sweep(tmp_path, capsys):
    """Two starts of `r1 train` beside each other, with other overrides."""
    for name, weight in (("2026-01-01_12-00-00", "1"), ("2026-01-02_12-00-00", "3")):
        write_job(tmp_path, 0, weight, 0, 0.5)
        (tmp_path / "0").rename(tmp_path / name)
    (tmp_path / "2026-01-02_12-00-00/.hydra/overrides.yaml").write_text("- trainer=cpu\n")
    assert not is_sweep(tmp_path)
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "is neither a run nor a sweep; it holds 2 runs, so name one" in said
    assert f"  {tmp_path / '2026-01-02_12-00-00'}" in said
    assert main([str(tmp_path / "2026-01-02_12-00-00")]) == 0
