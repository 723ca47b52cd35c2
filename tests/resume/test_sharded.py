"""A run in two ranks from the command line: killed with SIGKILL, started again, and left alone once it is finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from r1 import checkpoints

EVERY = "callbacks.checkpoint.every_n_steps=1"
SHARDED, WHOLE = ["trainer=fsdp2_sim"], ["trainer=fsdp2_sim", "trainer.strategy.save_distributed_checkpoint=false"]


def command(world: Any, run: Path, options: list[str]) -> list[str]:
    return [sys.executable, "-m", "r1", "train", *world.overrides("grpo"), EVERY, *options, f"hydra.run.dir={run}"]


def killed_after(step: int, run: Path, line: list[str]) -> None:
    """Kill the first rank, as soon as the checkpoint of this step is there; the other one must not stay behind."""
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as first:
        until = time.monotonic() + 240
        while not (run / f"checkpoints/step={step:06d}.ckpt").exists():
            assert first.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        first.kill()
    until = time.monotonic() + 60
    while True:
        try:
            os.killpg(first.pid, 0)
        except ProcessLookupError:
            return
        if time.monotonic() > until:
            os.killpg(first.pid, signal.SIGKILL)
            raise AssertionError("the second rank outlived the first by a minute")
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("options", [SHARDED, WHOLE, ["trainer=ddp_sim"]], ids=["sharded", "whole file", "ddp"])
def test_two_ranks_go_on_after_a_kill(world: Any, tmp_path: Path, options: list[str]) -> None:
    straight, run = tmp_path / "straight", tmp_path / "run"
    subprocess.run(command(world, straight, options), check=True, capture_output=True, timeout=240)
    killed_after(2, run, command(world, run, options))
    again = subprocess.run(command(world, run, options), check=True, capture_output=True, text=True, timeout=240)
    assert "going on from step" in again.stdout
    ours, theirs = (load_file(folder / "hf" / "model.safetensors") for folder in (run, straight))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    newest = checkpoints.newest(run / "checkpoints")
    assert newest is not None and newest.is_dir() == (options == SHARDED)
    figures = (run / "summary.json").read_text()
    assert json.loads(figures)["metrics"]
    third = subprocess.run(command(world, run, options), check=True, capture_output=True, text=True, timeout=120)
    assert "is finished (7 steps)" in third.stdout
    assert (run / "summary.json").read_text() == figures
