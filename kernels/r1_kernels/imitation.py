"""Cross-entropy and divergences for SFT and distillation, on the same chunks of rows as the policy loss."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .launch import use_triton
from .rows import (
    Softmax,
    Sweep,
    accumulator,
    add_outer,
    check_rows,
    check_targets,
    chunk_rows,
    differentiable,
    one_precision,
    project,
    project_back,
    softmax,
    sweep,
)
from .stats import Stats

Divergence = Literal["forward", "reverse", "jsd"]


def linear_cross_entropy(hidden: Tensor, head_weight: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Stats]:
    """-sum w log p(target) from hidden [B, T, H] and head_weight [V, H]; targets, weight [B, T]. Returns (0-dim loss, Stats).

    The weight carries the normaliser (1 / learned tokens of the optimiser step for a token mean) and is 0 where nothing is
    learned: prompts, padding. Targets there are never read, so -100 is welcome.
    """
    check_rows(hidden, head_weight, targets, weight)
    targets = targets.long()

    def run(want: tuple[bool, bool]) -> tuple[Tensor, Stats, Sweep]:
        w, dtype = weight.reshape(-1), accumulator(hidden, head_weight)
        rows = w.nonzero()[:, 0]
        check_targets(targets.reshape(-1)[rows], head_weight.shape[0])
        if use_triton(hidden, head_weight):
            from . import fused

            return fused.cross_entropy(*one_precision(hidden, head_weight), targets, weight, rows, want)
        losses = [torch.zeros((), dtype=dtype, device=hidden.device)]
        figures = [Stats.empty(hidden.device, ("token", "target", "logits"))]

        def rule(part: Tensor, soft: Softmax) -> tuple[Tensor, None]:
            live = ~torch.isinf(soft.logp)  # an impossible target has no finite loss: left out and counted
            share = torch.where(live, w[part].to(dtype), 0)
            losses.append(-(share * torch.where(live, soft.logp, 0)).sum())
            means = {"logp": soft.logp, "zero_grad": share == 0, "entropy": soft.entropy, "top1": soft.top1}
            figures.append(_figures(soft.logp, live, **means))
            return -share, None

        flat = hidden.reshape(-1, hidden.shape[-1])
        grads = sweep(flat, head_weight, targets.reshape(-1), rows, rows[:0], rule, 1.0, want)
        if grads.d_hidden is not None:
            grads = grads._replace(d_hidden=grads.d_hidden.view(hidden.shape))
        return sum(losses[1:], losses[0]), sum(figures[1:], figures[0]), grads

    return differentiable(hidden, head_weight, run)


def _figures(term: Tensor, live: Tensor, **means: Tensor) -> Stats:
    """term [C] is what could be infinite or NaN: counted there, left out where not live."""
    sums = {name: torch.where(live, value, 0).sum(dtype=torch.float64) for name, value in means.items()}
    return Stats.of(sums | {"tokens": live.sum(), "nonfinite": (~torch.isfinite(term)).sum()})


def linear_kl(
    student_hidden: Tensor,
    student_head: Tensor,
    teacher_hidden: Tensor,
    teacher_head: Tensor,
    weight: Tensor,
    *,
    divergence: Divergence = "forward",
    temperature: float = 1.0,
    mixture: float | None = None,
) -> tuple[Tensor, Stats]:
    """sum w D(teacher, student) over the whole vocabulary, for logit distillation; returns (0-dim loss, Stats).

    student_hidden [B, T, H], student_head [V, H], teacher_hidden [B, T, H'], teacher_head [V, H'], weight [B, T]; both softmax
    at `temperature` (no factor T^2 is added: put it into the weight). Gradients go to the student only.

    forward   KL(teacher || student), covers every mode of the teacher
    reverse   KL(student || teacher), keeps to modes that the teacher has
    jsd       b KL(teacher || M) + (1 - b) KL(student || M), M = b teacher + (1 - b) student, b = `mixture` (0.5 unless told;
              GKD eq. 1)
    """
    check_rows(student_hidden, student_head, None, weight)
    check_rows(teacher_hidden, teacher_head, None, weight)
    if student_head.shape[0] != teacher_head.shape[0]:
        raise ValueError(
            f"teacher and student must share a vocabulary: student_head has V = {student_head.shape[0]}, teacher_head {teacher_head.shape[0]}"
        )
    if divergence not in ("forward", "reverse", "jsd"):
        raise ValueError(f"divergence must be forward, reverse or jsd, got {divergence!r}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if mixture is not None and divergence != "jsd":
        raise ValueError(f"mixture belongs to divergence='jsd', got divergence={divergence!r}")
    b = 0.5 if mixture is None else mixture
    if not 0 < b < 1:
        raise ValueError(f"mixture must be inside (0, 1), got {b}; for its ends use divergence='forward' or 'reverse'")

    def run(want: tuple[bool, bool]) -> tuple[Tensor, Stats, Sweep]:
        if use_triton(student_hidden, student_head, teacher_hidden, teacher_head):
            from . import fused

            rows = weight.reshape(-1).nonzero()[:, 0]
            student, teacher = one_precision(student_hidden, student_head), one_precision(teacher_hidden, teacher_head)
            return fused.linear_kl(*student, *teacher, weight, rows, divergence, temperature, b, want)
        return _kl_sweep(student_hidden, student_head, teacher_hidden, teacher_head, weight, divergence, temperature, b, want)

    return differentiable(student_hidden, student_head, run)


def _kl_sweep(
    hidden, head, teacher_hidden, teacher_head, weight, divergence, temperature, b, want
) -> tuple[Tensor, Stats, Sweep]:
    dtype = accumulator(hidden, head)
    w = weight.reshape(-1)
    rows = w.nonzero()[:, 0]
    flat, teacher = hidden.reshape(-1, hidden.shape[-1]), teacher_hidden.reshape(-1, teacher_hidden.shape[-1])
    d_hidden = torch.zeros_like(flat) if want[0] else None
    d_head = torch.zeros_like(head, dtype=dtype) if want[1] else None
    loss, stats = torch.zeros((), dtype=dtype, device=hidden.device), Stats.empty(hidden.device, ("token", "logits", "teacher"))
    for part in rows.split(max(1, chunk_rows(head.shape[0], dtype) // 2)):  # two chunks of logits are alive here
        first = rows.new_zeros(part.shape)
        s = softmax(project(flat[part], head, dtype), first, 1 / temperature)
        t = softmax(project(teacher[part], teacher_head, dtype), first, 1 / temperature)
        agree = s.z.argmax(1) == t.z.argmax(1)
        ps, pt = s.p / s.s, t.p / t.s
        value, d = _divergence(ps, pt, s.z - s.log_s, t.z - t.log_s, divergence, b)
        loss = loss + (w[part].to(dtype) * value).sum()
        every = torch.ones_like(agree)
        figures = {"divergence": value, "entropy": s.entropy, "teacher_entropy": t.entropy, "agreement": agree}
        stats = stats + _figures(value, every, **figures)
        d = d.mul_(w[part].to(dtype)[:, None] / temperature)
        if d_hidden is not None:
            d_hidden[part] = project_back(d, head).to(hidden.dtype)
        if d_head is not None:
            add_outer(d_head, d, flat[part])
    return loss, stats, Sweep(None if d_hidden is None else d_hidden.view(hidden.shape), d_head)


def _divergence(ps: Tensor, pt: Tensor, log_ps: Tensor, log_pt: Tensor, kind: str, b: float) -> tuple[Tensor, Tensor]:
    """D [C] and dD/dz of the student [C, V] at temperature 1, where z are the student's logits."""

    def times(p: Tensor, log_ratio: Tensor) -> Tensor:  # 0 log 0 = 0
        return torch.where(p > 0, p * log_ratio, 0)

    if kind == "forward":
        return times(pt, log_pt - log_ps).sum(1), ps - pt
    if kind == "reverse":
        terms = times(ps, log_ps - log_pt)
        value = terms.sum(1)
        return value, terms - ps * value[:, None]
    log_m = (b * pt + (1 - b) * ps).log()
    student = times(ps, log_ps - log_m)
    inner = student.sum(1)
    return b * times(pt, log_pt - log_m).sum(1) + (1 - b) * inner, (1 - b) * (student - ps * inner[:, None])
