"""The GPU chapter (docs/gpu.md) as far as a CPU can prove it: its configs fit each other, and every piece of it runs, in small."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from r1.build import build, compose
from r1.run import train
from r1.tasks.spoken import numbers_of

PARAMETERS = 34_130_688


def test_the_policy_has_as_many_parameters_as_stated() -> None:
    cfg = compose(overrides=["experiment=r1_zero_gpu_base"]).policy
    policy = build(cfg)
    # V = 55 words + 20 digits + 3; 78 * 512 + 10 layers * (4 * 512^2 + 3 * 512 * 1536 + 2 * 64 + 2 * 512) + 512
    assert len(policy.tokenizer) == 78
    assert (
        sum(p.numel() for p in policy.parameters())
        == PARAMETERS
        == 78 * 512 + 10 * (4 * 512**2 + 3 * 512 * 1536 + 128 + 1024) + 512
    )
    stated = [Path("conf/policy/small.yaml"), Path("docs/gpu.md")]
    root = Path(__file__).resolve().parent.parent
    assert all(f"{PARAMETERS:,}" in (root / path).read_text(encoding="utf-8") for path in stated)


def test_the_two_experiments_fit_each_other() -> None:
    base = compose(overrides=["experiment=r1_zero_gpu_base"])
    zero = compose(overrides=["experiment=r1_zero_gpu", "policy.path=base/hf"])
    for cfg in (base, zero):
        assert (cfg.trainer.accelerator, cfg.trainer.precision, cfg.trainer.devices) == ("gpu", "bf16-mixed", 1)
        assert set(cfg.benchmark) == {"countdown", "arithmetic_long"}
    assert (base.task.countdown, base.task.arithmetic) == (zero.task.tasks.countdown, zero.task.tasks.arithmetic_long)
    for name, task in zero.task.tasks.items():
        assert zero.benchmark[name].problems.task == task
        assert zero.benchmark[name].sampling.max_new_tokens == zero.stage.sampling.max_new_tokens
    assert zero.policy.dtype == "float32"  # master weights


@pytest.mark.slow
def test_the_base_has_read_nothing_about_what_the_benchmarks_ask() -> None:
    cfg = compose(overrides=["experiment=r1_zero_gpu_base", "task.size=300"])
    corpus = build(cfg.task)
    asked = {numbers_of(problem) for benchmark in cfg.benchmark.values() for problem in build(benchmark).problems}
    assert len(asked) > 190
    assert asked <= corpus.held_out
    assert not asked & set(corpus.sets)
    limit = cfg.policy.max_length
    policy = build(
        compose(
            overrides=["experiment=r1_zero_gpu_base", "policy.hidden=16", "policy.layers=1", "policy.heads=2", "policy.inner=8"]
        ).policy
    )
    longest = max(len(policy.encode(problem)) for problem in corpus.validation)
    assert longest + cfg.benchmark.countdown.sampling.max_new_tokens <= limit
    lengths = [len(policy.tokenizer(f"{d.prompt} {d.body}")["input_ids"]) + 1 for d in corpus.documents]
    assert max(lengths) <= cfg.stage.max_tokens


@pytest.mark.slow
def test_pretraining_r1_zero_and_evaluation_in_small(tmp_path: Path) -> None:
    """The two experiments as they are, at toy size on a CPU, in bf16: the base learns, R1-Zero has a signal and moves it."""
    small = [
        "trainer=cpu", "+trainer.precision=bf16-mixed", "logger=csv", "print_config=false", "callbacks.rehearsal.when=always",
        *(f"benchmark.{name}.{key}" for name in ("countdown", "arithmetic_long")
          for key in ("problems.limit=2", "k=2", "cons=[2]", "pass_k=[2]", "sampling.max_new_tokens=96")),
    ]  # fmt: skip
    base = [
        "experiment=r1_zero_gpu_base", f"hydra.run.dir={tmp_path}/base", "policy.hidden=64", "policy.layers=2", "policy.heads=4",
        "policy.inner=192", "task.size=3000", "task.sheets=0", "task.direct=0", "task.one_try=1", "task.reflective=0", "stage.steps=250",
        "stage.tokens_per_step=2048", "stage.micro_tokens=1024", "stage.schedule.warmup=10", "callbacks.checkpoint.every_n_steps=100",
    ]  # fmt: skip
    zero = [
        "experiment=r1_zero_gpu", f"hydra.run.dir={tmp_path}/zero", f"policy.path={tmp_path}/base/hf", "stage.steps=3",
        "stage.prompts_per_step=4", "stage.group_size=8", "stage.sampling.max_new_tokens=96", "stage.micro_tokens=2048",
    ]  # fmt: skip
    train(compose(overrides=[*base, *small], run_dir=str(tmp_path / "base")))
    train(compose(overrides=[*zero, *small], run_dir=str(tmp_path / "zero")))

    def column(run: str, name: str) -> list[float]:
        with (tmp_path / run / "metrics.csv").open(encoding="utf-8") as file:
            return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]

    losses = column("base", "train/loss")
    assert losses[0] > 4  # ln 78 = 4.36
    assert losses[-1] < 1.6  # 1.26 seen: far below the 4.36 of knowing nothing
    assert sum(column("zero", "train/reward")) > 0
    assert min(column("zero", "train/frac_reward_zero_std")) < 1  # some group can be learned from
    before, after = (load_file(tmp_path / run / "hf" / "model.safetensors") for run in ("base", "zero"))
    assert max(float((after[name] - before[name]).abs().max()) for name in before) > 1e-5
    assert all(bool(torch.isfinite(tensor).all()) for tensor in after.values())
    for run in ("base", "zero"):
        rows = [json.loads(line) for line in (tmp_path / run / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {row["benchmark"] for row in rows} == {"countdown", "arithmetic_long"}
