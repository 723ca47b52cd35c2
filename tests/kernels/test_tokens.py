"""Level (a): the maths of one token against worked numbers, finite differences, the dense oracle and TRL."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from r1_kernels import Objective, token_loss
from r1_kernels.dense import dense_token_loss
from r1_kernels.tokens import k3

SURROGATES = [
    {},
    {"clip_low": 0.2, "clip_high": 0.28},
    {"clip_low": 1.0, "clip_high": math.inf},
    {"dual_clip": 1.5, "clip_high": 2.0},
    {"dual_clip": 3.0},
    {"ratio": "sequence_mean"},
    {"ratio": "sequence_sum", "clip_high": 0.5},
    {"ratio": "sequence_mean", "dual_clip": 1.3},
    {"surrogate": "cispo", "clip_high": 0.3},
    {"surrogate": "cispo", "clip_high": 0.3, "clip_low": 0.1},
    {"surrogate": "reinforce"},
    {"surrogate": "sapo"},
    {"surrogate": "sapo", "sapo_tau": (0.5, 2.0)},
]
KLS = [{}, {"kl": "k1", "beta": 0.1}, {"kl": "k2", "beta": 0.1}, {"kl": "k3", "beta": 0.1}]
EXTRAS = [{}, {"tis_cap": 1.1}, {"importance_corrected_kl": True}, {"importance_corrected_kl": True, "tis_cap": 1.1}]
COMBINATIONS = [
    s | k | e for s, k, e in itertools.product(SURROGATES, KLS, EXTRAS) if k or not e.get("importance_corrected_kl")
]  # fmt: skip


def batch(seed: int = 0, B: int = 3, T: int = 5, dtype=torch.float64) -> dict:
    """Ratios on both sides of every bound, both signs of advantage, ragged rows."""
    g = torch.Generator().manual_seed(seed)
    logp = -torch.rand(B, T, generator=g, dtype=dtype) * 3
    noise = lambda scale: logp + scale * torch.randn(B, T, generator=g, dtype=dtype)  # noqa: E731
    lengths = torch.randint(1, T + 1, (B, 1), generator=g)
    mask = (torch.arange(T) < lengths).to(dtype)
    return {
        "logp": logp,
        "old_logp": noise(0.4),
        "ref_logp": noise(0.5),
        "sampler_logp": noise(0.2),
        "advantage": torch.randn(B, generator=g, dtype=dtype),
        "weight": mask * torch.rand(B, T, generator=g, dtype=dtype).add(0.1),
    }


def ours(objective: Objective, logp, old_logp, ref_logp, advantage, weight, sampler_logp):
    return token_loss(logp, old_logp, ref_logp, advantage, weight, objective=objective, sampler_logp=sampler_logp)


def test_two_rows_of_three_tokens_worked_by_hand():
    """r = [[1, 1.5, 0.5], [1.5, 0.5, -]], A = [1, -2], clip to [0.8, 1.2], w = 1/6 for the five learned tokens.

    -min(r A, clip(r) A): row 0: -1, -1.2 (cut), -0.5; row 1: -min(-3, -2.4) = 3, -min(-1, -1.6) = 1.6 (cut).
    Sum = -2.7 + 4.6 = 1.9, times 1/6. Gradients -r A w where not cut: [-1, 0, -0.5], [3, 0, 0] / 6.
    """
    logp = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    old = logp.detach() - torch.tensor([[1.0, 1.5, 0.5], [1.5, 0.5, 1.0]], dtype=torch.float64).log()
    weight = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64) / 6
    loss, stats = token_loss(logp, old, None, torch.tensor([1.0, -2.0]), weight, objective=Objective())
    loss.backward()
    assert loss.item() == pytest.approx(1.9 / 6, abs=1e-12)
    assert torch.allclose(logp.grad * 6, torch.tensor([[-1.0, 0.0, -0.5], [3.0, 0.0, 0.0]], dtype=torch.float64), atol=1e-12)
    seen = stats.as_dict()
    assert seen["n_tokens"] == 5
    assert (seen["clip_high"], seen["clip_low"], seen["clip_region"], seen["zero_grad"]) == (0.2, 0.2, 0.4, 0.4)
    assert (seen["ratio_min"], seen["ratio_max"], seen["ratio_mean"]) == pytest.approx((0.5, 1.5, 1.0))


@pytest.mark.parametrize("switches", COMBINATIONS, ids=str)
def test_every_combination_equals_the_dense_oracle_and_finite_differences(switches):
    """Value and gradient against autograd through the papers' formulas, and against central differences of our own loss.

    Surrogates with a detached factor (cispo, tis) have no difference quotient; the oracle covers them.
    """
    objective, data = Objective(**switches), batch(seed=len(switches))
    logp = data.pop("logp").requires_grad_()
    loss, _ = ours(objective, logp, **data)
    (grad,) = torch.autograd.grad(loss, logp)
    truth = dense_token_loss(
        logp, data["old_logp"], data["ref_logp"], data["advantage"], data["weight"], objective, data["sampler_logp"]
    )
    (expected,) = torch.autograd.grad(truth, logp)
    assert loss.item() == pytest.approx(truth.item(), rel=1e-12, abs=1e-13)
    assert torch.allclose(grad, expected, rtol=1e-10, atol=1e-13)
    if objective.surrogate == "cispo":
        return
    eps = 1e-6
    for direction in torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
        up, down = (ours(objective, logp.detach() + sign * eps * direction, **data)[0] for sign in (1, -1))
        assert ((up - down) / (2 * eps)).item() == pytest.approx((grad * direction).sum().item(), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_at_the_edge_of_the_clip_the_gradient_flows_and_beyond_it_does_not(sign):
    """r is hi (for A > 0) or lo (for A < 0) exactly, one float inside, one float outside; the metric counts only outside."""
    objective = Objective(clip_low=0.5, clip_high=1.0)  # bounds 0.5 and 2: exact in binary, and exp(log 2) = 2
    edge = math.log(2.0 if sign > 0 else 0.5)
    d = torch.tensor([[edge, math.nextafter(edge, 0), math.nextafter(edge, sign * 9)]], dtype=torch.float64)
    d[0, 2] += sign * 1e-15  # far enough that exp moves
    assert d.exp()[0, 0] == (2.0 if sign > 0 else 0.5)
    logp = torch.zeros_like(d).requires_grad_()
    loss, stats = token_loss(logp, -d, None, torch.tensor([sign]), torch.ones_like(d), objective=objective)
    loss.backward()
    assert logp.grad[0, :2] == pytest.approx(-d.exp()[0, :2] * sign)
    assert logp.grad[0, 2] == 0
    assert stats.as_dict()["clip_region"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("log_ratio", [40.0, 60.0, 88.0, 89.0, 100.0, 1e4, -60.0, -1e4])
@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("switches", [{}, {"dual_clip": 3.0}, {"surrogate": "cispo", "clip_high": 4.0}, {"surrogate": "sapo"},
                                      {"ratio": "sequence_sum"}, {"kl": "k3", "beta": 0.1, "importance_corrected_kl": True}], ids=str)  # fmt: skip
def test_bug_40_a_huge_ratio_keeps_loss_and_gradient_finite(log_ratio, advantage, switches):
    """bug 40: 0 * inf = NaN in the backward although the loss is finite."""
    logp = torch.full((1, 2), -1.0, requires_grad=True)
    old, ref = logp.detach() - log_ratio, logp.detach() + 0.1
    ref[0, 1] = -1.0 + log_ratio
    loss, _ = token_loss(logp, old, ref, torch.tensor([advantage]), torch.ones(1, 2), objective=Objective(**switches))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logp.grad).all()
    if not switches and (advantage == 0 or (advantage > 0) == (log_ratio > 0)):  # nothing to learn, or cut: exactly nothing
        assert (logp.grad == 0).all()


def test_bugs_2_4_40_what_a_masked_token_holds_is_never_read():
    """bugs 2, 4, 40: garbage behind the mask (here NaN, inf and a log-ratio of 200) changes not one bit."""
    for switches in ({"kl": "k3", "beta": 0.1, "tis_cap": 2.0}, {"ratio": "sequence_mean", "kl": "k2", "beta": 0.1}):
        objective, data = Objective(**switches), batch(dtype=torch.float32)
        if not objective.tis_cap:
            data["sampler_logp"] = None
        masked = data["weight"] == 0
        assert masked.any()
        results = []
        for garbage in (0.0, math.nan, math.inf, -math.inf, 200.0):
            dirty = {
                k: v.masked_fill(masked, garbage) if k != "weight" and v is not None and v.dim() == 2 else v
                for k, v in data.items()
            }
            logp = dirty.pop("logp").requires_grad_()
            loss, stats = ours(objective, logp, **dirty)
            loss.backward()
            assert (logp.grad[masked] == 0).all()
            results.append((loss.detach(), logp.grad, stats.as_dict()))
        for loss, grad, seen in results[1:]:
            assert torch.equal(loss, results[0][0])
            assert torch.equal(grad, results[0][1])
            assert seen == results[0][2]


def test_an_impossible_token_is_left_out_and_counted_but_nan_goes_through():
    data = batch(dtype=torch.float32)
    data["weight"] = torch.ones(3, 5)
    data["old_logp"][0, 0] = -math.inf
    data["logp"][1, 1] = -math.inf
    logp = data.pop("logp").requires_grad_()
    loss, stats = ours(Objective(kl="k3", beta=0.1), logp, **data)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logp.grad).all()
    assert logp.grad[0, 0] == logp.grad[1, 1] == 0
    assert (stats.as_dict()["nonfinite"], stats.as_dict()["n_tokens"]) == (2, 13)
    data["old_logp"][2, 2] = math.nan
    loss, stats = ours(Objective(), logp, **data)
    assert torch.isnan(loss)
    assert stats.as_dict()["nonfinite"] == 3


@pytest.mark.parametrize("switches", [{}, {"ratio": "sequence_mean"}, {"kl": "k3", "beta": 0.1}, {"surrogate": "sapo"}], ids=str)
def test_nothing_learned_gives_exactly_zero_and_finite_figures(switches):
    for B, T in ((2, 3), (0, 3), (2, 0), (0, 0)):
        logp = torch.full((B, T), math.nan, requires_grad=True)
        zero = torch.zeros(B, T)
        loss, stats = token_loss(logp, zero, zero, torch.ones(B), zero, objective=Objective(**switches))
        loss.backward()
        assert loss == 0
        assert (logp.grad == 0).all()
        assert all(v == 0 for v in stats.as_dict().values())


def test_on_policy_is_ratio_one_exactly_and_equals_old_given():
    """On the first update `old_logp=None` is the same as old = logp, bit by bit; ratio mean, min and max are 1."""
    for switches in (*SURROGATES, {"kl": "k3", "beta": 0.1, "importance_corrected_kl": True}):
        data = batch(dtype=torch.float32)
        data["sampler_logp"] = None
        outcomes = []
        for old in (None, data["logp"]):
            logp = data["logp"].clone().requires_grad_()
            loss, stats = token_loss(
                logp, old, data["ref_logp"], data["advantage"], data["weight"], objective=Objective(**switches)
            )
            loss.backward()
            outcomes.append((loss.detach(), logp.grad, stats.as_dict()))
        assert torch.equal(outcomes[0][0], outcomes[1][0])
        assert torch.equal(outcomes[0][1], outcomes[1][1])
        assert outcomes[0][2] == outcomes[1][2]
        assert {outcomes[0][2][f"ratio_{k}"] for k in ("mean", "min", "max")} == {1.0}


def test_zero_advantage_leaves_only_the_kl_term():
    """A = 0: the gradient is beta dK/dl w exactly, and without KL exactly 0."""
    data = batch()
    data["advantage"] = torch.zeros(3, dtype=torch.float64)
    logp = data.pop("logp").requires_grad_()
    ours(Objective(kl="k3", beta=0.5), logp, **data)[0].backward()
    assert torch.allclose(logp.grad, data["weight"] * 0.5 * (1 - (data["ref_logp"] - logp).exp()).detach(), atol=1e-15)
    (grad,) = torch.autograd.grad(ours(Objective(), logp, **data)[0], logp)
    assert (grad == 0).all()


@pytest.mark.parametrize("x", [0.0, 1e-8, -1e-8, 1e-4, -1e-4, 0.1249, -0.1249, 0.1251, 1.0, -5.0, 40.0])
def test_k3_is_precise_near_zero_and_never_negative(x):
    """In fp32 the textbook form e^x - 1 - x is off by 100 % at 1e-4; ours by less than 1e-5 everywhere."""
    exact = sum(x**k / math.factorial(k) for k in range(2, 20)) if abs(x) < 1 else math.expm1(x) - x
    got = k3(torch.tensor(x, dtype=torch.float32)).item()
    assert got >= 0
    assert got == pytest.approx(exact, rel=1e-5, abs=0)


def test_bug_41_which_gradient_the_kl_estimates_have():
    """bug 41: over all V = 4 outcomes, E[dk2/dl * dl/dz] is the gradient of the exact reverse KL; k3's is the gradient of
    the forward KL(ref || policy), and k1's is zero. All three means are documented choices, so all three are pinned here."""
    g = torch.Generator().manual_seed(3)
    z, q = (
        torch.randn(4, generator=g, dtype=torch.float64).requires_grad_(),
        torch.randn(4, generator=g, dtype=torch.float64).log_softmax(0),
    )
    log_p = z.log_softmax(0)
    p = log_p.detach().exp()
    reverse = torch.autograd.grad((log_p.exp() * (log_p - q)).sum(), z, retain_graph=True)[0]
    forward = torch.autograd.grad((q.exp() * (q - log_p)).sum(), z, retain_graph=True)[0]
    for kl, expected in (("k1", torch.zeros_like(z)), ("k2", reverse), ("k3", forward)):
        zero, objective = torch.zeros(1, 4, dtype=torch.float64), Objective(kl=kl, beta=1.0)
        loss, _ = token_loss(log_p[None], None, q[None], zero[:, 0], p[None], objective=objective)
        assert torch.allclose(torch.autograd.grad(loss, z, retain_graph=True)[0], expected, atol=1e-12), kl


def test_sequence_ratio_of_unequal_lengths_moves_every_token_of_its_row_alike():
    """d = [0.1, 0.2, 0.3] -> mean 0.2, and a row of one token; A = 1, w = 1/n_i: every token gets -r / n_i."""
    d = torch.tensor([[0.1, 0.2, 0.3], [-0.1, 9.0, 9.0]], dtype=torch.float64)
    weight = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]], dtype=torch.float64)
    logp = torch.zeros_like(d).requires_grad_()
    objective = Objective(ratio="sequence_mean", clip_high=0.5)
    loss, stats = token_loss(logp, -d, None, torch.tensor([1.0, 1.0]), weight, objective=objective)
    loss.backward()
    assert loss.item() == pytest.approx(-math.exp(0.2) - math.exp(-0.1))
    expected = [[-math.exp(0.2) / 3] * 3, [-math.exp(-0.1), 0, 0]]
    assert torch.allclose(logp.grad, torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    assert stats.as_dict()["ratio_max"] == pytest.approx(math.exp(0.2))


def test_upstream_gradient_scales_and_only_logp_has_one():
    data = batch()
    for name in ("logp", "old_logp", "ref_logp", "sampler_logp"):
        data[name].requires_grad_()
    logp = data.pop("logp")
    loss, _ = ours(Objective(kl="k3", beta=0.1, tis_cap=1.1), logp, **data)
    once = torch.autograd.grad(loss, logp, retain_graph=True)[0]
    (loss * -3).backward()
    assert torch.equal(logp.grad, once * -3)
    assert all(data[n].grad is None for n in ("old_logp", "ref_logp", "sampler_logp"))


def test_statistics_of_uneven_micro_batches_add_to_those_of_the_whole():
    """bug 44: means of means weigh a short micro-batch like a long one; sums do not."""
    data, objective = batch(B=5, T=7), Objective(kl="k3", beta=0.1, tis_cap=1.1)
    whole = ours(objective, **data)[1].as_dict()
    parts = [ours(objective, **{k: v[s] for k, v in data.items()})[1] for s in (slice(0, 1), slice(1, 5))]
    merged = (parts[0] + parts[1]).as_dict()
    assert merged == pytest.approx(whole)
    assert set(merged) == set(whole)


def test_statistics_are_what_naive_torch_says():
    data, objective = batch(B=4, T=6), Objective(kl="k3", beta=0.1, tis_cap=1.1)
    seen = ours(objective, **data)[1].as_dict()
    m = data["weight"] != 0
    r, x = (data["logp"] - data["old_logp"]).exp()[m], (data["ref_logp"] - data["logp"])[m]
    rho, A = (data["old_logp"] - data["sampler_logp"]).exp()[m], data["advantage"][:, None].expand(4, 6)[m]
    expected = {
        "n_tokens": m.sum(), "nonfinite": 0, "logp": data["logp"][m].mean(), "zero_grad": 0, "ratio_mean": r.mean(), "ratio_min": r.min(),
        "ratio_max": r.max(), "log_ratio_abs": r.log().abs().mean(), "old_kl": (r - 1 - r.log()).mean(),
        "clip_low": ((r < 0.8) & (A < 0)).double().mean(), "clip_high": ((r > 1.2) & (A > 0)).double().mean(),
        "clip_region": (((r < 0.8) & (A < 0)) | ((r > 1.2) & (A > 0))).double().mean(), "kl_k1": -x.mean(), "kl_k3": (x.exp() - 1 - x).mean(),
        "rho_mean": rho.mean(), "rho_min": rho.min(), "rho_max": rho.max(), "truncated": (rho > 1.1).double().mean(),
    }  # fmt: skip
    assert seen["clip_low"] > 0
    assert seen["clip_high"] > 0
    assert seen["truncated"] > 0
    assert seen == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"old_logp": torch.zeros(3, 4)}, r"old_logp must be \[B, T\] = \[3, 5\], got \[3, 4\]"),
        ({"advantage": torch.zeros(5)}, r"advantage must be \[B\] = \[3\] or \[B, T\] = \[3, 5\], got \[5\]"),
        ({"ref_logp": None, "objective": Objective(kl="k3", beta=0.1)}, "needs ref_logp"),
        ({"sampler_logp": None, "objective": Objective(tis_cap=2.0)}, "needs sampler_logp"),
        ({"objective": Objective(entropy_coef=0.1)}, "needs the logits"),
    ],
)
def test_wrong_inputs_are_refused_by_name(change, reason):
    with pytest.raises(ValueError, match=reason):
        ours(**({"objective": Objective()} | batch() | change))


def test_strided_and_expanded_inputs_are_read_as_they_are():
    """A column of a wider table, a transposed batch and a broadcast advantage (stride 0) give what their copies give."""
    data, objective = batch(), Objective(kl="k3", beta=0.1)
    plain = ours(objective, **data)[0]
    wide = {k: torch.stack([v, torch.full_like(v, 7.0)], -1)[..., 0] if v.dim() == 2 else v for k, v in data.items()}
    assert not wide["logp"].is_contiguous()
    turned = {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in data.items()}
    broad = data | {"advantage": data["advantage"][:, None].expand(3, 5)}
    for other in (wide, turned, broad):
        assert ours(objective, **other)[0].item() == pytest.approx(plain.item(), rel=1e-14)


TRL_CASES = [
    ("grpo", "token", {}, {}),
    ("grpo", "sequence", {"ratio": "sequence_mean"}, {}),
    ("grpo", "token", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.4}, {"delta": 1.4}),
    ("bnpo", "token", {}, {}),
    ("dr_grpo", "token", {}, {}),
    ("dapo", "token", {}, {}),
    ("cispo", "token", {"surrogate": "cispo", "clip_high": 0.3}, {}),
    ("sapo", "token", {"surrogate": "sapo"}, {}),
    ("luspo", "token", {}, {}),
]


@pytest.mark.parametrize("tis", [False, True], ids=["", "tis"])
@pytest.mark.parametrize(
    "kl", [{}, {"kl": "k3", "beta": 0.1}, {"kl": "k3", "beta": 0.1, "importance_corrected_kl": True}], ids=str
)
@pytest.mark.parametrize(("loss_type", "level", "switches", "arguments"), TRL_CASES, ids=str)
def test_equal_to_trl_for_the_same_batch(loss_type, level, switches, arguments, kl, tis):
    """TRL's own GRPOTrainer._compute_loss on the same log-probabilities: loss and gradient within 1e-5 (here 1e-12).

    Left out because they differ on purpose: a KL correction under a sequence ratio (TRL's uses the sequence ratio in the
    correction, ours the token's own), and the entropy bonus (TRL averages it over tokens whatever the loss type).
    """
    if level == "sequence" and kl.get("importance_corrected_kl"):
        pytest.skip("TRL corrects the KL by the sequence ratio here, we by the token's")
    pytest.importorskip("trl")
    from trl.trainer.grpo_trainer import GRPOTrainer

    from r1.losses import Normaliser, token_weights

    data = batch(B=4, T=6)
    mask = (data["weight"] != 0).double()
    logp = data["logp"].clone().requires_grad_()
    objective = Objective(**(switches | kl | ({"tis_cap": 1.1} if tis else {})))
    lo, hi = objective.bounds
    rho = (data["old_logp"] - data["sampler_logp"]).exp().clamp(max=1.1)
    args = {"use_bias_correction_kl": objective.importance_corrected_kl, "delta": None, "steps_per_generation": 1,
            "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05}  # fmt: skip
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level=level, beta=objective.beta,
        args=SimpleNamespace(**(args | arguments)), loss_type=loss_type, epsilon_low=1 - lo, epsilon_high=hi if loss_type == "cispo" else hi - 1,
        use_vllm=tis, vllm_importance_sampling_correction=True, model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1,
        max_completion_length=9, _entropy_bonus_enabled=False, _metrics=defaultdict(lambda: defaultdict(list)),
        accelerator=SimpleNamespace(num_processes=1, reduce=lambda x, reduction: x, gather=lambda x: x),
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(4, 1), "prompt_mask": torch.ones(4, 1), "completion_ids": torch.zeros(4, 6), "completion_mask": mask,
        "advantages": data["advantage"], "old_per_token_logps": data["old_logp"], "ref_per_token_logps": data["ref_logp"],
        "importance_sampling_ratio": rho, "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    theirs = GRPOTrainer._compute_loss(trainer, None, inputs)
    (their_grad,) = torch.autograd.grad(theirs, logp)
    aggregation = {"cispo": "dapo", "sapo": "grpo", "luspo": "sequence_sum"}.get(loss_type, loss_type)
    weight = token_weights(mask, aggregation, Normaliser.of(mask), 9 if loss_type == "dr_grpo" else None)
    loss, _ = token_loss(
        logp,
        data["old_logp"],
        data["ref_logp"],
        data["advantage"],
        weight,
        objective=objective,
        sampler_logp=data["sampler_logp"],
    )
    (grad,) = torch.autograd.grad(loss, logp)
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-7)
    assert torch.allclose(grad, their_grad, atol=1e-7)


def test_bug_18_closed_form_at_ratio_one():
    """bug 18: at ratio 1 the loss is -sum w A: for grpo weights -mean A = 0 for normalised advantages, whatever the lengths;
    for a token mean it is not, and says so: lengths 1 and 3 with A = +-1 give -(1 - 3) / 4 = 0.5."""
    from r1.losses import Normaliser, token_weights

    mask = torch.tensor([[1, 0, 0], [1, 1, 1]])
    logp, A = torch.full((2, 3), -1.0), torch.tensor([1.0, -1.0])
    values = {}
    for aggregation in ("grpo", "dapo", "bnpo", "dr_grpo", "sequence_sum"):
        weight = token_weights(mask, aggregation, Normaliser.of(mask), 4 if aggregation == "dr_grpo" else None)
        values[aggregation] = token_loss(logp, None, None, A, weight, objective=Objective())[0].item()
    assert values == pytest.approx({"grpo": 0.0, "dapo": 0.5, "bnpo": 0.5, "dr_grpo": 2 / 8, "sequence_sum": 1.0}, abs=1e-7)


def test_inputs_are_left_alone():
    data = batch()
    copies = {k: v.clone() for k, v in data.items()}
    ours(Objective(kl="k3", beta=0.1, tis_cap=1.1), **data)
    assert all(torch.equal(data[k], copies[k]) for k in data)
