"""Cross-entropy and divergences against plain autograd on full logits."""

from __future__ import annotations

import math

import pytest
import torch
from r1_kernels import linear_cross_entropy, linear_kl, rows
from torch.nn.functional import cross_entropy, kl_div


def case(seed: int = 0, B: int = 3, T: int = 5, H: int = 4, V: int = 9, teacher_H: int = 6):
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    weight = (torch.arange(T) < torch.tensor([[5], [2], [3]])) * torch.rand(B, T, generator=g, dtype=torch.float64)
    return (
        normal(B, T, H),
        normal(V, H),
        normal(B, T, teacher_H),
        normal(V, teacher_H),
        weight,
        torch.randint(0, V, (B, T), generator=g),
    )


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(rows, "BUDGET", 4 * 9 * 8)


def test_cross_entropy_equals_torch_with_ignored_targets():
    hidden, head, _, _, _, targets = case()
    learned = torch.arange(5) < torch.tensor([[5], [2], [3]])
    targets = targets.masked_fill(~learned, -100)
    hidden, head = hidden.requires_grad_(), head.requires_grad_()
    loss, stats = linear_cross_entropy(hidden, head, targets, learned / learned.sum())
    expected = cross_entropy((hidden @ head.T).flatten(0, 1), targets.flatten(), ignore_index=-100)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)  # the weights are fp32
    for got, truth in zip(torch.autograd.grad(loss, (hidden, head)), torch.autograd.grad(expected, (hidden, head))):
        assert torch.allclose(got, truth, atol=1e-7)
    seen = stats.as_dict()
    assert seen["n_tokens"] == 10
    assert seen["logp"] == pytest.approx(-expected.item(), rel=1e-6)
    right = ((hidden @ head.T).argmax(-1) == targets)[learned].double().mean().item()
    assert seen["top1"] == pytest.approx(right)


def truth(kind, student, teacher, weight, temperature, b=0.5):
    s, t = (torch.log_softmax(z / temperature, -1) for z in (student, teacher))
    m = torch.logsumexp(torch.stack([t + math.log(b), s + math.log(1 - b)]), 0)
    kl = lambda p, q: kl_div(q, p, log_target=True, reduction="none").sum(-1)  # noqa: E731   KL(p || q)
    value = {"forward": lambda: kl(t, s), "reverse": lambda: kl(s, t), "jsd": lambda: b * kl(t, m) + (1 - b) * kl(s, m)}[kind]()
    return (weight * value).sum()


@pytest.mark.parametrize(("kind", "mixture"), [("forward", None), ("reverse", None), ("jsd", None), ("jsd", 0.1), ("jsd", 0.9)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_divergences_equal_autograd(kind, mixture, temperature):
    hidden, head, teacher_hidden, teacher_head, weight, _ = case()
    hidden, head = hidden.requires_grad_(), head.requires_grad_()
    loss, stats = linear_kl(
        hidden, head, teacher_hidden, teacher_head, weight, divergence=kind, temperature=temperature, mixture=mixture
    )
    expected = truth(kind, hidden @ head.T, teacher_hidden @ teacher_head.T, weight, temperature, mixture or 0.5)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for got, want in zip(torch.autograd.grad(loss, (hidden, head)), torch.autograd.grad(expected, (hidden, head))):
        assert torch.allclose(got, want, atol=1e-13)
    seen = stats.as_dict()
    assert seen["n_tokens"] == 10
    assert 0 <= seen["agreement"] <= 1


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(kind):
    hidden, head, _, _, weight, _ = case()
    student, table = hidden.clone().requires_grad_(), head.clone().requires_grad_()
    loss, stats = linear_kl(student, table, hidden, head, weight, divergence=kind)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-14)
    assert student.grad.abs().max() < 1e-14
    assert stats.as_dict()["agreement"] == 1


def test_masked_rows_may_hold_anything_and_the_teacher_is_left_alone():
    hidden, head, teacher_hidden, teacher_head, weight, targets = case()
    teacher_hidden.requires_grad_()
    masked = (weight == 0)[..., None]
    outcomes = []
    for garbage in (0.0, math.nan):
        student = hidden.masked_fill(masked, garbage).requires_grad_()
        loss, _ = linear_kl(student, head, teacher_hidden.masked_fill(masked, garbage), teacher_head, weight)
        ce, _ = linear_cross_entropy(student, head, targets.masked_fill(masked[..., 0], -100), weight)
        (loss + ce).backward()
        outcomes.append((loss.detach(), ce.detach(), student.grad))
    assert all(torch.equal(a, b) for a, b in zip(*outcomes))
    assert teacher_hidden.grad is None


def test_nothing_learned():
    hidden, head, teacher_hidden, teacher_head, weight, targets = case()
    hidden.requires_grad_()
    zero = torch.zeros_like(weight)
    for loss, stats in (
        linear_cross_entropy(hidden, head, targets, zero),
        linear_kl(hidden, head, teacher_hidden, teacher_head, zero),
    ):
        loss.backward()
        assert loss == 0
        assert (hidden.grad == 0).all()
        assert all(v == 0 for v in stats.as_dict().values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"divergence": "js"}, "forward, reverse or jsd"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"mixture": 0.3}, "mixture belongs to divergence='jsd'"),
        ({"divergence": "jsd", "mixture": 1.0}, r"inside \(0, 1\)"),
    ],
)
def test_options_without_meaning_are_refused(options, reason):
    hidden, head, teacher_hidden, teacher_head, weight, _ = case()
    with pytest.raises(ValueError, match=reason):
        linear_kl(hidden, head, teacher_hidden, teacher_head, weight, **options)


def test_different_vocabularies_are_refused():
    hidden, head, teacher_hidden, teacher_head, weight, _ = case()
    with pytest.raises(ValueError, match="share a vocabulary"):
        linear_kl(hidden, head, teacher_hidden, teacher_head[:-1], weight)
