"""Samplers that are not quite the trainer: one step behind, or off by a constant."""

from __future__ import annotations

import time
from itertools import chain
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from r1_kernels import Objective
from torch.utils.data import DataLoader

from r1 import metrics
from r1.rollout.hf import HFEngine


class Separate(HFEngine):
    """An engine with weights of its own, as a server has: a copy that only `sync` renews. It takes its time."""

    separate = True

    def sync(self, policy, version: int) -> None:
        import copy

        super().sync(copy.deepcopy(policy), version)

    def generate(self, *arguments):
        time.sleep(0.05)
        return super().generate(*arguments)


class Low(HFEngine):
    """Log-probabilities half a nat too low: the trainer finds its samples exp(0.5) = 1.65 times as likely."""

    def generate(self, *arguments):
        rows = super().generate(*arguments)
        for completion in chain(*rows):
            completion.logps[:] = [logp - 0.5 for logp in completion.logps]
        return rows


def figure(stage, name: str) -> float:
    return float(stage.trainer.callback_metrics[name])


def drawn(stage) -> list[tuple[list[int], int]]:
    return [(t.token_ids, t.weight_version) for g in stage.last_groups for t in g.traces]


@pytest.fixture
def options() -> dict:
    return dict(rollout_ahead=True, old_logp="policy", objective=Objective(tis_cap=2.0), minibatches=2, steps=4)


def test_completions_are_one_step_old_and_say_so(lab, options) -> None:
    stage = lab.grpo(engine=HFEngine, **options)
    seen = []
    stage.report = lambda groups, *rest, report=stage.report: (
        seen.append((groups[0].traces[0].weight_version, stage.updates)), report(groups, *rest))  # fmt: skip
    lab.fit(stage)
    # (weights that sampled, updates done after the step): two updates a step, and the first step has nothing to look back to
    assert seen == [(0, 2), (0, 4), (2, 6), (4, 8)]
    assert figure(stage, metrics.STALENESS) == 2.0
    assert figure(stage, metrics.SAMPLER_DIFFERENCE) > 1e-3  # the trainer has moved on
    plain = lab.grpo(engine=HFEngine, **{**options, "rollout_ahead": False})
    lab.fit(plain)
    assert figure(plain, metrics.STALENESS) == 0.0
    assert figure(plain, metrics.SAMPLER_DIFFERENCE) < 1e-5


def test_sampling_beside_the_update_draws_the_same(lab, options) -> None:
    """In one process before the update, or in a thread during it: the weights are those from before, and so are the draws."""
    alone, beside = lab.grpo(engine=HFEngine, **options), lab.grpo(engine=Separate, **options)
    lab.fit(alone), lab.fit(beside)
    assert drawn(alone) == drawn(beside)
    assert torch.equal(lab.weights(alone), lab.weights(beside))


def test_a_sampler_that_fails_beside_the_update_fails_the_step(lab, options) -> None:
    class Breaks(Separate):
        def generate(self, *arguments):
            if self.weight_version >= 2:
                raise ConnectionError("the server is gone")
            return super().generate(*arguments)

    with pytest.raises(ConnectionError, match="the server is gone"):
        lab.fit(lab.grpo(engine=Breaks, **options))


def test_resuming_keeps_what_was_sampled_ahead(lab, options, tmp_path: Path) -> None:
    def trainer(**more) -> Trainer:
        return Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
                       default_root_dir=tmp_path, **more)  # fmt: skip

    straight, resumed = lab.grpo(engine=Separate, **options), lab.grpo(engine=Separate, **options)
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(callbacks=[keep]).fit(straight, straight.loader(lab.Problems()))
    trainer(enable_checkpointing=False).fit(resumed, resumed.loader(lab.Problems()), ckpt_path=tmp_path / "step=2.ckpt")
    assert drawn(resumed) == drawn(straight)
    assert torch.equal(lab.weights(straight), lab.weights(resumed))


@pytest.mark.parametrize(("cap", "factor"), [(1.2, 1.2), (10.0, 1.6487)])
def test_the_truncated_importance_weight_reaches_the_update(lab, cap: float, factor: float) -> None:
    """A sampler half a nat low: every token weighs min(exp(0.5), cap). The rest of the step is unchanged, so the plain gradient
    step is that many times as long."""
    steps = []
    for objective in (Objective(), Objective(tis_cap=cap)):
        stage = lab.grpo(engine=Low, old_logp="policy", objective=objective, steps=1, optimizer=lab.sgd, max_grad_norm=0.0)
        before = lab.weights(stage)
        lab.fit(stage)
        steps.append(lab.weights(stage) - before)
        assert figure(stage, metrics.SAMPLER_DIFFERENCE) == pytest.approx(0.5, abs=1e-4)
        assert figure(stage, metrics.SAMPLER_DIFFERENCE_MAX) == pytest.approx(0.5, abs=1e-4)
    assert figure(stage, metrics.RHO_MEAN) == pytest.approx(1.6487, abs=1e-3)  # before the cap
    assert figure(stage, metrics.TRUNCATED_RATIO) == (1.0 if cap < 1.6 else 0.0)
    assert torch.allclose(steps[1], factor * steps[0], rtol=1e-3, atol=1e-6)


def test_the_next_problems_must_be_known(lab, options) -> None:
    stage = lab.grpo(engine=HFEngine, **options)
    with pytest.raises(ValueError, match=r"loader that stage.loader\(task\) made"):
        lab.fit(stage, loader=DataLoader(lab.Problems().train, batch_size=4, collate_fn=list))
