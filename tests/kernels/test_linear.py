"""Levels (b) and (c) against the dense oracle: same numbers, no [N, V] tensor, no work for rows that carry no gradient."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from r1_kernels import Objective, linear_logps, linear_loss, logits_loss, policy_loss, rows, token_loss
from r1_kernels.dense import dense_logps, dense_loss
from torch.utils._python_dispatch import TorchDispatchMode

OBJECTIVES = [
    {},
    {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.5, "kl": "k3", "beta": 0.1, "temperature": 0.6},
    {"surrogate": "cispo", "clip_high": 0.3, "entropy_coef": 0.05, "temperature": 1.3},
    {"surrogate": "reinforce", "kl": "k1", "beta": 0.2, "tis_cap": 1.1},
    {"surrogate": "sapo", "kl": "k2", "beta": 0.1, "importance_corrected_kl": True},
    {"ratio": "sequence_mean", "kl": "k3", "beta": 0.1, "tis_cap": 1.2},
    {"ratio": "sequence_sum", "clip_high": 0.5, "entropy_coef": 0.05},
    {"ratio": "sequence_sum"},
]


def batch(seed: int = 0, B: int = 4, T: int = 6, H: int = 5, V: int = 11, dtype=torch.float64) -> dict:
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    hidden, head, targets = normal(B, T, H), normal(V, H), torch.randint(0, V, (B, T), generator=g)
    logp, _ = dense_logps(hidden @ head.T, targets)
    mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=g)
    advantage = normal(B)
    advantage[1] = 0.0
    columns = {
        "old_logp": logp + 0.3 * normal(B, T),
        "ref_logp": logp + 0.4 * normal(B, T),
        "advantage": advantage,
        "weight": mask * (0.1 + torch.rand(B, T, generator=g, dtype=torch.float64)),
        "sampler_logp": logp + 0.2 * normal(B, T),
    }
    return {
        "hidden": hidden.to(dtype),
        "head": head.to(dtype),
        "targets": targets,
        **{k: v.to(dtype) for k, v in columns.items()},
    }


def fused(objective: Objective, data: dict, need=(True, True)):
    """(loss, d hidden, d head, Stats) of level (c)."""
    hidden, head = (data[k].clone().requires_grad_(n) for k, n in zip(("hidden", "head"), need))
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
    loss, stats = linear_loss(hidden, head, *columns, objective=objective, sampler_logp=data["sampler_logp"])
    loss.backward()
    return loss.detach(), hidden.grad, head.grad, stats


def dense(objective: Objective, data: dict):
    hidden, head = (data[k].double().requires_grad_() for k in ("hidden", "head"))
    columns = [
        None if data[k] is None else data[k].double() for k in ("old_logp", "ref_logp", "advantage", "weight", "sampler_logp")
    ]
    loss = dense_loss(hidden @ head.T, data["targets"], *columns[:4], objective=objective, sampler_logp=columns[4])
    loss.backward()
    return loss.detach(), hidden.grad, head.grad


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 3 rows for V = 11 in float64, so that every test runs over several and a ragged last one."""
    monkeypatch.setattr(rows, "BUDGET", 3 * 11 * 8)


@pytest.mark.parametrize("switches", OBJECTIVES, ids=str)
def test_chunked_equals_full(switches, small_chunks):
    """bug 50: loss and both gradients of the chunked pass are those of autograd on full logits."""
    objective, data = Objective(**switches), batch()
    loss, d_hidden, d_head, _ = fused(objective, data)
    expected = dense(objective, data)
    assert loss.item() == pytest.approx(expected[0].item(), rel=1e-12)
    assert torch.allclose(d_hidden, expected[1], atol=1e-13)
    assert torch.allclose(d_head, expected[2], atol=1e-13)


@pytest.mark.parametrize("switches", OBJECTIVES, ids=str)
def test_the_three_levels_agree(switches, small_chunks):
    """(c) = (b) = (a) on the same data: loss, gradient of the logits, statistics."""
    objective, data = Objective(**switches), batch()
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
    loss, d_hidden, _, stats = fused(objective, data)
    logits = (data["hidden"] @ data["head"].T).requires_grad_()
    b_loss, b_stats = logits_loss(logits, *columns, objective=objective, sampler_logp=data["sampler_logp"])
    b_loss.backward()
    assert b_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert torch.allclose(logits.grad @ data["head"], d_hidden, atol=1e-13)
    assert b_stats.as_dict() == pytest.approx(stats.as_dict(), rel=1e-12)
    if objective.entropy_coef:
        return
    logp, entropy = linear_logps(data["hidden"], data["head"], data["targets"], objective.temperature)
    a_loss, a_stats = token_loss(logp, *columns[1:], objective=objective, sampler_logp=data["sampler_logp"])
    assert a_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    seen, live = stats.as_dict(), data["weight"] != 0
    assert seen.pop("entropy") == pytest.approx(entropy[live].mean().item())
    assert 0 <= seen.pop("top1") <= 1
    assert seen == pytest.approx(a_stats.as_dict(), rel=1e-12)


def test_gradients_against_finite_differences():
    data, objective = batch(B=2, T=3, H=3, V=7), Objective(kl="k3", beta=0.1, entropy_coef=0.05, temperature=0.7)
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]

    def loss(hidden, head):
        return linear_loss(hidden, head, *columns, objective=objective)[0]

    _, d_hidden, d_head, _ = fused(objective, data | {"sampler_logp": None})
    for name, grad in (("hidden", d_hidden), ("head", d_head)):
        for index in torch.ones_like(grad).nonzero().tolist():
            step = torch.zeros_like(grad)
            step[tuple(index)] = 1e-6
            up, down = (loss(**({k: data[k] for k in ("hidden", "head")} | {name: data[name] + s * step})) for s in (1, -1))
            assert ((up - down) / 2e-6).item() == pytest.approx(grad[tuple(index)].item(), rel=1e-6, abs=1e-9)


def test_bug_1_the_target_of_a_row_is_scored_by_that_row():
    """bug 1: with hidden = one-hot of the position and a head that maps position t to logits favouring token t, the
    log-probability of token t at row t is high and one row off it is low."""
    T = 5
    hidden, head = torch.eye(T)[None], 9 * torch.eye(T)
    right, _ = linear_logps(hidden, head, torch.arange(T)[None])
    shifted, _ = linear_logps(hidden, head, torch.arange(T).roll(1)[None])
    # log softmax of a row [9, 0, 0, 0, 0]: -log(1 + 4 e^-9) and 9 less
    assert right[0].tolist() == pytest.approx([-math.log1p(4 * math.exp(-9))] * T, abs=1e-6)
    assert torch.allclose(shifted, right - 9)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.3])
def test_bug_21_temperature_is_in_the_log_probability(temperature):
    """bug 21: logp = log_softmax(z / T), in `linear_logps` and in the loss (ratio 1 for old = linear_logps at the same T)."""
    data = batch()
    logp, entropy = linear_logps(data["hidden"], data["head"], data["targets"], temperature)
    expected = dense_logps(data["hidden"] @ data["head"].T, data["targets"], temperature)
    assert torch.allclose(logp, expected[0], atol=1e-13)
    assert torch.allclose(entropy, expected[1], atol=1e-13)
    for switches in ({}, {"ratio": "sequence_mean"}):
        _, _, _, stats = fused(Objective(temperature=temperature, **switches), data | {"old_logp": logp})
        assert [stats.as_dict()[k] for k in ("ratio_min", "ratio_max")] == pytest.approx([1.0, 1.0], abs=1e-12)


@pytest.mark.parametrize("switches", [{}, {"ratio": "sequence_mean"}, {"entropy_coef": 0.1}], ids=str)
@pytest.mark.parametrize("level", ["linear", "logits"])
def test_bug_52_masked_rows_may_hold_anything(switches, level):
    """bug 52: NaN hidden states (or logits) and target -100 behind the mask change no bit and get a zero gradient."""
    data, objective = batch(dtype=torch.float32), Objective(**switches)
    masked = data["weight"] == 0
    outcomes = []
    for garbage, label in ((0.0, 0), (math.nan, -100), (math.inf, 10**6)):
        dirty = data | {"targets": data["targets"].masked_fill(masked, label)}
        dirty["hidden"] = data["hidden"].masked_fill(masked[..., None], garbage)
        if level == "linear":
            loss, grad, d_head, _ = fused(objective, dirty)
        else:
            logits = (data["hidden"] @ data["head"].T).masked_fill(masked[..., None], garbage).requires_grad_()
            columns = [dirty[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
            loss, _ = logits_loss(logits, *columns, objective=objective)
            loss.backward()
            grad, d_head = logits.grad, data["head"]
        assert (grad[masked] == 0).all()
        outcomes.append((loss.detach(), grad, d_head))
    for other in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcomes[0], other))


def test_a_target_outside_the_vocabulary_is_refused_where_it_is_learned():
    data = batch()
    data["targets"][0, 0] = -100
    with pytest.raises(ValueError, match=r"targets of learned tokens must be in \[0, V\) = \[0, 11\), got -100"):
        fused(Objective(), data)
    assert torch.isnan(linear_logps(data["hidden"], data["head"], data["targets"])[0][0, 0])


class Products(TorchDispatchMode):
    """Counts matrix products, and the largest tensor that any operation made."""

    def __init__(self):
        super().__init__()
        self.products, self.largest = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.products.append(tuple(out.shape))
        for t in out if isinstance(out, tuple | list) else (out,):
            if isinstance(t, torch.Tensor):
                self.largest = max(self.largest, t.numel())
        return out


def test_rows_without_gradient_cost_no_backward_product():
    """Row classes: of 4 rows x 4 tokens, row 0 has advantage 0 and row 1 is masked. Products: one for the logits of the 8
    moving rows, their d hidden [8, H] and d head; one for the logits of the 4 others; none for the masked."""
    data = batch(T=4)
    data["weight"] = torch.ones(4, 4, dtype=torch.float64)
    data["weight"][1] = 0
    data["advantage"] = torch.tensor([0.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    with Products() as seen:
        fused(Objective(), data)
    assert seen.products == [(8, 11), (8, 5), (11, 5), (4, 11)]
    with Products() as seen:  # a KL term moves row 0 as well
        fused(Objective(kl="k3", beta=0.1), data)
    assert seen.products == [(12, 11), (12, 5), (11, 5)]


@pytest.mark.parametrize("switches", [{}, {"ratio": "sequence_mean"}, {"kl": "k3", "beta": 0.1}], ids=str)
def test_a_frozen_head_or_frozen_hidden_costs_nothing(switches):
    data, objective = batch(), Objective(**switches)
    both = fused(objective, data)
    with Products() as seen:
        frozen_head = fused(objective, data, need=(True, False))
    assert frozen_head[2] is None
    assert len([shape for shape in seen.products if shape[1] == 5]) == 1  # d hidden alone
    assert torch.equal(frozen_head[1], both[1])
    frozen_hidden = fused(objective, data, need=(False, True))
    assert frozen_hidden[1] is None
    assert torch.equal(frozen_hidden[2], both[2])
    hidden, head = data["hidden"].clone().requires_grad_(), data["head"].clone().requires_grad_()
    with torch.no_grad(), Products() as seen:
        loss, _ = linear_loss(
            hidden,
            head,
            data["targets"],
            data["old_logp"],
            data["ref_logp"],
            data["advantage"],
            data["weight"],
            objective=objective,
        )
    assert torch.equal(loss, both[0])
    assert not {shape for shape in seen.products if shape[1] == 5}


def test_bug_50_no_tensor_of_all_rows_by_vocabulary(monkeypatch):
    """bug 50: N = 400 rows of V = 1000 in chunks of 32: the largest tensor alive has 32 x 1000 numbers, or the head's."""
    monkeypatch.setattr(rows, "BUDGET", 32 * 1000 * 4)
    data = batch(B=8, T=50, H=5, V=1000, dtype=torch.float32)
    data["weight"] = torch.ones(8, 50)
    for switches in ({}, {"ratio": "sequence_mean"}, {"entropy_coef": 0.1}):
        with Products() as seen:
            fused(Objective(**switches), data)
        assert seen.largest == 32 * 1000
    with Products() as seen:
        linear_logps(data["hidden"], data["head"], data["targets"])
    assert seen.largest == 32 * 1000


def test_bug_15_micro_batches_sum_to_the_step():
    """bug 15: ragged rows split 1, 2 and 4 ways give the same loss and gradients, because the weights hold the step's
    denominators."""
    from r1.losses import Normaliser, token_weights

    data = batch(B=4, T=6)
    mask = data["weight"] != 0
    for aggregation in ("grpo", "bnpo", "dapo", "dr_grpo", "sequence_sum"):
        for switches in ({"kl": "k3", "beta": 0.1}, {"ratio": "sequence_mean"}):
            whole = None
            for parts in (1, 2, 4):
                step = Normaliser(0, 0)
                for rows_ in torch.arange(4).chunk(parts):
                    step = step + Normaliser.of(mask[rows_])
                total = [torch.zeros(()), torch.zeros_like(data["head"])]
                for rows_ in torch.arange(4).chunk(parts):
                    micro = {k: v if k == "head" else v[rows_] for k, v in data.items()}
                    micro["weight"] = token_weights(
                        mask[rows_], aggregation, step, 8 if aggregation == "dr_grpo" else None
                    ).double()
                    loss, _, d_head, _ = fused(Objective(**switches), micro)
                    total = [total[0] + loss, total[1] + d_head]
                whole = whole or total
                assert total[0].item() == pytest.approx(whole[0].item(), abs=1e-12)
                assert torch.allclose(total[1], whole[1], atol=1e-12)


@pytest.mark.parametrize("shift", [-120.0, 120.0, 1e4])
def test_peaked_and_shifted_logits(shift):
    """One logit 18 above the rest, all of them far from 0: logp <= 0, entropy >= 0, and the shift changes nothing."""
    logits = torch.full((1, 2, 40), -15.0)
    logits[0, :, 7] = 3.0
    targets = torch.tensor([[7, 0]])
    expected = dense_logps(logits.double(), targets)
    soft = rows.softmax((logits + shift)[0], targets[0])
    assert torch.allclose(soft.logp.double(), expected[0][0], atol=2e-5)
    assert torch.allclose(soft.entropy.double(), expected[1][0], atol=2e-5)
    assert (soft.logp <= 0).all()
    assert (soft.entropy >= 0).all()


@pytest.mark.parametrize("banned", [slice(0, 16), slice(16, 32), slice(1, 32), slice(3, 4)], ids=str)
def test_banned_tokens(banned):
    """-inf logits in the leading block, the trailing one, everywhere but the target, at one token: exact, gradient finite;
    where the target itself is banned the row is left out."""
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 32, generator=g)
    logits[..., banned] = -math.inf
    targets = torch.tensor([[0, 3, 20]])
    logits.requires_grad_()
    for switches in ({}, {"entropy_coef": 0.1}):
        loss, stats = logits_loss(logits, targets, None, None, torch.ones(1), torch.ones(1, 3), objective=Objective(**switches))
        (grad,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        impossible = torch.isinf(logits[0].gather(1, targets[0][:, None])[:, 0])
        assert stats.as_dict()["nonfinite"] == impossible.sum()
        assert (grad[0, impossible] == 0).all()
        assert (grad[..., banned] == 0).all()
        assert grad[0].sum(1).abs().max() < 1e-6
    if banned == slice(1, 32):
        logp, entropy = rows.softmax(logits.detach()[0, :1].clone(), targets[0, :1])[:2]
        assert (logp.item(), entropy.item()) == (0.0, 0.0)


@pytest.mark.parametrize("V", [1, 2, 17])
def test_constant_logits(V):
    """logp = -log V and H = log V; every gradient row sums to 0."""
    logits = torch.full((1, 1, V), 3.0, requires_grad=True)
    loss, stats = logits_loss(logits, torch.tensor([[V - 1]]), None, None, torch.ones(1), torch.ones(1, 1), objective=Objective())
    loss.backward()
    assert stats.as_dict()["logp"] == pytest.approx(-math.log(V), abs=1e-7)
    assert stats.as_dict()["entropy"] == pytest.approx(math.log(V), abs=1e-7)
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-7)


def test_low_precision_weights_keep_exact_log_probabilities(monkeypatch):
    """bf16 hidden and head: logp within 2e-5 of float64 *of the same rounded inputs*; with logits rounded to bf16 the same
    data is off by more than 1e-2. The gradients come in bf16, from fp32 sums."""
    monkeypatch.setattr(rows, "VOCAB_BLOCK", 100)
    data = batch(B=2, T=8, H=32, V=257, dtype=torch.bfloat16)
    logits = data["hidden"].double() @ data["head"].double().T
    truth, _ = dense_logps(logits, data["targets"])
    logp, _ = linear_logps(data["hidden"], data["head"], data["targets"])
    assert logp.dtype == torch.float32
    assert (logp - truth).abs().max() < 2e-5
    assert (dense_logps(logits.bfloat16().double(), data["targets"])[0] - truth).abs().max() > 1e-2
    columns = {k: data[k].float() for k in ("old_logp", "ref_logp", "advantage", "weight", "sampler_logp")}
    loss, d_hidden, d_head, _ = fused(Objective(kl="k3", beta=0.1), data | columns)
    expected = dense(Objective(kl="k3", beta=0.1), data | columns)
    assert d_hidden.dtype == d_head.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(expected[0].item(), rel=1e-5)
    for got, truth in ((d_hidden, expected[1]), (d_head, expected[2])):
        assert torch.nn.functional.cosine_similarity(got.double().flatten(), truth.flatten(), dim=0) > 1 - 1e-5
        assert (got.double() - truth).abs().max() <= 2**-8 * truth.abs().max()


def test_autocast_does_not_round_the_logits():
    data = batch(dtype=torch.float32)
    plain = fused(Objective(), data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fused(Objective(), data)
        logp, _ = linear_logps(data["hidden"], data["head"], data["targets"])
    assert torch.equal(plain[0], inside[0])
    assert torch.equal(plain[2], inside[2])
    assert torch.equal(logp, linear_logps(data["hidden"], data["head"], data["targets"])[0])


def test_upstream_gradient_and_a_second_backward():
    data = batch()
    hidden = data["hidden"].clone().requires_grad_()
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
    loss, _ = linear_loss(hidden, data["head"], *columns, objective=Objective())
    (loss * -3).backward(retain_graph=True)
    assert torch.allclose(hidden.grad, -3 * fused(Objective(), data)[1], atol=1e-14)
    with pytest.raises(RuntimeError, match="already differentiated"):
        loss.backward()


def test_a_tied_embedding_gets_both_gradients():
    """Head and embedding are one parameter: its gradient is the sum of both uses."""
    data = batch()
    table, used = data["head"].clone().requires_grad_(), data["targets"]
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
    linear_loss(table[used], table, *columns, objective=Objective())[0].backward()
    twin = data["head"].clone().requires_grad_()
    dense_loss(twin[used] @ twin.T, *columns, objective=Objective()).backward()
    assert torch.allclose(table.grad, twin.grad, atol=1e-13)


def test_the_order_of_the_vocabulary_does_not_matter():
    """Permuting the head's rows and the targets alike permutes d head and changes nothing else."""
    data, order = batch(), torch.randperm(11, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    loss, d_hidden, d_head, _ = fused(Objective(entropy_coef=0.1), data)
    other = fused(Objective(entropy_coef=0.1), data | {"head": data["head"][order], "targets": place[data["targets"]]})
    assert other[0].item() == pytest.approx(loss.item(), rel=1e-12)
    assert torch.allclose(other[1], d_hidden, atol=1e-13)
    assert torch.allclose(other[2], d_head[order], atol=1e-13)


def test_int32_targets_are_those_of_int64():
    data = batch()
    narrow = data | {"targets": data["targets"].int()}
    assert torch.equal(fused(Objective(), narrow)[0], fused(Objective(), data)[0])
    assert torch.equal(
        linear_logps(data["hidden"], data["head"], narrow["targets"])[0],
        linear_logps(data["hidden"], data["head"], data["targets"])[0],
    )


@pytest.mark.slow
def test_inside_torch_compile():
    """A compiled module may hold the loss: the graph breaks around it and the numbers are the same."""
    data = batch(dtype=torch.float32)
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]

    def step(hidden, head):
        return linear_loss(hidden.tanh(), head, *columns, objective=Objective(kl="k3", beta=0.1))[0] * 2

    hidden = data["hidden"].clone().requires_grad_()
    results = []
    for function in (step, torch.compile(step, backend="eager")):
        loss = function(hidden, data["head"])
        results.append((loss.detach(), torch.autograd.grad(loss, hidden)[0]))
    assert torch.allclose(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1])


def test_entropy_bonus_raises_the_entropy():
    """One step down the loss of a pure bonus (advantage 0) raises the entropy."""
    data = batch()
    data["advantage"] = torch.zeros(4, dtype=torch.float64)
    _, _, d_head, stats = fused(Objective(entropy_coef=0.1), data)
    moved = fused(Objective(entropy_coef=0.1), data | {"head": data["head"] - 0.1 * d_head})[3]
    assert moved.as_dict()["entropy"] > stats.as_dict()["entropy"] + 1e-4


def test_results_are_bitwise_the_same_twice(small_chunks):
    data = batch(dtype=torch.float32)
    first, second = (fused(Objective(kl="k3", beta=0.1), data) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first[:3], second[:3]))
    assert first[3].as_dict() == second[3].as_dict()


def test_nothing_learned_still_has_every_figure():
    data = batch()
    full = fused(Objective(kl="k3", beta=0.1), data)[3].as_dict()
    data["weight"] = torch.zeros_like(data["weight"])
    loss, d_hidden, d_head, stats = fused(Objective(kl="k3", beta=0.1), data)
    assert loss == 0
    assert (d_hidden == 0).all()
    assert (d_head == 0).all()
    assert stats.as_dict() == dict.fromkeys(full, 0.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden": torch.zeros(4, 6)}, r"hidden must be \[B, T, H\]"),
        ({"head": torch.zeros(11, 4)}, r"head_weight must be \[V, H\] with H = 5"),
        ({"targets": torch.zeros(4, 5, dtype=torch.long)}, r"targets must be \[B, T\] = \[4, 6\]"),
        ({"weight": torch.zeros(4, 5)}, r"weight must be \[B, T\]"),
    ],
)
def test_wrong_shapes_are_refused_by_name(change, reason):
    with pytest.raises(ValueError, match=reason):
        fused(Objective(), batch(dtype=torch.float32) | change)


def at_its_level(objective: Objective, data: dict):
    """(loss, d hidden, d head, statistics) of `policy_loss`."""
    hidden, head = (data[k].clone().requires_grad_() for k in ("hidden", "head"))
    columns = [data[k] for k in ("targets", "old_logp", "ref_logp", "advantage", "weight")]
    loss, stats = policy_loss(hidden, head, *columns, objective=objective, sampler_logp=data["sampler_logp"])
    loss.backward()
    return loss.detach(), hidden.grad, head.grad, stats.as_dict()


@pytest.mark.parametrize("fusion", ["logits", "token"])
@pytest.mark.parametrize("switches", OBJECTIVES, ids=str)
def test_fusion_chooses_how_a_loss_is_computed_and_never_what_it_is(switches, fusion):
    objective = Objective(**switches)
    if fusion == "token" and objective.needs_logits:
        with pytest.raises(ValueError, match="'linear' or 'logits'"):
            replace(objective, fusion=fusion)
        return
    *tensors, stats = at_its_level(replace(objective, fusion=fusion), batch())
    *expected, figures = at_its_level(objective, batch())
    for got, want in zip(tensors, expected):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    assert len(stats) > 10
    for name, value in stats.items():  # (a) sees no distribution, so it has fewer figures
        assert value == pytest.approx(figures[name], rel=1e-9), name


def test_fusion_has_three_levels():
    with pytest.raises(ValueError, match="linear, logits, token"):
        Objective(fusion="dense")
