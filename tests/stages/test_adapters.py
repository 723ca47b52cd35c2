"""Every stage with a low-rank adapter: the model stays as it was, the adapter learns, and the reference is the start of training."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from r1_kernels import Objective

from r1 import metrics
from r1.policy import Policy
from r1.policy.lora import Lora
from r1.records import Problem
from r1.rewards import Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.stages import SFT, Distill, RewardModel
from r1.stages.base import Stage
from r1.stages.distill import OnPolicy
from r1.stages.optimizers import adamw
from r1.tasks.corpus import Document
from r1.tasks.preference import Pair

pytest.importorskip("peft", reason="LoRA needs peft: pip install -e '.[peft]'")

DOCUMENTS = SimpleNamespace(documents=[Document(f"User : use {a} Assistant :", "good bad", "sheet") for a in "123"])
PAIRS = SimpleNamespace(train=[Pair(Problem(f"p{i}", "use"), f"good {i}", f"bad {i}") for i in range(6)], validation=[])


def trained(lab) -> Policy:
    """A policy with an adapter that has learned something before: B is not 0."""
    policy = lab.policy()
    Lora(r=2, alpha=8.0).attach(policy.model)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in policy.parameters() if p.requires_grad):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return policy


def new_grpo(lab, **changes):
    return lab.grpo(trained(lab), engine=HFEngine, **{"objective": Objective(kl="k3", beta=0.1), "minibatches": 2, **changes})


def of_kind(lab, kind: str) -> tuple[Stage, object]:
    policy, optimizer = trained(lab), partial(adamw, lr=1e-2)
    if kind == "sft":
        return SFT(policy, optimizer, steps=2, tokens_per_step=40), DOCUMENTS
    if kind == "reward_model":
        return RewardModel(policy, optimizer, judged="whole", steps=4, batch_size=4), PAIRS  # the head is 0 at first
    if kind == "grpo":
        return new_grpo(lab), lab.Problems()
    reward = Reward({"x": lambda traces: [1.0] * len(traces)}, {"x": 1.0})
    plan = OnPolicy(Sampling(max_new_tokens=6), prompts_per_step=4)
    return Distill(policy, reward, optimizer, HFEngine(policy), on_policy=plan, teacher=lab.policy(1), steps=2), lab.Problems()


@pytest.mark.parametrize("kind", ["sft", "reward_model", "grpo", "distill"])
def test_the_adapter_learns_and_the_model_stays(lab, kind):
    stage, task = of_kind(lab, kind)
    before = {name: p.detach().clone() for name, p in stage.policy.named_parameters()}
    lab.fit(stage, task)
    moved = {name for name, p in stage.policy.named_parameters() if not torch.equal(p, before[name])}
    adapters = {name for name in before if ".lora_" in name}
    assert moved == adapters | ({"model.score.weight"} if kind == "reward_model" else set())


def test_at_the_first_step_the_reference_is_the_policy(lab):
    """Bug 27: against the bare model the KL would be far from 0 at once."""
    stage = new_grpo(lab, steps=1, minibatches=1)
    lab.fit(stage)
    assert float(stage.trainer.callback_metrics[metrics.KL]) == pytest.approx(0.0, abs=1e-7)
    assert float(stage.trainer.callback_metrics[metrics.RATIO_MAX]) == pytest.approx(1.0, abs=1e-4)


def test_resuming_with_an_adapter_gives_the_same_weights_bitwise(lab, tmp_path):
    """Bug 28, and 27 once more: after resuming, the adapter is the saved one, the reference that of the last refresh."""

    def trainer(**options) -> Trainer:
        return Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, **options
        )

    straight, resumed = (new_grpo(lab, steps=4, reference_refresh=3) for _ in range(2))
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(callbacks=[keep]).fit(straight, straight.loader(lab.Problems()))
    trainer(enable_checkpointing=False).fit(resumed, resumed.loader(lab.Problems()), ckpt_path=tmp_path / "step=4.ckpt")
    assert torch.equal(lab.weights(straight), lab.weights(resumed))
    frozen = [torch.cat([p.flatten() for p in stage.reference.frozen.parameters()]) for stage in (straight, resumed)]
    assert torch.equal(*frozen)
    shared = {id(p) for p in resumed.policy.parameters()} & {id(p) for p in resumed.reference.parameters()}
    assert len(shared) == sum(not p.requires_grad for p in resumed.policy.parameters())  # still shared after loading
