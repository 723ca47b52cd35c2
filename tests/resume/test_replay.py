"""`r1 replay`: a step made again is the step that was made; another learning rate, or a touched trace, is seen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r1.build import save_config
from r1.commands import replay
from r1.rollout.trace_file import TraceWriter, read_traces


@pytest.fixture(scope="module")
def run(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished GRPO run, as the command leaves it: checkpoints of steps 6 and 7."""
    world.whole("grpo")
    folder = tmp_path_factory.mktemp("replay") / "run"
    shutil.copytree(world.folder / "grpo", folder, symlinks=True)
    save_config(world.config("grpo", folder), folder)
    return folder


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)])
def test_a_step_comes_out_the_same(world: Any, run: Path, step: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert world.in_a_fork(lambda: print_to_file(run, ["--step", str(step)])) == 0
    said = (run.parent / "said").read_text()
    assert f"made again from step {6 if step == 7 else 0}" in said
    assert len(re.findall(r"train/(?:loss|grad_norm|reward): \S+ then, \S+ now: the same", said)) == 3
    assert "all 16 completions are the same" in said
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def print_to_file(run: Path, arguments: list[str]) -> None:
    with (run.parent / "said").open("w") as file, contextlib.redirect_stdout(file):
        status = replay.main([str(run), *arguments])
    raise SystemExit(status)


@pytest.mark.slow
def test_what_differs_is_said(world: Any, run: Path, tmp_path: Path) -> None:
    """Another learning rate moves the loss of step 2, not its prompts; a completion that was touched is named."""
    other = tmp_path / "run"
    shutil.copytree(run, other, symlinks=True)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("lr: 0.01", "lr: 0.011"))
    assert world.in_a_fork(lambda: print_to_file(other, ["--step", "2", "--from-start"])) == 1
    assert "train/loss: " in (tmp_path / "said").read_text()
    assert "DIFFERENT" in (tmp_path / "said").read_text()

    (other / "config.yaml").write_text(config)
    file = other / "traces/rollouts.jsonl.zst"
    traces = [(trace, row["step"]) for trace, row in read_traces(file)]
    traces[5][0].token_ids[0] += 1  # of step 1
    file.unlink()
    writer = TraceWriter(file)
    for step in range(1, 8):
        writer.write([trace for trace, of in traces if of == step], step=step, stage="grpo", phase="rollout")
    assert world.in_a_fork(lambda: print_to_file(other, ["--step", "1"])) == 1
    said = (tmp_path / "said").read_text()
    assert "rollouts: 15 of 16 completions are the same; the first that differs is of problem" in said
    assert "DIFFERENT" not in said


@pytest.mark.parametrize(
    ("noted", "has", "told"),
    [
        (2, 2, "threads: 2, as then"),
        (2, 1, "threads: 1 now, 2 then, which cannot be had here"),
        (None, 1, "not known of the run"),
    ],
)
def test_it_takes_the_threads_of_the_run(
    noted: int | None, has: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    monkeypatch.setattr("torch.get_num_threads", lambda: has)
    if noted:
        (tmp_path / "manifest.json").write_text(json.dumps({"threads": noted}))
    assert told in replay._same_threads(tmp_path)
    assert asked == ([noted] if noted else [])


@pytest.mark.slow
def test_a_run_of_two_threads_is_made_again_with_two(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other, symlinks=True)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"threads": 2}))

    # a process of its own: OpenMP's threads do not survive a fork
    command = [sys.executable, "-m", "r1", "replay", str(other), "--step", "7"]
    said = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120).stdout
    assert "threads: 2, as then" in said


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "reward_model"])
def test_stages_without_rollouts(world: Any, tmp_path: Path, stage: str) -> None:
    world.whole(stage)
    folder = tmp_path / "run"
    shutil.copytree(world.folder / stage, folder, symlinks=True)
    save_config(world.config(stage, folder), folder)
    assert world.in_a_fork(lambda: print_to_file(folder, ["--step", "5", "--from-start"])) == 0
    assert (tmp_path / "said").read_text().count("the same") == 2


def test_wrong_questions(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no training step 8; it has 1 to 7"):
        replay.main([str(run), "--step", "8"])
    with pytest.raises(SystemExit, match="no run at"):
        replay.main([str(tmp_path), "--step", "1"])
