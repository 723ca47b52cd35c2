"""Stop a run anywhere with SIGKILL, start the same command again: what it logs, samples and learns is bitwise what it would have been.

Everything is imported once; each kill point is a fork. What is compared: every row of metrics.csv (but clocks), every line of the
traces, the final weights, the optimiser's state.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r1 import checkpoints
from r1.run import train

STAGES = ("grpo", "sft", "distill", "reward_model")


class Kill:
    """Die at the n-th call of a function, before it does anything, or `after` it has."""

    def __init__(self, owner: Any, name: str, n: int, after: bool = False) -> None:
        self.owner, self.name, self.n, self.after = owner, name, n, after

    def arm(self) -> None:
        real, calls = getattr(self.owner, self.name), 0

        def deadly(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.n and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **kwargs)
            if calls == self.n:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(self.owner, self.name, deadly)


class HalfWritten:
    """Die in the middle of writing the n-th checkpoint: its first half is in the file."""

    def __init__(self, n: int) -> None:
        self.n = n

    def arm(self) -> None:
        from lightning import Trainer

        real, calls = Trainer.save_checkpoint, 0

        def half(trainer: Trainer, path: Path, *args: Any, **kwargs: Any) -> None:
            nonlocal calls
            calls += 1
            real(trainer, path, *args, **kwargs)
            if calls == self.n:
                os.truncate(path, path.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        Trainer.save_checkpoint = half  # type: ignore[method-assign]


class HalfAFile:
    """Die in the middle of writing a small file of the run folder: its first half is on disk."""

    def __init__(self, name: str) -> None:
        self.name = name

    def arm(self) -> None:
        for method in ("write_text", "write_bytes"):
            setattr(Path, method, self.half(getattr(Path, method)))

    def half(self, real: Any) -> Any:
        def write(path: Path, data: Any, *args: Any, **kwargs: Any) -> Any:
            if not path.name.startswith(self.name):
                return real(path, data, *args, **kwargs)
            real(path, data[: len(data) // 2], *args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return write


def kill_points(stage: str) -> dict[str, Kill | HalfWritten | HalfAFile]:
    """Where a run of this stage dies. Checkpoints are saved after steps 2, 4, 6 and the last."""
    from lightning import Trainer

    from r1.stages import GRPO, SFT, RewardModel
    from r1.stages.base import Stage

    owner = {"grpo": GRPO, "sft": SFT, "distill": SFT, "reward_model": RewardModel}[stage]
    micro = {"grpo": 4, "sft": 2, "distill": 2, "reward_model": 2}[stage]  # micro-batches of a step, at least
    points: dict[str, Kill | HalfWritten | HalfAFile] = {f"step {n}": Kill(owner, "training_step", n) for n in (1, 2, 4, 5, 7)}
    points |= {f"end of step {n}": Kill(owner, "log_step", n, after=True) for n in (3, 6, 7)}
    points |= {
        f"micro-batch {n}": Kill(Stage, "manual_backward", n)
        for n in (2, micro + 2, 3 * micro, 7 if stage == "distill" else 5 * micro)
    }
    points |= {
        "before the save": Kill(Trainer, "save_checkpoint", 2),
        "half a save": HalfWritten(2),
        "half the last": HalfWritten(4),
    }
    points |= {
        "unchecked": Kill(checkpoints, "check", 2),
        "unnamed": Kill(os, "replace", 6),  # config.yaml, manifest.json, metrics.csv, two of step 2, and now step 4
        "named": Kill(os, "replace", 6, after=True),
    }
    points |= {"old one stays": Kill(checkpoints, "remove", 6), "saved": Kill(checkpoints, "install", 3, after=True)}
    points |= {f"half of {name}": HalfAFile(name) for name in ("config.yaml", "manifest.json", "summary.json")}
    if stage == "grpo":
        points |= {f"between updates {n}": Kill(Stage, "optimise", 2 * n) for n in (1, 2, 3, 5)}
        points |= {f"rollout {n}": Kill(GRPO, "score", n) for n in (1, 4)}
    return points


def survives(world: SimpleNamespace, tmp_path: Path, stage: str, point: Any) -> None:
    """Kill, start again, compare."""
    wanted = world.whole(stage)
    run = tmp_path / "run"

    def until_killed() -> None:
        cfg = world.config(stage, run)
        point.arm()
        train(cfg)

    assert world.in_a_fork(until_killed) == -signal.SIGKILL, "the kill point was never reached"
    assert world.in_a_fork(lambda: train(world.config(stage, run))) == 0
    found = world.result(run)
    for what, value in wanted.items():
        assert found[what] == value, what


FAST = [("grpo", "between updates 3"), ("sft", "half a save")]
ALL = [(stage, name) for stage in STAGES for name in kill_points(stage)]


@pytest.mark.parametrize(("stage", "name"), FAST)
def test_a_killed_run_goes_on_bitwise(world, tmp_path, stage, name):
    survives(world, tmp_path, stage, kill_points(stage)[name])


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "name"), [point for point in ALL if point not in FAST])
def test_every_kill_point(world, tmp_path, stage, name):
    survives(world, tmp_path, stage, kill_points(stage)[name])
