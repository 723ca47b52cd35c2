"""Tiny runs of four stages by their configs, forks to run them in, and what of a run must be the same after a resume."""

from __future__ import annotations

import csv
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from r1 import checkpoints
from r1.build import compose
from r1.rollout.trace_file import read_traces
from r1.run import train

TINY = [
    "logger=csv", "print_config=false", "audit=false", "callbacks.progress=null", "callbacks.benchmark=null", "callbacks.signal=null",
    "policy.hidden=16", "policy.layers=1", "policy.heads=2", "policy.inner=24", "policy.max_length=96", "optimizer.lr=0.01",
    "callbacks.checkpoint.every_n_steps=2",
]  # fmt: skip
STAGES = {
    # 12 problems in epochs of 3 steps; two updates a rollout, each of several micro-batches; the reference is renewed in between
    "grpo": ["stage.sampling.max_new_tokens=8", "stage.steps=7", "stage.prompts_per_step=4", "stage.group_size=4", "stage.minibatches=2",
             "stage.micro_tokens=128", "stage.reference_refresh=3", "stage.old_logp=policy", "overfit=12",
             "+reward/part@reward.parts.repetition=repetition", "reward.parts.repetition.n=1", "+reward.weights.repetition=1"],
    # 12 lessons, two or three a step: an epoch of 4 or 5 steps
    "sft": ["stage=sft", "task=documents", "stage.steps=9", "stage.epochs=null", "stage.tokens_per_step=64", "stage.micro_tokens=24",
            "stage.max_tokens=40", "stage.packing=false"],
    "distill": ["stage=distill", "stage.steps=7", "stage.epochs=null", "stage.tokens_per_step=64", "stage.micro_tokens=40",
                "stage.max_tokens=40", "stage.right_by=null", "optimizer=muon"],
    # 8 pairs, four a step: an epoch of two
    "reward_model": ["stage=reward_model", "task=preferences", "stage.steps=7", "stage.epochs=null", "stage.batch_size=4",
                     "stage.micro_rows=2", "task.validation=2"],
}  # fmt: skip


def in_a_fork(work: Callable[[], Any], quiet: bool = True) -> int:
    """The exit status of `work` in a process of its own: 0, 1 for an exception, -9 for a kill, the code of a SystemExit."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        torch.set_num_threads(1)
        if quiet:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        work()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def bits(value: Any) -> str:
    """Nested lists and dicts of numbers and tensors as text that differs when one bit does."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{value.flatten().view(torch.uint8).tolist() if value.ndim else value.item()}"
    if isinstance(value, dict):
        return str({name: bits(part) for name, part in value.items()})
    return str([bits(part) for part in value]) if isinstance(value, list | tuple) else repr(value)


def result(run: Path) -> dict[str, Any]:
    """All that must be the same."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if not k.startswith("time/") and "per_second" not in k} for row in csv.DictReader(file)
        ]
    traces = [(row, trace) for path in sorted(run.glob("traces/*")) for trace, row in read_traces(path)]
    last = checkpoints.read(checkpoints.newest(run / "checkpoints"))
    return {
        "metrics": rows,
        "traces": traces,
        "weights": (run / "hf" / "model.safetensors").read_bytes(),
        "optimizer": bits([last["optimizer_states"], last["lr_schedulers"]]),
        "state": {
            **last["r1"]["state"],
            "reference": bits([v for k, v in last["state_dict"].items() if k.startswith("reference")]),
        },
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Configs of four stages, and what each comes to when nobody stops it (made when first asked for)."""
    folder = tmp_path_factory.mktemp("resume")
    words = ["use", "two", "of", "3", "5", "7", "to", "make", "8"]
    lessons = [{"question": " ".join(words[: 3 + i % 6]), "completion": "3 + 5 " * (1 + i % 4)} for i in range(12)]
    pairs = [{"question": " ".join(words[: 4 + i % 3]), "chosen": "3 + 5", "rejected": "3 - 5 " * (1 + i % 3)} for i in range(10)]
    for name, rows in (("lessons", lessons), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    finals: dict[str, Any] = {}

    def overrides(stage: str) -> list[str]:
        more = {
            "sft": [f"task.path={folder}/lessons.jsonl"],
            "reward_model": [f"task.path={folder}/pairs.jsonl"],
            "distill": [f"stage.traces={folder}/grpo/traces/rollouts.jsonl.zst"],
        }.get(stage, [])
        return [*TINY, *STAGES[stage], *more]

    def config(stage: str, run: Path, *changes: str) -> Any:
        return compose("train", [*overrides(stage), *changes], run_dir=run)

    def whole(stage: str) -> dict[str, Any]:
        if stage not in finals:
            if stage == "distill":
                whole("grpo")  # the teacher
            assert in_a_fork(lambda: train(config(stage, folder / stage))) == 0
            finals[stage] = result(folder / stage)
            norms = [float(row["train/grad_norm"]) for row in finals[stage]["metrics"] if row["train/grad_norm"]]
            assert len(norms) >= 7 and min(norms) > 0, "nothing is learned, so nothing could differ"
        return finals[stage]

    return SimpleNamespace(overrides=overrides, config=config, whole=whole, folder=folder, in_a_fork=in_a_fork, result=result)
