"""The kernels against float64: interpreted on a CPU, compiled where there is a GPU. The same tests, the same tolerances."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from r1_kernels import Objective, linear_cross_entropy, linear_kl, linear_logps, linear_loss, logits_loss, token_loss
from r1_kernels.dense import dense_logps, dense_loss, dense_token_loss

pytest.importorskip("triton", reason="the Triton kernels need the triton package, which this machine lacks")

# numpy says aloud what the interpreter computes in silence on a device: exp of large numbers, inf - inf where nothing is kept.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")


def slow(*values):
    """The same test on further values, for `make test-all`."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


SURROGATES = [
    {},
    {"clip_low": 0.2, "clip_high": 0.28},
    {"clip_low": 1.0, "clip_high": math.inf},
    {"clip_low": 0.0, "clip_high": 0.0},
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
AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo", "sequence_sum")
EVERY = [s | k | e for s, k, e in itertools.product(SURROGATES, KLS, EXTRAS) if k or not e.get("importance_corrected_kl")]
SOME = [
    {"kl": "k3", "beta": 0.1, "tis_cap": 1.1},
    {"clip_high": 0.28, "dual_clip": 1.5, "kl": "k2", "beta": 0.1, "importance_corrected_kl": True},
    {"ratio": "sequence_mean", "kl": "k3", "beta": 0.1, "tis_cap": 1.1, "dual_clip": 1.3},
    {"ratio": "sequence_sum", "clip_high": 0.5},
    {"surrogate": "cispo", "clip_high": 0.3, "clip_low": 0.1, "kl": "k1", "beta": 0.1},
    {"surrogate": "reinforce", "tis_cap": 1.1},
    {"surrogate": "sapo", "sapo_tau": (0.5, 2.0)},
]
ROW_OBJECTIVES = [
    {"clip_high": 0.28, "dual_clip": 1.5, "kl": "k3", "beta": 0.1, "temperature": 0.6, "tis_cap": 1.1},
    {"surrogate": "cispo", "clip_high": 0.3, "entropy_coef": 0.05, "temperature": 1.3},
    {"surrogate": "reinforce"},
    {"surrogate": "sapo", "kl": "k2", "beta": 0.1, "importance_corrected_kl": True},
    {"ratio": "sequence_mean", "kl": "k3", "beta": 0.1, "entropy_coef": 0.05},
    {"ratio": "sequence_sum", "tis_cap": 1.1},
]


def batch(
    device: str, seed: int = 0, B: int = 2, T: int = 4, H: int = 8, V: int = 37, dtype=torch.float32, spread: float = 1.0
) -> dict:
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    hidden, head, targets = (spread * normal(B, T, H)).to(dtype), normal(V, H).to(dtype), torch.randint(0, V, (B, T), generator=g)
    logp, _ = dense_logps(hidden.double() @ head.double().T, targets)
    mask = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=g)
    mask[0] = True
    made = {
        "hidden": hidden, "head": head, "targets": targets, "logp": logp.float(), "old_logp": (logp + 0.3 * normal(B, T)).float(),
        "ref_logp": (logp + 0.4 * normal(B, T)).float(), "sampler_logp": (logp + 0.2 * normal(B, T)).float(),
        "advantage": normal(B).float(), "weight": (mask * (0.1 + torch.rand(B, T, generator=g))).float(),
    }  # fmt: skip
    return {k: v.to(device) for k, v in made.items()}


def columns(data: dict, double: bool = False) -> list:
    return [data[k].double() if double else data[k] for k in ("old_logp", "ref_logp", "advantage", "weight")]


def check_token_loss(switches: dict, data: dict) -> None:
    objective = Objective(**switches)
    logp = data["logp"].clone().requires_grad_()
    loss, stats = token_loss(logp, *columns(data), objective=objective, sampler_logp=data["sampler_logp"])
    loss.backward()
    exact = data["logp"].double().requires_grad_()
    truth = dense_token_loss(exact, *columns(data, True), objective, data["sampler_logp"].double())
    truth.backward()
    scale = exact.grad.abs().max().item()
    assert loss.item() == pytest.approx(truth.item(), rel=1e-5, abs=1e-6)
    assert (logp.grad - exact.grad).abs().max().item() <= 1e-5 * scale + 1e-8
    reference = token_loss(exact.detach(), *columns(data, True), objective=objective, sampler_logp=data["sampler_logp"].double())[
        1
    ]
    assert stats.as_dict() == pytest.approx(reference.as_dict(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("switches", SOME, ids=str)
def test_token_loss_against_float64(switches, triton_backend):
    check_token_loss(switches, batch(triton_backend))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EVERY)))
def test_every_combination_against_float64(number, triton_backend):
    """Surrogate x KL x ratio x importance weights, the aggregations in turn."""
    from r1.losses import Normaliser, token_weights

    data, aggregation = batch(triton_backend, seed=number), AGGREGATIONS[number % 5]
    mask = data["weight"] != 0
    data["weight"] = token_weights(mask, aggregation, Normaliser.of(mask), 6 if aggregation == "dr_grpo" else None)
    check_token_loss(EVERY[number], data)


def gradients(function, data: dict, names=("hidden", "head")):
    tensors = {name: data[name].clone().requires_grad_() for name in names}
    loss, stats = function(**tensors)
    loss.backward()
    return loss.detach(), [t.grad for t in tensors.values()], stats


def check_row_loss(switches: dict, data: dict, loss_tolerance: float = 1e-5) -> None:
    """(c) and (b) against autograd on float64 of the same rounded inputs."""
    objective, y = Objective(**switches), data["targets"]
    options = {"objective": objective, "sampler_logp": data["sampler_logp"]}
    loss, grads, stats = gradients(lambda hidden, head: linear_loss(hidden, head, y, *columns(data), **options), data)
    hidden, head = (data[k].double().requires_grad_() for k in ("hidden", "head"))
    exact = {"objective": objective, "sampler_logp": data["sampler_logp"].double()}
    logits = hidden @ head.T
    logits.retain_grad()
    truth = dense_loss(logits, y, *columns(data, True), **exact)
    truth.backward()
    assert loss.item() == pytest.approx(truth.item(), rel=loss_tolerance, abs=1e-6)
    slope = logits.grad.float().flatten(0, 1)  # the exact d logits, multiplied in fp32: what the matrix library alone loses
    rounded = ((slope @ head.detach().float()).view_as(hidden), slope.T @ hidden.detach().float().flatten(0, 1))
    for got, want, product in zip(grads, (hidden.grad, head.grad), rounded):
        # a bf16 gradient went through bf16 d logits (8 bits) and was rounded itself
        limit = 1e-5 if got.dtype == torch.float32 else 2**-7
        assert torch.nn.functional.cosine_similarity(got.double().flatten(), want.flatten(), dim=0) > 1 - (
            1e-4 if limit > 1e-3 else 1e-6
        )
        assert (got - want).abs().max() <= max(limit * want.abs().max(), 2 * (product - want).abs().max())
    reference = linear_loss(hidden.detach(), head.detach(), y, *columns(data, True), **exact)[1].as_dict()
    assert stats.as_dict() == pytest.approx(reference, rel=1e-4, abs=1e-5)
    if data["hidden"].dtype == torch.float32:
        plain = {"logits": logits.detach().float()}
        b_loss, (d_logits,), b_stats = gradients(
            lambda logits: logits_loss(logits, y, *columns(data), **options), plain, ("logits",)
        )
        assert b_loss.item() == pytest.approx(truth.item(), rel=loss_tolerance, abs=1e-6)
        assert (d_logits - logits.grad).abs().max() <= 1e-5 * logits.grad.abs().max()
        assert d_logits.sum(-1).abs().max() <= 1e-5 * logits.grad.abs().max()
        assert b_stats.as_dict() == pytest.approx(reference, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("switches", ROW_OBJECTIVES, ids=str)
def test_row_losses_against_float64(switches, triton_backend):
    check_row_loss(switches, batch(triton_backend))


@pytest.mark.parametrize("dtype", [torch.bfloat16, *slow(torch.float16)], ids=str)
def test_low_precision_heads(dtype, triton_backend):
    """d logits are stored in half width over the fp32 logits they came from; several chunks and a ragged vocabulary."""
    switches = {"clip_high": 0.28, "kl": "k3", "beta": 0.1}
    check_row_loss(switches, batch(triton_backend, dtype=dtype, B=3, T=5, H=16, V=70), loss_tolerance=1e-4)


@pytest.mark.slow
def test_several_chunks(triton_backend, monkeypatch):
    from r1_kernels import fused

    monkeypatch.setattr(fused, "BUDGET", 3 * 37 * 4)
    for switches in ({"kl": "k3", "beta": 0.1}, {"ratio": "sequence_mean"}):
        check_row_loss(switches, batch(triton_backend))


@pytest.mark.parametrize("V", [1, 65, *slow(2, 17, 63, 64, 200)])
def test_vocabularies_around_the_block(V, triton_backend, monkeypatch):
    """BLOCK = 64: one element, a ragged tail, exactly a block, one more; targets in the first and the last column."""
    from r1_kernels import kernel_rows

    monkeypatch.setattr(kernel_rows, "BLOCK", 64)
    data = batch(triton_backend, B=1, T=3, V=V)
    data["targets"] = torch.tensor([[0, V - 1, V // 2]], device=triton_backend)
    if V > 1:
        check_row_loss({"clip_high": 5.0, "clip_low": 1.0, "entropy_coef": 0.1, "temperature": 0.7}, data)
    logp, entropy = linear_logps(data["hidden"], data["head"], data["targets"], 0.7)
    truth = dense_logps(data["hidden"].double() @ data["head"].double().T, data["targets"], 0.7)
    assert (logp - truth[0]).abs().max() <= 2e-5
    assert (entropy - truth[1]).abs().max() <= 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("V", [4095, 4096, 4097, 32000, 151936])
def test_real_vocabularies(V, triton_backend):
    data = batch(triton_backend, B=1, T=1, H=4, V=V)
    data["targets"][0, 0] = V - 1
    check_row_loss({"clip_low": 1.0, "clip_high": 9.0, "kl": "k3", "beta": 0.1}, data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("splits", [7, *slow(1, 2)])
def test_streaming_log_probabilities(splits, dtype, triton_backend):
    """Rows, columns and inner products that no tile divides: within 2e-5 of float64 of the same rounded inputs."""
    from r1_kernels.kernel_stream import stream_logps

    data = batch(triton_backend, B=1, T=37, H=33, V=150, dtype=dtype)
    hidden, y = data["hidden"][0], data["targets"][0].clone()
    y[:2] = torch.tensor([0, 149])
    logp, entropy = stream_logps(hidden, data["head"], y, 0.8, splits=splits, BM=16, BN=32, BK=16)
    truth = dense_logps(hidden.double()[None] @ data["head"].double().T, y[None], 0.8)
    assert (logp - truth[0][0]).abs().max() <= 2e-5
    assert (entropy - truth[1][0]).abs().max() <= 2e-5


def test_streaming_survives_what_breaks_others(triton_backend):
    """All logits far below zero (a merge that starts its maximum at 0 gives -inf), and targets outside the vocabulary (NaN)."""
    from r1_kernels.kernel_stream import stream_logps

    hidden, head = torch.ones(3, 4, device=triton_backend), torch.full((40, 4), -30.0, device=triton_backend)
    logp, entropy = stream_logps(hidden, head, torch.tensor([5, -100, 40], device=triton_backend), 1.0, BM=16, BN=16, BK=16)
    assert logp[0].item() == pytest.approx(-math.log(40), abs=1e-5)
    assert logp[1:].isnan().all()
    assert entropy.tolist() == pytest.approx([math.log(40)] * 3, abs=1e-5)


@pytest.mark.parametrize("garbage", [math.nan, *slow(math.inf)])
@pytest.mark.parametrize("switches", [{"kl": "k3", "beta": 0.1, "tis_cap": 2.0}, {"ratio": "sequence_mean"}], ids=str)
def test_bugs_2_4_40_52_what_a_masked_token_holds_is_never_read(switches, garbage, triton_backend):
    """bugs 2, 4, 40, 52 in the kernels: NaN, inf and target -100 behind the mask change no bit."""
    objective, clean = Objective(**switches), batch(triton_backend, seed=1, T=6)
    masked = clean["weight"] == 0
    assert masked.any()
    dirty = {k: v.masked_fill(masked, garbage) if k.endswith("logp") else v for k, v in clean.items()}
    dirty["hidden"] = clean["hidden"].masked_fill(masked[..., None], garbage)
    dirty["targets"] = clean["targets"].masked_fill(masked, -100)
    outcomes = []
    for data in (clean, dirty):
        options = {"objective": objective, "sampler_logp": data["sampler_logp"]}
        a = gradients(lambda logp, d=data, o=options: token_loss(logp, *columns(d), **o), data, ("logp",))
        c = gradients(lambda hidden, head, d=data, o=options: linear_loss(hidden, head, d["targets"], *columns(d), **o), data)
        assert (a[1][0][masked] == 0).all()
        assert (c[1][0][masked] == 0).all()
        outcomes.append((a[0], c[0], *a[1], *c[1]))
    assert all(torch.equal(x, y) for x, y in zip(*outcomes))


@pytest.mark.parametrize("log_ratio", [200.0, *slow(40.0, 89.0, 1e4, -1e4)])
@pytest.mark.parametrize("switches", [{}, {"ratio": "sequence_sum", "kl": "k3", "beta": 0.1, "importance_corrected_kl": True}, {"surrogate": "sapo"}], ids=str)  # fmt: skip
def test_bug_40_a_huge_ratio_keeps_everything_finite(log_ratio, switches, triton_backend):
    """bug 40 in the kernels: loss and gradients finite, and equal to the torch reference's."""
    for advantage in (1.0, 0.0, -1.0):
        data = {"logp": torch.full((1, 2), -1.0, device=triton_backend)}
        rest = [
            data["logp"] - log_ratio,
            data["logp"] + 0.1,
            torch.tensor([advantage], device=triton_backend),
            torch.ones(1, 2, device=triton_backend),
        ]
        loss, (grad,), _ = gradients(lambda logp, r=rest: token_loss(logp, *r, objective=Objective(**switches)), data, ("logp",))
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        if switches == {} and (advantage == 0 or (advantage > 0) == (log_ratio > 0)):
            assert (grad == 0).all()


def test_k3_is_precise_near_zero(triton_backend):
    """The KL term alone (advantage 0) at x = q - l from 1e-8 to 40: value and slope within 1e-5 of the exact ones."""
    x = torch.tensor([[1e-8, -1e-8, 1e-4, -1e-4, 0.1249, 0.1251, -0.1251, 3.0, -5.0, 40.0]], device=triton_backend)
    exact = x.double().expm1() - x.double()
    tiny = x.double().abs() < 1e-3
    exact[tiny] = (x.double() ** 2 / 2 * (1 + x.double() / 3))[tiny]
    objective = Objective(kl="k3", beta=1.0)
    for i in range(x.shape[1]):  # one at a time: 1e17 beside 1e-17 would hide the small one
        logp, weight = {"logp": torch.zeros_like(x)}, torch.zeros_like(x)
        weight[0, i] = 1
        loss, (grad,), _ = gradients(
            lambda logp, w=weight: token_loss(logp, None, x, x[:, 0] * 0, w, objective=objective), logp, ("logp",)
        )
        assert loss.item() == pytest.approx(exact[0, i].item(), rel=1e-5)
        assert grad[0, i].item() == pytest.approx(-torch.expm1(x[0, i].double()).item(), rel=1e-5)


def test_a_masked_completion_leaves_the_others_bits_alone(triton_backend):
    data = batch(triton_backend, B=3)
    data["weight"] = torch.ones_like(data["weight"])
    for switches in ({"kl": "k3", "beta": 0.1}, {"ratio": "sequence_mean"}):
        grads = []
        for masked in (False, True):
            d = data | {"weight": data["weight"].clone()}
            d["weight"][1] = 0.0 if masked else 1.0
            grads.append(
                gradients(lambda logp, d=d, s=switches: token_loss(logp, *columns(d), objective=Objective(**s)), d, ("logp",))[1][
                    0
                ]
            )
        assert (grads[1][1] == 0).all()
        assert torch.equal(grads[0][[0, 2]], grads[1][[0, 2]])


def test_edge_of_the_clip(triton_backend):
    """r = exp(0) = 1 on a bound (clip 0): the gradient flows on both signs, and nothing counts as clipped."""
    logp = {"logp": torch.full((2, 1), -1.0, device=triton_backend)}
    rest = [logp["logp"], None, torch.tensor([1.0, -1.0], device=triton_backend), torch.ones(2, 1, device=triton_backend)]
    _, (grad,), stats = gradients(lambda logp: token_loss(logp, *rest, objective=Objective(clip_low=0.0)), logp, ("logp",))
    assert grad.tolist() == [[-1.0], [1.0]]
    assert stats.as_dict()["clip_region"] == 0


def test_impossible_tokens_are_left_out_and_nan_goes_through(triton_backend):
    for switches in ({}, {"ratio": "sequence_mean"}):
        data = batch(triton_backend)
        data["weight"] = torch.ones_like(data["weight"])
        data["old_logp"][0, 0] = -math.inf
        data["logp"][1, 1] = -math.inf
        loss, (grad,), stats = gradients(
            lambda logp, d=data, s=switches: token_loss(logp, *columns(d), objective=Objective(**s)), data, ("logp",)
        )
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        assert grad[0, 0] == grad[1, 1] == 0
        assert (stats.as_dict()["nonfinite"], stats.as_dict()["n_tokens"]) == (2, 6)
        data["old_logp"][1, 2] = math.nan
        assert token_loss(data["logp"], *columns(data), objective=Objective(**switches))[0].isnan()


@pytest.mark.parametrize("banned", [slice(0, 32), *slow(slice(32, 70), slice(1, 70), slice(3, 4))], ids=str)
def test_banned_tokens(banned, triton_backend, monkeypatch):
    """-inf in the whole first block, the trailing ones, everywhere but the target, at one token."""
    from r1_kernels import kernel_rows

    monkeypatch.setattr(kernel_rows, "BLOCK", 32)
    logits = torch.randn(1, 3, 70, generator=torch.Generator().manual_seed(0))
    logits[..., banned] = -math.inf
    logits, targets = logits.to(triton_backend), torch.tensor([[0, 3, 50]], device=triton_backend)
    ones = torch.ones(1, 3, device=triton_backend)
    for switches in ({}, {"entropy_coef": 0.1}):
        loss, (grad,), stats = gradients(lambda logits, s=switches: logits_loss(logits, targets, None, None, ones[:, 0], ones, objective=Objective(**s)),
                                         {"logits": logits}, ("logits",))  # fmt: skip
        impossible = torch.isinf(logits[0].gather(1, targets[0][:, None])[:, 0])
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        assert stats.as_dict()["nonfinite"] == impossible.sum()
        assert (grad[0, impossible] == 0).all()
        assert (grad[..., banned] == 0).all()
        assert grad[0].sum(1).abs().max() < 1e-6
        if banned == slice(1, 70):
            assert (stats.as_dict()["logp"], stats.as_dict()["entropy"]) == (0.0, 0.0)


@pytest.mark.parametrize("shift", [-120.0, *slow(0.0, 120.0, 1e4)])
def test_peaked_and_shifted_logits(shift, triton_backend):
    """Equal to float64 of the same rounded inputs; logp <= 0, entropy >= 0, finite far from 0."""
    logits = torch.full((1, 2, 40), -15.0, device=triton_backend)
    logits[0, :, 7] = 3.0
    logits, targets, ones = logits + shift, torch.tensor([[7, 0]], device=triton_backend), torch.ones(1, 2, device=triton_backend)
    truth = dense_logps(logits.double(), targets)
    stats = logits_loss(logits, targets, None, None, ones[:, 0], ones, objective=Objective())[1].as_dict()
    assert stats["logp"] == pytest.approx(truth[0].mean().item(), abs=2e-5)
    assert stats["entropy"] == pytest.approx(truth[1].mean().item(), abs=2e-5)


def test_on_policy_ratio_is_one_exactly(triton_backend):
    data = batch(triton_backend)
    for switches in ({}, {"ratio": "sequence_sum"}):
        rest = [None, None, data["advantage"], data["weight"]]
        none = token_loss(data["logp"], *rest, objective=Objective(**switches))
        given = token_loss(data["logp"], data["logp"], *rest[1:], objective=Objective(**switches))
        assert torch.equal(none[0], given[0])
        assert {none[1].as_dict()[f"ratio_{k}"] for k in ("mean", "min", "max")} == {1.0}


def test_nothing_to_do(triton_backend):
    """No rows, no columns, all masked: loss 0, gradients 0, figures 0, no launch that fails."""
    for B, T in ((2, 3), (0, 3), (2, 0), (0, 0)):
        for switches in ({}, {"ratio": "sequence_mean"}):
            hidden, head, zero = (
                torch.zeros(B, T, 4, device=triton_backend),
                torch.zeros(9, 4, device=triton_backend),
                torch.zeros(B, T, device=triton_backend),
            )
            y, objective = zero.long(), Objective(**switches)
            loss, grads, stats = gradients(lambda hidden, head, y=y, z=zero, o=objective: linear_loss(hidden, head, y, z, None, z.sum(1), z, objective=o),
                                           {"hidden": hidden, "head": head})  # fmt: skip
            assert loss == 0
            assert all((g == 0).all() for g in grads)
            assert set(stats.as_dict().values()) == {0.0}
            assert token_loss(zero, zero, None, zero.sum(1), zero, objective=objective)[0] == 0
            assert linear_logps(hidden, head, y)[0].shape == (B, T)


def test_strided_and_broadcast_inputs(triton_backend):
    """A column of a wider table, a transposed batch, a broadcast advantage and a padded logits row: as their copies."""
    data = batch(triton_backend)
    wide = {k: torch.stack([v, v + 7], -1)[..., 0] if v.dtype == torch.float32 and v.dim() == 2 else v for k, v in data.items()}
    wide["advantage"] = data["advantage"][:, None].expand(2, 4)
    assert not wide["old_logp"].is_contiguous()
    options = {"objective": Objective(kl="k3", beta=0.1)}
    assert torch.equal(
        token_loss(wide["logp"], *columns(wide), **options)[0], token_loss(data["logp"], *columns(data), **options)[0]
    )
    logits = torch.randn(2, 5, 40, device=triton_backend)
    narrow = [logits[:, 1:, :37], logits[:, 1:, :37].contiguous()]
    results = [logits_loss(z, data["targets"], *columns(data), **options)[0] for z in narrow]
    assert torch.equal(*results)


def test_in_place_gradient_equals_out_of_place_and_guards_the_logits(triton_backend):
    """inplace=True: bitwise the same gradient without memory of its own; a second backward and a later use are refused."""
    data = batch(triton_backend, seed=1)
    for switches in ({"entropy_coef": 0.1}, {"ratio": "sequence_mean"}):
        outcomes = []
        for inplace in (False, True):
            hidden = data["hidden"].clone().requires_grad_()
            logits = hidden @ data["head"].T
            squares = logits.square() if inplace else None
            loss, _ = logits_loss(logits, data["targets"], *columns(data), objective=Objective(**switches), inplace=inplace)
            loss.backward(retain_graph=True)
            outcomes.append(hidden.grad)
            with pytest.raises(RuntimeError, match="already differentiated"):
                loss.backward()
            if squares is not None:
                with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                    squares.sum().backward()
        assert torch.equal(*outcomes)
    with pytest.raises(ValueError, match="not a leaf"):
        logits_loss(logits.detach().requires_grad_(), data["targets"], *columns(data), objective=Objective(), inplace=True)


def test_row_classes_change_nothing_and_a_frozen_head_has_no_buffer(triton_backend):
    """Rows of advantage 0 among others: same gradients as with their rows masked; statistics still count them."""
    data = batch(triton_backend, B=3)
    data["advantage"][1] = 0
    y, options = data["targets"], {"objective": Objective()}
    _, grads, stats = gradients(lambda hidden, head: linear_loss(hidden, head, y, *columns(data), **options), data)
    without = data | {"weight": data["weight"].clone()}
    without["weight"][1] = 0
    _, expected, fewer = gradients(lambda hidden, head: linear_loss(hidden, head, y, *columns(without), **options), without)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(grads, expected))
    assert stats.as_dict()["n_tokens"] == fewer.as_dict()["n_tokens"] + (data["weight"][1] != 0).sum()
    hidden = data["hidden"].clone().requires_grad_()
    loss, _ = linear_loss(hidden, data["head"], y, *columns(data), **options)
    loss.backward()
    assert torch.allclose(hidden.grad, grads[0], atol=1e-7)
    assert data["head"].grad is None


def test_results_are_bitwise_the_same_twice(triton_backend):
    data = batch(triton_backend)
    for switches in ({"kl": "k3", "beta": 0.1}, {"ratio": "sequence_mean"}):
        runs = [
            gradients(
                lambda hidden, head, s=switches: linear_loss(
                    hidden, head, data["targets"], *columns(data), objective=Objective(**s)
                ),
                data,
            )
            for _ in range(3)
        ]
        for other in runs[1:]:
            assert torch.equal(runs[0][0], other[0])
            assert all(torch.equal(a, b) for a, b in zip(runs[0][1], other[1]))
            assert runs[0][2].as_dict() == other[2].as_dict()


def test_upstream_gradient(triton_backend):
    data = batch(triton_backend)
    plain = gradients(
        lambda hidden, head: linear_loss(hidden, head, data["targets"], *columns(data), objective=Objective()), data
    )[1]

    def scaled(hidden, head):
        loss, stats = linear_loss(hidden, head, data["targets"], *columns(data), objective=Objective())
        return loss * -3, stats

    assert all(torch.allclose(a, -3 * b) for a, b in zip(gradients(scaled, data)[1], plain))


def test_cross_entropy_equals_torch(triton_backend):
    data = batch(triton_backend)
    y = data["targets"].masked_fill(data["weight"] == 0, -100)
    loss, grads, stats = gradients(lambda hidden, head: linear_cross_entropy(hidden, head, y, data["weight"]), data)
    double = {k: data[k].double() if data[k].is_floating_point() else data[k] for k in data}
    truth, expected, reference = gradients(lambda hidden, head: linear_cross_entropy(hidden, head, y, double["weight"]), double)
    assert loss.item() == pytest.approx(truth.item(), rel=1e-5)
    assert all((a - b).abs().max() <= 1e-5 * b.abs().max() for a, b in zip(grads, expected))
    assert stats.as_dict() == pytest.approx(reference.as_dict(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("kind", "mixture"), [("forward", None), ("reverse", None), ("jsd", 0.3)])
@pytest.mark.parametrize("dtype", [torch.float32, *slow(torch.bfloat16)], ids=str)
def test_divergences_equal_the_reference(kind, mixture, dtype, triton_backend, monkeypatch):
    from r1_kernels import fused

    monkeypatch.setattr(fused, "KL_BLOCK", 32)
    data, other = batch(triton_backend, dtype=dtype), batch(triton_backend, seed=5, H=6, dtype=dtype)

    def loss_of(hidden, head, d=data, o=other):
        return linear_kl(hidden, head, o["hidden"], o["head"], d["weight"], divergence=kind, mixture=mixture, temperature=1.5)

    loss, grads, stats = gradients(loss_of, data)
    wide, wide_other = ({k: v.double() if v.is_floating_point() else v for k, v in d.items()} for d in (data, other))
    truth, expected, reference = gradients(lambda hidden, head: loss_of(hidden, head, wide, wide_other), wide)
    assert loss.item() == pytest.approx(truth.item(), rel=1e-4)
    for got, want in zip(grads, expected):
        assert (got - want).abs().max() <= (2**-7 if dtype == torch.bfloat16 else 1e-5) * want.abs().max()
    assert stats.as_dict() == pytest.approx(reference.as_dict(), rel=1e-4, abs=1e-5)


def test_int64_offsets():
    """Row 14,134 of 151,936 logits starts beyond 2^31: the arithmetic of the row kernel's address, with int64 and (the bug)
    int32, in the interpreter, which wraps as the device does."""
    pytest.importorskip("triton")
    import triton
    import triton.language as tl
    from r1_kernels.launch import interpreted

    if not interpreted():
        pytest.skip("the probe reads an address without touching it; compiled runs have test_more_than_2_31_logits")

    @triton.jit
    def probe(rows_ptr, stride, out_ptr, WIDE: tl.constexpr):
        at = tl.load(rows_ptr + tl.program_id(0))
        place = at
        if not WIDE:
            place = at.to(tl.int32)
        tl.store(out_ptr, (place * stride).to(tl.int64))

    rows, out = torch.tensor([14200]), torch.zeros(1, dtype=torch.int64)
    probe[(1,)](rows, 151936, out, WIDE=True)
    assert out.item() == 14200 * 151936
    probe[(1,)](rows, 151936, out, WIDE=False)
    assert out.item() == 14200 * 151936 - 2**32


def test_the_grid_is_one_dimensional_beyond_65535(triton_backend, monkeypatch):
    """70,000 rows of completions: (B, T) grids die at 65,536 in y. Here the launches are counted, not run."""
    from r1_kernels import kernel_tokens

    seen = []
    monkeypatch.setattr(kernel_tokens, "run", lambda kernel, programs, *_, **__: seen.append(programs))
    for shape, switches in (((1, 70_000_000), {}), ((70_000, 1), {"ratio": "sequence_mean"})):
        zeros = torch.zeros(1, 1).expand(shape)
        columns_ = kernel_tokens.Columns(None, None, None, zeros, zeros)
        monkeypatch.setattr(kernel_tokens, "flat", lambda t: None if t is None else t[:1, :1])
        monkeypatch.setattr(kernel_tokens, "gather", lambda out, kinds: (out, kinds))
        kernel_tokens.evaluate(zeros, columns_, Objective(**switches), want_grad=False)
    assert seen == [-(-70_000_000 // kernel_tokens.BLOCK), 70_000]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: N V > 2^31 logits")
def test_more_than_2_31_logits(triton_backend):
    """The last row of 14,200 x 151,936 bf16 logits equals the same row alone."""
    logits = torch.randn(1, 14200, 151936, device="cuda", dtype=torch.bfloat16)
    y, ones = torch.zeros(1, 14200, dtype=torch.long, device="cuda"), torch.ones(1, 14200, device="cuda")
    ones[0, :-1] = 0
    whole = logits_loss(logits, y, None, None, ones[:, -1], ones, objective=Objective(surrogate="reinforce"))[0]
    alone = logits_loss(
        logits[:, -1:].clone(), y[:, :1], None, None, ones[:, -1], ones[:, -1:], objective=Objective(surrogate="reinforce")
    )[0]
    assert torch.equal(whole, alone)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: peak memory is read from its allocator")
def test_peak_memory_is_one_chunk_and_the_gradients(triton_backend):
    """N = 4,096, V = 151,936, H = 256: beside d hidden, d head (bf16) and its fp32 sum at most 0.7 GiB."""
    hidden = torch.randn(8, 512, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    head = torch.randn(151936, 256, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    y, ones = torch.zeros(8, 512, dtype=torch.long, device="cuda"), torch.ones(8, 512, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss, _ = linear_loss(hidden, head, y, None, None, ones[:, 0], ones, objective=Objective())
    loss.backward()
    products = 2 * (hidden.numel() + head.numel()) + 4 * head.numel()
    assert torch.cuda.max_memory_allocated() - before - products <= 0.7 * 2**30
