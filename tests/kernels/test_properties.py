"""Random masks, lengths and objectives; and a tiny model trained with either backend."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from r1_kernels import Objective, linear_loss, rows, set_backend, token_loss
from r1_kernels.dense import dense_logps, dense_loss, dense_token_loss


@st.composite
def objectives(draw) -> Objective:
    surrogate = draw(st.sampled_from(["clip", "clip", "cispo", "reinforce", "sapo"]))
    switches: dict = {"surrogate": surrogate, "temperature": draw(st.sampled_from([0.6, 1.0, 1.7]))}
    if surrogate in ("clip", "cispo"):
        switches |= {"clip_low": draw(st.floats(0, 1)), "clip_high": draw(st.floats(0, 5))}
    if surrogate == "clip":
        switches["ratio"] = draw(st.sampled_from(["token", "sequence_sum", "sequence_mean"]))
        switches["dual_clip"] = draw(st.none() | st.floats(1.01, 10))
    if kl := draw(st.sampled_from([None, "k1", "k2", "k3"])):
        switches |= {"kl": kl, "beta": draw(st.floats(1e-4, 2)), "importance_corrected_kl": draw(st.booleans())}
    switches["tis_cap"] = draw(st.none() | st.floats(0.1, 5))
    switches["entropy_coef"] = draw(st.sampled_from([0.0, 0.05]))
    return Objective(**switches)


@st.composite
def batches(draw) -> dict:
    B, T = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    hidden, head, y = normal(B, T, 3), normal(9, 3), torch.randint(0, 9, (B, T), generator=g)
    logp, _ = dense_logps(hidden @ head.T, y)
    spread = draw(st.sampled_from([0.0, 0.1, 1.0]))
    mask = torch.tensor(draw(st.lists(st.lists(st.booleans(), min_size=T, max_size=T), min_size=B, max_size=B)))
    advantage = normal(B) * torch.tensor(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=B, max_size=B)))
    return {"hidden": hidden, "head": head, "y": y, "old": logp + spread * normal(B, T), "ref": logp + spread * normal(B, T),
            "sampler": logp + spread * normal(B, T), "advantage": advantage, "weight": mask * torch.rand(B, T, generator=g, dtype=torch.float64)}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(objectives(), batches(), st.integers(1, 5))
def test_any_objective_on_any_mask_equals_the_oracle(objective, data, chunk):
    """Value, gradients and counts of the chunked loss, whatever is masked and however the rows fall into chunks."""
    before, rows.BUDGET = rows.BUDGET, chunk * 9 * 8
    try:
        hidden, head = data["hidden"].requires_grad_(), data["head"].requires_grad_()
        columns = [data[k] for k in ("old", "ref", "advantage", "weight")]
        loss, stats = linear_loss(hidden, head, data["y"], *columns, objective=objective, sampler_logp=data["sampler"])
        got = torch.autograd.grad(loss, (hidden, head))
    finally:
        rows.BUDGET = before
    truth = dense_loss(hidden @ head.T, data["y"], *columns, objective=objective, sampler_logp=data["sampler"])
    want = torch.autograd.grad(truth, (hidden, head))
    assert loss.item() == pytest.approx(truth.item(), rel=1e-9, abs=1e-10)
    for a, b in zip(got, want):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-9 * (1 + b.abs().max().item()))
    seen = stats.as_dict()
    assert seen["n_tokens"] == (data["weight"] != 0).sum()
    assert all(math.isfinite(v) for v in seen.values())


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(objectives(), batches())
def test_any_objective_on_any_mask_in_the_kernels(triton_backend, objective, data):
    """The same through the Triton kernels, in fp32 against float64 of the same rounded inputs."""
    data = {k: v.float().to(triton_backend) if v.is_floating_point() else v.to(triton_backend) for k, v in data.items()}
    columns = [data[k] for k in ("old", "ref", "advantage", "weight")]
    exact = [c.double() for c in columns]
    hidden, head = data["hidden"].requires_grad_(), data["head"].requires_grad_()
    loss, _ = linear_loss(hidden, head, data["y"], *columns, objective=objective, sampler_logp=data["sampler"])
    got = torch.autograd.grad(loss, (hidden, head))
    wide = [t.detach().double().requires_grad_() for t in (hidden, head)]
    truth = dense_loss(wide[0] @ wide[1].T, data["y"], *exact, objective=objective, sampler_logp=data["sampler"].double())
    want = torch.autograd.grad(truth, wide)
    scale = max(1.0, *(g.abs().max().item() for g in want))
    assert loss.item() == pytest.approx(truth.item(), rel=1e-4, abs=1e-4 * scale)
    if not _near_an_edge(wide, data, objective):
        for a, b in zip(got, want):
            assert (a - b).abs().max() <= 1e-4 * scale


def _near_an_edge(wide, data, objective) -> bool:
    """Whether a ratio is so near a bound that fp32 may fall on the other side, where the gradient is another."""
    logp, _ = dense_logps(wide[0] @ wide[1].T, data["y"], objective.temperature)
    d = (logp - data["old"].double()) * (data["weight"] != 0)
    n = (data["weight"] != 0).sum(1, keepdim=True).clamp(min=1)
    d = {"token": d, "sequence_sum": d.sum(1), "sequence_mean": d.sum(1) / n[:, 0]}[objective.ratio]
    bounds = [b for b in (*objective.bounds, objective.dual_clip) if b is not None and math.isfinite(b)]
    return any(bool(((d.exp() - b).abs() < 1e-4 * (1 + b)).any()) for b in bounds)


@pytest.mark.slow
def test_thirty_steps_with_the_kernels_or_the_reference_end_at_the_same_weights(triton_backend):
    """A bigram policy rewarded for one token: both backends raise its reward, to parameters that differ by less than 1e-4."""
    ended = {}
    for backend in ("torch", "triton"):
        set_backend(backend)
        g = torch.Generator().manual_seed(0)
        table = torch.randn(12, 8, generator=g).mul_(0.3).to(triton_backend).requires_grad_()
        head = torch.randn(12, 8, generator=g).mul_(0.3).to(triton_backend).requires_grad_()
        optimiser = torch.optim.SGD([table, head], lr=1.0)
        share = []
        for _ in range(30):
            probabilities = (table @ head.T).softmax(-1).detach().cpu()
            tokens = torch.zeros(6, 5, dtype=torch.long)
            for t in range(1, 5):
                uniform = torch.rand(6, 1, generator=g)
                tokens[:, t] = (probabilities[tokens[:, t - 1]].cumsum(-1) < uniform).sum(-1).clamp(max=11)
            reward = (tokens[:, 1:] == 3).float().mean(1)
            share.append(reward.mean().item())
            advantage = (reward - reward.mean()).to(triton_backend)
            tokens = tokens.to(triton_backend)
            weight = torch.full((6, 4), 1 / 24, device=triton_backend)
            loss, _ = linear_loss(
                table[tokens[:, :-1]],
                head,
                tokens[:, 1:],
                None,
                None,
                4 * advantage,
                weight,
                objective=Objective(entropy_coef=0.001),
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        ended[backend] = (table.detach().clone(), head.detach().clone(), share)
    for a, b in zip(ended["torch"][:2], ended["triton"][:2]):
        assert (a - b).abs().max() < 1e-4
    for *_, share in ended.values():
        assert sum(share[-5:]) > 1.5 * sum(share[:5])


def test_liger_agrees_where_it_is_defined():
    """Liger's triton_grpo_loss gives each token's loss without a normaliser, in fp32: clip, k3 and temperature agree to 1e-5.

    Where they do not agree, and who is right (both were tried):
    - advantages with a stride (a column of a table): Liger reads the neighbour column and says nothing; ours is the column's.
    - a log-ratio of 100 on a clipped token: Liger's gradient is NaN (inf * 0); the derivative of a constant is 0, as ours.
    """
    pytest.importorskip("triton")
    liger = pytest.importorskip(
        "liger_kernel.ops.grpo_loss", reason="liger-kernel is not installed; it is compared with, not needed"
    )
    if not torch.cuda.is_available() and not _interpreted(liger):
        pytest.skip("Liger's kernels were imported as compiled ones, and there is no GPU")
    g = torch.Generator().manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    logits = torch.randn(2, 4, 50, generator=g).to(device)  # one position more than tokens, as the model gives them
    y = torch.randint(0, 50, (2, 3), generator=g).to(device)
    old, _ = dense_logps(logits[:, :-1] + 0.3 * torch.randn(2, 3, 50, generator=g).to(device), y, 0.9)
    ref, _ = dense_logps(logits[:, :-1] + 0.3 * torch.randn(2, 3, 50, generator=g).to(device), y, 0.9)
    advantage = torch.tensor([1.0, -0.5], device=device)
    theirs = liger.GrpoLossFunction.apply(
        logits.clone(), old, ref, y, advantage, None, 0.9, 0.1, 0.2, 0.28, False, "grpo", None, False
    )[0]
    objective = Objective(clip_low=0.2, clip_high=0.28, kl="k3", beta=0.1, temperature=0.9)
    logp, _ = dense_logps(logits[:, :-1], y, 0.9)
    each = torch.stack([
        token_loss(logp, old, ref, advantage, torch.zeros(2, 3, device=device).index_put_((torch.tensor(i), torch.tensor(t)), torch.tensor(1.0)), objective=objective)[0]
        for i in range(2) for t in range(3)
    ]).view(2, 3)  # fmt: skip
    truth = torch.stack(
        [dense_token_loss(logp, old, ref, advantage, torch.eye(6, device=device)[i].view(2, 3), objective) for i in range(6)]
    ).view(2, 3)
    assert torch.allclose(each, truth, atol=1e-5)
    assert torch.allclose(theirs, each, atol=1e-5)


def _interpreted(module) -> bool:
    return type(next(v for k, v in vars(module).items() if k.startswith("_grpo"))).__name__ == "InterpretedFunction"
