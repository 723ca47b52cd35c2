"""Two ranks are one process: the same weights and figures, however groups, minibatches and shards are spread."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from r1_kernels import Objective
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from r1 import metrics
from r1.callbacks import ReflectionCallback, SignalCallback
from r1.losses import advantages
from r1.policy.sharding import gathered_model, is_sharded
from r1.rewards import Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.vllm_http import VLLMEngine
from r1.rollout.vllm_weights import SharedFolder

from ..rollout.vllm_stub import VLLMStub
from .ranks import on_two_ranks, one_thread  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SAMPLED = dict(engine=HFEngine, sampling=Sampling(max_new_tokens=6))
# three groups for two ranks: one of them has more to do, and with one group the other has nothing
CASES: dict[str, dict[str, Any]] = {
    **{name: dict(aggregation=name, prompts_per_step=3) for name in ("grpo", "bnpo", "dapo", "dr_grpo", "sequence_sum")},
    "batch_std": dict(advantage=partial(advantages, normalise="batch_std"), prompts_per_step=3),
    "minibatches": dict(minibatches=3, prompts_per_step=5),
    "reference": dict(
        objective=Objective(kl="k3", beta=0.1), reference_refresh=2, old_logp="policy", minibatches=2, prompts_per_step=3
    ),
    "kl in reward": dict(kl_in_reward=0.5, old_logp="policy", prompts_per_step=3),
    "one group": dict(prompts_per_step=1),
    "one group, a step ahead": dict(prompts_per_step=1, rollout_ahead=True, old_logp="policy", steps=3),
}
FIGURES = (
    metrics.LOSS, metrics.GRAD_NORM, metrics.REWARD, metrics.REWARD_STD, metrics.MEAN_LENGTH, metrics.MAX_LENGTH, metrics.ENTROPY,
    metrics.RATIO_MAX, metrics.part_mean("good"), metrics.part_std("good"), metrics.REPETITION,
)  # fmt: skip


def trainer(strategy: Any = "auto", devices: int = 1, **options: Any) -> Trainer:
    options = {"enable_checkpointing": False, **options}
    return Trainer(accelerator="cpu", devices=devices, strategy=strategy, max_epochs=1, logger=False, enable_progress_bar=False,
                   enable_model_summary=False, **options)  # fmt: skip


def watchers() -> list[Any]:
    """The callbacks that look at a step's groups: a rank that was dealt none must take part in what they add up."""
    return [ReflectionCallback(), SignalCallback()]


def sharded(whole_file: bool = False) -> ModelParallelStrategy:
    return ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=not whole_file)


def new_stage(lab: Any, case: str) -> Any:
    return lab.grpo(**{**SAMPLED, "steps": 2, "micro_tokens": 40, "optimizer": lab.sgd, **CASES[case]})


def whole(stage: Any) -> torch.Tensor:
    """All weights of the policy as one vector, on every rank."""
    parts = [p.detach() for p in stage.policy.parameters()]
    return torch.cat([(p.full_tensor() if isinstance(p, DTensor) else p).flatten() for p in parts])


def run(stage: Any, lab: Any, fitter: Trainer) -> tuple[torch.Tensor, dict[str, float]]:
    fitter.fit(stage, train_dataloaders=stage.loader(lab.Problems()))
    return whole(stage), {name: float(value) for name, value in fitter.callback_metrics.items() if not name.startswith("time/")}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_equal_one_process(lab, tmp_path: Path, strategy: str) -> None:
    """Bugs 14 (groups split over ranks), 16 (local denominators), 43 (uneven ranks hang), 51 (ragged stops under sharding)."""

    def work(rank: int) -> Any:
        results = {}
        for case in CASES:
            stage = new_stage(lab, case)
            results[case] = run(stage, lab, trainer("ddp" if strategy == "ddp" else sharded(), 2, callbacks=watchers()))
            assert is_sharded(stage.policy) == (strategy == "fsdp2")
        return results

    first, second = on_two_ranks(work, tmp_path, timeout=300)
    for case in CASES:
        alone, figures = run(new_stage(lab, case), lab, trainer(callbacks=watchers()))
        assert torch.equal(first[case][0], second[case][0]), case
        assert torch.allclose(first[case][0], alone, atol=2e-6), (case, (first[case][0] - alone).abs().max())
        assert set(figures) == set(first[case][1]), case
        for name in FIGURES:
            assert first[case][1][name] == pytest.approx(figures[name], rel=1e-4, abs=1e-6), (case, name)


def test_a_part_that_one_rank_never_saw_is_counted(lab, tmp_path: Path) -> None:
    """Bug 45: ranks with different reward parts must neither hang nor mix columns up."""

    class Sometimes(Reward):
        def score(self, traces):
            scored = super().score(traces)
            odd = [t for t in scored if int(t.problem.id[-1]) % 2]
            for t in scored:
                if t not in odd:
                    t.score.parts.pop("short")
            return scored

    def new_grpo() -> Any:
        stage = lab.grpo(**SAMPLED, prompts_per_step=2, steps=2, optimizer=lab.sgd)
        stage.reward = Sometimes(stage.reward.parts, dict(stage.reward.weights))
        return stage

    (_, logged), _ = on_two_ranks(lambda rank: run(new_grpo(), lab, trainer("ddp", 2)), tmp_path)
    _, alone = run(new_grpo(), lab, trainer())
    for part in ("good", "short"):
        assert logged.get(metrics.part_mean(part)) == pytest.approx(alone.get(metrics.part_mean(part)))


@pytest.mark.parametrize("whole_file", [False, True])
def test_sharded_and_whole_checkpoints_resume(lab, tmp_path: Path, whole_file: bool) -> None:
    options = dict(**SAMPLED, steps=4, prompts_per_step=3, objective=Objective(kl="k3", beta=0.1), reference_refresh=3)

    def work(rank: int) -> Any:
        keep = ModelCheckpoint(dirpath=tmp_path / "checkpoints", filename="{step}", every_n_train_steps=2, save_top_k=-1)
        straight = lab.grpo(**options)
        run(straight, lab, trainer(sharded(whole_file), 2, callbacks=[keep], enable_checkpointing=True))
        resumed = lab.grpo(**options)
        fitter = trainer(sharded(whole_file), 2)
        fitter.fit(resumed, train_dataloaders=resumed.loader(lab.Problems()), ckpt_path=tmp_path / "checkpoints/step=2.ckpt")
        tokens = [[t.token_ids for g in stage.last_groups for t in g.traces] for stage in (straight, resumed)]
        return whole(straight), whole(resumed), tokens, resumed.rollout_step

    for straight, resumed, tokens, steps in on_two_ranks(work, tmp_path):
        assert steps == 4
        assert torch.equal(straight, resumed)
        assert tokens[0] == tokens[1]
    assert (tmp_path / "checkpoints/step=2.ckpt").is_dir() != whole_file


def test_sharded_weights_are_sampled_exported_and_gathered_whole(lab, tmp_path: Path) -> None:
    def work(rank: int) -> Any:
        stage = lab.grpo(**SAMPLED, steps=2, prompts_per_step=3)
        run(stage, lab, trainer(sharded(), 2))
        stage.policy.save(tmp_path / "hf")
        shards = sum(p.to_local().numel() for p in stage.policy.parameters())
        with pytest.raises(ValueError, match="sharded over ranks"):
            HFEngine(stage.policy).generate([[3, 4]], 1, Sampling(), [[1]])
        copy = gathered_model(stage.policy)
        assert copy.lm_head.weight.data_ptr() == copy.model.embed_tokens.weight.data_ptr()
        distinct = {p.data_ptr(): p.numel() for p in copy.parameters()}
        return whole(stage), shards, sum(distinct.values())

    (first, shards, count), (second, others, _) = on_two_ranks(work, tmp_path)
    assert torch.equal(first, second)
    assert shards + others == count == first.numel()
    assert max(shards, others) <= 0.6 * count  # each rank trains about half
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert torch.equal(torch.cat([p.detach().flatten() for p in exported.parameters()]), first)


def test_bf16_layers_over_float32_shards_learn(lab, tmp_path: Path) -> None:
    """Mixed precision: the master weights stay float32, and the update is near the float32 one."""

    def work(rank: int) -> Any:
        stage = lab.grpo(**SAMPLED, steps=1, prompts_per_step=4, optimizer=lab.sgd, old_logp="policy")
        before = whole(stage)
        after, figures = run(stage, lab, trainer(sharded(), 2, precision="bf16-mixed"))
        return before, after, figures, {p.dtype for p in stage.policy.parameters()}

    (before, after, figures, dtypes), _ = on_two_ranks(work, tmp_path)
    assert dtypes == {torch.float32}
    assert not torch.equal(before, after)
    assert figures[metrics.RATIO_MAX] == pytest.approx(1.0, abs=1e-3)


def test_ranks_share_one_server(lab, tmp_path: Path) -> None:
    """Sharded weights are gathered once, handed over once, and both ranks draw from them; the stub draws what the plain engine would."""
    served = VLLMStub(lab.policy(seed=5).save(tmp_path / "served"))
    try:

        def work(rank: int) -> Any:
            stage = lab.grpo(
                engine=lambda policy: VLLMEngine(served.url, SharedFolder(tmp_path / "weights"), policy, dtype="float32", connections=4),
                sampling=Sampling(max_new_tokens=6), steps=2, prompts_per_step=3, optimizer=lab.sgd,
            )  # fmt: skip
            return run(stage, lab, trainer(sharded(), 2))[0]

        first, second = on_two_ranks(work, tmp_path)
    finally:
        served.close()
    alone, _ = run(lab.grpo(**SAMPLED, steps=2, prompts_per_step=3, optimizer=lab.sgd), lab, trainer())
    assert torch.equal(first, second)
    assert torch.allclose(first, alone, atol=2e-6)
    assert len(served.sent("/collective_rpc")) == 2  # one a step, not one a rank
    assert len(served.sent("/inference/v1/generate")) == 2 * 3 * 4
