"""GRPO as a whole: what one step does to the weights, however it is cut, resumed or disturbed."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from r1_kernels import Objective

from r1 import metrics
from r1.checkpoints import OtherRun
from r1.losses import advantages
from r1.records import Trace
from r1.rewards import Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine


def values(stage, name: str) -> float:
    return float(stage.trainer.callback_metrics[name])


@pytest.mark.parametrize("aggregation", ["grpo", "bnpo", "dapo", "dr_grpo"])
@pytest.mark.parametrize("micro_tokens", [16, 40, 90])
def test_cutting_a_step_into_micro_batches_changes_nothing(lab, aggregation, micro_tokens):
    """Bugs 15 (means of means) and 17 (one loss type forgotten): ragged lengths, accumulation over 1 to 16 micro-batches."""
    whole, cut = (lab.grpo(aggregation=aggregation, micro_tokens=m, steps=1, optimizer=lab.sgd) for m in (10_000, micro_tokens))
    lab.fit(whole), lab.fit(cut)
    assert values(cut, metrics.LOSS) == pytest.approx(values(whole, metrics.LOSS), abs=1e-6)
    assert values(cut, metrics.GRAD_NORM) == pytest.approx(values(whole, metrics.GRAD_NORM), rel=1e-5)
    assert torch.allclose(lab.weights(cut), lab.weights(whole), atol=1e-6)


def test_the_level_of_fusion_changes_no_weight(lab):
    stages = [lab.grpo(objective=Objective(kl="k3", beta=0.1, fusion=level), steps=2) for level in ("linear", "logits", "token")]
    for stage in stages:
        lab.fit(stage)
    for other in stages[1:]:
        assert torch.allclose(lab.weights(other), lab.weights(stages[0]), atol=1e-6)


def test_groups_without_signal_change_nothing_but_the_cost(lab):
    """Leaving rows with advantage 0 out of the forward pass gives the gradient of the full batch."""

    def flat_for_some(traces):
        return [0.0 if t.problem.id in ("eight/0", "eight/1", "eight/2") else float(len(t.token_ids)) for t in traces]

    results = []
    for entropy_coef in (0.0, 1e-12):  # the second makes every row count, at a price that cannot be seen
        stage = lab.grpo(reward=Reward({"x": flat_for_some}, {"x": 1.0}), objective=Objective(entropy_coef=entropy_coef), steps=1,
                         prompts_per_step=8, optimizer=lab.sgd)  # fmt: skip
        lab.fit(stage)
        results.append(lab.weights(stage))
    assert torch.allclose(results[0], results[1], atol=1e-6)


def test_truncated_completions_leave_numerator_and_denominator(lab):
    """Bug 8: with masking, the loss is that of the batch without them. Bug 9: lengths are still those of all completions."""
    stage = lab.grpo(mask_truncated=True, aggregation="dapo", steps=1)
    seen = []
    stage.update = lambda minibatches: seen.extend(minibatches) or (None, {})  # look, do not touch
    lab.fit(stage)
    traces = [t for g in stage.last_groups for t in g.traces]
    assert any(t.truncated for t in traces)
    assert any(not t.truncated for t in traces)
    kept = [t for t in traces if not t.truncated]
    tokens = sum(len(t.token_ids) for t in kept)
    weight = torch.cat([b.weight.flatten() for minibatch in seen for b in minibatch])
    assert weight[weight > 0].unique().tolist() == pytest.approx([1 / tokens])
    learned = sum(len(t.token_ids) for t in kept if t.advantage)
    assert float(weight.sum()) == pytest.approx(learned / tokens)
    assert values(stage, metrics.MEAN_LENGTH) == pytest.approx(sum(len(t.token_ids) for t in traces) / len(traces))


def test_the_first_ratio_is_one(lab):
    """Bugs 19 (dropout) and 21 (temperature): before any update, policy and old policy are the same."""
    for old_logp, temperature in (("sampler", 1.0), ("policy", 1.0), ("policy", 0.6), ("sampler", 0.6)):
        policy = lab.policy()
        policy.model.config.attention_dropout = 0.5
        for module in policy.model.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.5
        stage = lab.grpo(policy, old_logp=old_logp, steps=1, objective=Objective(temperature=temperature, kl="k3", beta=0.1),
                         sampling=Sampling(temperature=temperature, max_new_tokens=6))  # fmt: skip
        lab.fit(stage)
        assert values(stage, metrics.RATIO_MEAN) == pytest.approx(1.0, abs=1e-5)
        assert values(stage, metrics.RATIO_MAX) == pytest.approx(1.0, abs=1e-5)
        assert values(stage, metrics.KL) == pytest.approx(0.0, abs=1e-7)


def test_the_model_is_left_in_the_mode_it_was_in(lab):
    """Bug 20: after sampling, gradient checkpointing (which works in training mode only) must still work."""
    stage = lab.grpo(engine=HFEngine, steps=1)
    lab.fit(stage)
    assert stage.policy.model.training


@pytest.mark.parametrize("old_logp", ["sampler", "policy"])
def test_a_token_that_is_rewarded_becomes_likely(lab, old_logp):
    """Bug 24: sampling from stale weights, or an update that never reaches the sampler, would leave the share where it was."""

    def good(traces: list[Trace]) -> list[float | None]:
        return [t.text.split().count("good") / max(1, len(t.text.split())) for t in traces]

    stage = lab.grpo(engine=HFEngine, reward=Reward({"good": good}, {"good": 1.0}), steps=12, prompts_per_step=8, group_size=8,
                     minibatches=2, old_logp=old_logp)  # fmt: skip
    first = []
    stage.report = lambda groups, *rest, report=stage.report: (first.append(groups), report(groups, *rest))
    lab.fit(stage)
    share = [sum(good([t for g in groups for t in g.traces])) / 64 for groups in (first[0], first[-1])]
    assert share[0] < 0.2
    assert share[1] > 0.6
    assert stage.engine.weight_version == 22  # 12 steps of 2 updates: the last rollout saw the first 22
    assert {t.weight_version for t in first[-1][0].traces} == {22}


def test_the_reference_is_not_trained_and_is_renewed_on_time(lab):
    """Bug 26."""
    stage = lab.grpo(objective=Objective(kl="k3", beta=0.01), steps=3, minibatches=2, reference_refresh=4)
    start = torch.cat([p.flatten().clone() for p in stage.reference.frozen.parameters()])
    copies = []
    after = stage.reference.after_update
    stage.reference.after_update = lambda policy: copies.append(after(policy)) or copies[-1]
    lab.fit(stage)
    assert copies == [False, False, False, True, False, False]  # six updates, renewed after the fourth
    optimised = {id(p) for group in stage.optimizers().param_groups for p in group["params"]}
    assert optimised.isdisjoint(id(p) for p in stage.reference.parameters())
    now = torch.cat([p.flatten() for p in stage.reference.frozen.parameters()])
    assert not torch.equal(now, start)
    assert not torch.equal(now, lab.weights(stage))


def test_an_unjudged_completion_does_not_spoil_its_siblings(lab):
    """Bug 39: NaN from a judge that is down."""

    def sometimes_down(traces):
        return [math.nan if i == 0 else float(len(t.token_ids)) for i, t in enumerate(traces)]

    stage = lab.grpo(reward=Reward({"judge": sometimes_down}, {"judge": 1.0}), steps=1)
    before = lab.weights(stage)
    lab.fit(stage)
    assert values(stage, metrics.MASKED) > 0
    assert torch.isfinite(lab.weights(stage)).all()
    assert not torch.equal(before, lab.weights(stage))


def test_no_signal_means_no_update_and_no_momentum(lab):
    stage = lab.grpo(reward=Reward({"x": lambda traces: [1.0] * len(traces)}, {"x": 1.0}))
    before = lab.weights(stage)
    lab.fit(stage)
    assert torch.equal(before, lab.weights(stage))
    assert values(stage, metrics.ZERO_STD) == 1.0


def test_a_non_finite_gradient_is_skipped_counted_and_ends_the_run(lab):
    stage = lab.grpo(steps=8, stop_after=3)
    before = lab.weights(stage)
    stage.loss = lambda batch, loss=stage.loss: (loss(batch)[0] * math.nan, loss(batch)[1])
    with pytest.raises(FloatingPointError, match="3 updates in a row"):
        lab.fit(stage)
    assert torch.equal(before, lab.weights(stage))


def test_steps_that_nobody_can_judge_change_nothing_and_end_the_run(lab):
    """NaN from every sample: weights bitwise as before, counted; the third step in a row says which part was silent."""
    down = Reward({"judge": lambda traces: [math.nan] * len(traces)}, {"judge": 1.0})
    stage = lab.grpo(reward=down, steps=8, stop_after=3)
    before = lab.weights(stage)
    with pytest.raises(
        RuntimeError, match=r"no completion could be judged in 3 steps in a row: reward part judge gave no verdict"
    ):
        lab.fit(stage)
    assert torch.equal(before, lab.weights(stage))
    assert values(stage, metrics.MASKED) == 1.0
    assert stage.rollout_step == 2


def test_a_reward_that_draws_from_the_global_generators_draws_by_step(lab):
    """Python's, NumPy's and torch's: as after a resume, the draws of a step do not depend on what was drawn before it."""
    import random

    import numpy

    def draws(noise: int) -> list[tuple[float, ...]]:
        seen = []

        def part(traces):
            seen.append((random.random(), float(numpy.random.rand()), float(torch.rand(()))))
            for _ in range(noise):
                random.random(), numpy.random.rand(), torch.rand(3)
            return [0.0] * len(traces)

        lab.fit(lab.grpo(reward=Reward({"x": part}, {"x": 1.0}), steps=3))
        return seen

    assert draws(0) == draws(5)
    assert len(set(draws(0))) == 3


def test_a_checkpoint_of_another_tokenizer_is_refused_by_name(lab):
    stage, other = lab.grpo(), lab.grpo()
    for each in (stage, other):
        lab.fit(each)
    saved = {"optimizer_states": []}
    stage.on_save_checkpoint(saved)
    other.on_load_checkpoint(saved)  # the same: taken
    other.policy.tokenizer.add_tokens(["fresh"])
    with pytest.raises(OtherRun, match=r"tokenizer: '\w+' in the checkpoint, '\w+' now"):
        other.on_load_checkpoint(saved)
    saved["r1"]["identity"]["stage_class"] = "SFT"
    with pytest.raises(OtherRun, match="stage_class: 'SFT' in the checkpoint, 'GRPO' now"):
        other.on_load_checkpoint(saved)


def test_dynamic_sampling_replaces_groups_that_say_nothing(lab):
    def only_odd_speak(traces):
        return [float(len(t.token_ids)) if int(t.problem.id[-1]) % 2 else 0.0 for t in traces]

    plain, filled = (
        lab.grpo(reward=Reward({"x": only_odd_speak}, {"x": 1.0}), dynamic_sampling=rounds, steps=1) for rounds in (0, 1)
    )
    lab.fit(plain), lab.fit(filled)
    assert len(filled.last_groups) == len(plain.last_groups) == 4
    assert values(filled, metrics.ZERO_STD) < values(plain, metrics.ZERO_STD)


def test_kl_in_the_reward_is_a_part_of_the_score(lab):
    stage = lab.grpo(kl_in_reward=0.5, steps=2)
    lab.fit(stage)
    for trace in (t for g in stage.last_groups for t in g.traces):
        own = sum(w * trace.score.parts[name] for name, w in trace.score.weights.items())
        assert trace.score.weights["kl"] == -0.5
        assert trace.score.total == pytest.approx(own)
    assert values(stage, metrics.part_mean("kl")) != 0.0  # after one update policy and reference differ


def test_resuming_gives_the_same_weights_bitwise(lab, tmp_path):
    def trainer(**options) -> Trainer:
        return Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
                       default_root_dir=tmp_path, **options)  # fmt: skip

    options = dict(engine=HFEngine, objective=Objective(kl="k3", beta=0.01), minibatches=2, reference_refresh=3, steps=5)
    straight = lab.grpo(**options)
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    trainer(callbacks=[keep]).fit(straight, straight.loader(lab.Problems()))
    resumed = lab.grpo(**options)
    trainer(enable_checkpointing=False).fit(resumed, resumed.loader(lab.Problems()), ckpt_path=tmp_path / "step=4.ckpt")
    assert resumed.rollout_step == straight.rollout_step == 5
    assert torch.equal(lab.weights(straight), lab.weights(resumed))
    assert [t.token_ids for g in resumed.last_groups for t in g.traces] == [
        t.token_ids for g in straight.last_groups for t in g.traces
    ]


@pytest.mark.parametrize("ratio", ["token", "sequence_mean"])
def test_packing_changes_nothing_but_the_cost(lab, ratio):
    objective = Objective(ratio=ratio, kl="k3", beta=0.1)
    options = dict(objective=objective, steps=2, optimizer=lab.sgd, micro_tokens=60, old_logp="policy")
    padded, packed = lab.grpo(**options), lab.grpo(**options, packing=True)
    lab.fit(padded), lab.fit(packed)
    for name in (metrics.LOSS, metrics.GRAD_NORM, metrics.KL, metrics.ENTROPY):
        assert values(packed, name) == pytest.approx(values(padded, name), abs=1e-5)
    assert torch.allclose(lab.weights(packed), lab.weights(padded), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(group_size=1), "at least 2"),
        (dict(minibatches=5), "5 minibatches need at least as many groups"),
        (dict(sampling=Sampling(temperature=0.0)), "temperature > 0"),
        (dict(sampling=Sampling(temperature=0.6)), "must be the sampling temperature"),
        (dict(sampling=Sampling(top_p=0.9)), "old_logp=policy"),
        (dict(steps=0), "at least one step"),
    ],
)
def test_impossible_settings_are_refused_with_the_way_out(lab, changes, message):
    """Bugs 12 (a group of one) and 23 (top-p in rollouts only) among them."""
    with pytest.raises(ValueError, match=message):
        lab.grpo(**changes)


def test_normalisation_is_an_axis_of_its_own(lab):
    """Bug 13: advantages are normalised once; with `none` they are plain differences."""
    stage = lab.grpo(advantage=partial(advantages, normalise="none"), steps=1)
    lab.fit(stage)
    group = stage.last_groups[0]
    totals = [t.score.total for t in group.traces]
    assert [t.advantage for t in group.traces] == pytest.approx([r - sum(totals) / len(totals) for r in totals])
    assert replace(group.traces[0], advantage=None).score == group.traces[0].score
