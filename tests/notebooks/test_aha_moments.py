"""The flagship notebook: it runs from the data it ships with, on other runs too, and its executed pair is its own."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pytest

from r1.analysis.observatory import checkpoints
from r1.analysis.reading import read_run

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
DATA = NOTEBOOKS / "data" / "aha_moments"


@pytest.mark.slow
def test_it_runs_and_finds_what_it_says(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    found = runpy.run_path(str(NOTEBOOKS / "aha_moments.py"))
    first, last = ({name: shots[i] for name, shots in found["shots"].items()} for i in (0, -1))
    assert first["verdicts"].pays.problems[0] > 0.3
    assert first["no verdicts"].pays.problems[0] < 0 < first["no verdicts"].pays.problems[1]
    assert last["verdicts"].reflects > 0.8 > 0.2 > last["no verdicts"].reflects
    mean = {key: sum(f.value or 0 for f in values) / len(values) for key, values in found["worth"].items()}
    assert mean["verdicts", "resampling"] > 0.5 > 0.1 > abs(mean["no verdicts", "resampling"])


@pytest.mark.slow
def test_it_accepts_run_folders(monkeypatch, tmp_path):
    """A folder of `r1 demo`, with a base that was evaluated while it read, and one of `r1 train`, without a base."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    demo = tmp_path / "demo"
    shutil.copytree(DATA / "informative", demo / "r1_zero")
    shutil.move(demo / "r1_zero" / "base", demo / "base")
    shutil.copytree(demo / "r1_zero" / "traces", demo / "base" / "traces")
    (demo / "base" / "metrics.csv").write_text("step,train/loss\n1000,1.0\n")
    shutil.copytree(DATA / "useless", tmp_path / "train")
    shutil.rmtree(tmp_path / "train" / "base")
    monkeypatch.setenv("R1_RUN", str(demo))
    monkeypatch.setenv("R1_CONTROL", str(tmp_path / "train"))
    found = runpy.run_path(str(NOTEBOOKS / "aha_moments.py"))
    assert [shot.samples for shot in found["shots"]["verdicts"]] == [640] * 5  # the base's own evaluations are not among them
    assert list(found["policies"]) == ["verdicts"]


def test_the_shipped_data_are_small_and_whole():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 1_000_000
    for name in ("informative", "useless"):
        run = read_run(DATA / name)
        assert run.summary["steps"] == run.config["stage"]["steps"] == 80
        seen = checkpoints(run.traces())
        assert list(seen) == [0, 20, 40, 60, 80]
        assert all(len(groups) == 80 and all(len(group) == 8 for group in groups) for groups in seen.values())


def test_the_answer_over_seeds_is_the_one_the_notebook_gives():
    seeds = json.loads((DATA / "answer.json").read_text(encoding="utf-8"))
    assert seeds["verdict"].startswith("Yes")
    assert min(len(found) for found in seeds["arms"].values()) >= 2


@pytest.mark.parametrize("name", ["aha_moments", "kernel_vs_reference"])
def test_the_executed_pair_is_up_to_date(name):
    jupytext = pytest.importorskip("jupytext")
    source, executed = (jupytext.read(NOTEBOOKS / f"{name}{ending}") for ending in (".py", ".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in source.cells] == [(cell.cell_type, cell.source) for cell in executed.cells]
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "run notebooks/execute.py"
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
