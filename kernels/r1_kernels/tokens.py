"""Level (a): log-probabilities in, loss and its gradient out. The maths of every objective lives here, once.

`evaluate` is the reference: it returns the loss, dL/dlogp and the statistics together, because the weight of a token is
known before the forward pass. The gradient is written out by hand, with a predicate instead of a product by a mask: where a
ratio overflows, 0 * inf would poison a token that the clip had switched off.

What a learned token with a broken number does: an *infinite* log-probability (a token that the sampler, the old or the
reference policy holds impossible) leaves the token out, counted in `nonfinite`; a *NaN* is a broken computation and goes
through to the loss, so that the run can stop. Tokens of weight 0 are never read.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .launch import use_triton
from .objective import Objective
from .stats import Stats

CLAMP = 40.0  # log-ratios beyond +-40 are cut, so that even e^40 * e^40 (a corrected KL) is finite in fp32
SERIES = 0.5  # below this |x|, e^x - 1 - x in fp32 loses digits to rounding; the series does not


class Columns(NamedTuple):
    """What comes with the log-probabilities: one number a token each, all of one shape ([B, T], or the rows [C] of a chunk)."""

    old_logp: Tensor | None
    ref_logp: Tensor | None
    sampler_logp: Tensor | None
    advantage: Tensor
    weight: Tensor

    def flat(self) -> Columns:
        return Columns(*(None if c is None else c.reshape(-1) for c in self))  # type: ignore[arg-type]

    def at(self, rows: Tensor | slice) -> Columns:
        return Columns(*(None if c is None else c[rows] for c in self))  # type: ignore[arg-type]


class Terms(NamedTuple):
    """loss 0-dim; grad dL/dlogp and live (token takes part), shaped like logp."""

    loss: Tensor
    grad: Tensor
    live: Tensor
    stats: Stats


def k3(x: Tensor) -> Tensor:
    """e^x - 1 - x, to full precision also near 0 (x = log q - log p)."""
    series = x * x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * (1 + x / 8 * (1 + x / 9)))))))
    limit = SERIES if x.dtype != torch.float64 else SERIES / 25  # nine terms are not enough for float64 up to 0.5; expm1 is
    return torch.where(x.abs() < limit, series, x.expm1() - x)


def surrogate(d: Tensor, logp: Tensor, advantage: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """P and dP/dl (for a ratio per completion: dP/d log r) from the log-ratio d.

    At r == lo, hi or dual_clip the gradient flows: the edge belongs to the inside.
    """
    r = d.exp()
    lo, hi = objective.bounds
    if objective.surrogate == "reinforce":
        return -advantage * logp, -advantage
    if objective.surrogate == "cispo":
        bounded = r.clamp(lo, hi) * advantage
        return -bounded * logp, -bounded
    if objective.surrogate == "sapo":
        tau_pos, tau_neg = objective.taus
        tau = torch.where(advantage > 0, tau_pos, tau_neg).to(d.dtype)
        gate, closed = torch.sigmoid(tau * (r - 1)), torch.sigmoid(tau * (1 - r))
        return -advantage * gate * 4 / tau, -advantage * 4 * (r * gate * closed)
    cap = float("inf") if objective.dual_clip is None else objective.dual_clip
    # min(r A, clip(r) A) is r cut at hi where A > 0 and at lo where A < 0; the dual clip cuts the latter from above too.
    used = torch.where(advantage > 0, r.clamp(max=hi), r.clamp(min=lo).clamp(max=cap))
    inside = torch.where(advantage > 0, r <= hi, (r >= lo) & (r <= cap))
    return -used * advantage, torch.where(inside, -r * advantage, 0)


def divergence(x: Tensor, r: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """K and dK/dl with x = q - l; `r` is the token's own ratio, for the importance correction d(rK)/dl = r (K + dK/dl)."""
    if objective.kl == "k1":
        value, slope = -x, torch.ones_like(x)
    elif objective.kl == "k2":
        value, slope = x * x / 2, -x
    else:
        value, slope = k3(x), -x.expm1()
    if objective.importance_corrected_kl:
        return r * value, r * (value + slope)
    return value, slope


def evaluate(
    logp: Tensor, columns: Columns, objective: Objective, *, entropy: Tensor | None = None, top1: Tensor | None = None
) -> Terms:
    """Loss, gradient and statistics. All [N] (or any one shape); a ratio per completion needs [B, T]."""
    old_logp, ref_logp, sampler_logp, advantage, weight = columns
    given = [t for t in (logp, old_logp, ref_logp, sampler_logp) if t is not None]
    learned = weight != 0
    infinite = torch.stack([torch.isinf(t) for t in given]).any(0)
    live = learned & ~infinite

    def read(t: Tensor) -> Tensor:  # what must not be read becomes 0 before any arithmetic
        return torch.where(live, t.to(logp.dtype), 0)

    l, w, a = read(logp), read(weight), read(advantage)
    o = l if old_logp is None else read(old_logp)
    d = (l - o).clamp(-CLAMP, CLAMP)
    rho = None if sampler_logp is None else (o - read(sampler_logp)).clamp(-CLAMP, CLAMP).exp()
    w_policy = w if rho is None or objective.tis_cap is None else w * rho.clamp(max=objective.tis_cap)

    if objective.ratio == "token":
        used, share = d, None
    else:  # [B, 1]: one log-ratio a completion, and how much of it a token's own d is
        share = (
            1 / live.sum(1, keepdim=True).clamp(min=1).to(d.dtype)
            if objective.ratio == "sequence_mean"
            else torch.ones_like(d[:, :1])
        )
        used = ((l - o).sum(1, keepdim=True) * share).clamp(-CLAMP, CLAMP).expand_as(d)
    value, slope = surrogate(used, l, a, objective)
    loss, grad = w_policy * value, w_policy * slope
    if share is not None:  # every token of the completion moves the one ratio that all its tokens share
        grad = torch.where(live, grad.sum(1, keepdim=True) * share, 0)

    x = None if ref_logp is None else (read(ref_logp) - l).clamp(-CLAMP, CLAMP)
    if objective.beta > 0:
        if x is None:
            raise ValueError(f"Objective.kl={objective.kl!r} needs ref_logp [B, T], got None")
        value, slope = divergence(x, d.exp(), objective)
        loss, grad = loss + w * objective.beta * value, grad + w * objective.beta * slope
    if objective.entropy_coef > 0:
        assert entropy is not None
        loss = loss - objective.entropy_coef * w * torch.where(live, entropy, 0)

    sums, peaks = _figures(l, d, used, a, x, rho, live, objective, zero=(grad == 0) & (objective.entropy_coef == 0))
    sums["nonfinite"] = (learned & torch.stack([~torch.isfinite(t) for t in given]).any(0)).sum()
    if entropy is not None:
        sums["entropy"] = torch.where(live, entropy, 0).sum(dtype=torch.float64)
    if top1 is not None:
        sums["top1"] = (top1 & live).sum()
    return Terms(loss.sum(), grad, live, Stats.of(sums, peaks))


def _figures(
    l: Tensor,
    d: Tensor,
    used: Tensor,
    a: Tensor,
    x: Tensor | None,
    rho: Tensor | None,
    live: Tensor,
    objective: Objective,
    zero: Tensor,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The sums and maxima of `Stats`; everything that is not live is 0 in l, d and a already."""

    def total(t: Tensor) -> Tensor:
        return t.sum(dtype=torch.float64)

    def peak(t: Tensor) -> Tensor:
        masked = torch.where(live, t, -torch.inf)
        return masked.amax() if masked.numel() else masked.new_full((), -torch.inf)

    r = used.exp()
    lo, hi = objective.bounds
    sums = {
        "tokens": live.sum(),
        "logp": total(l),
        "zero_grad": (zero & live).sum(),
        "ratio": total(torch.where(live, r, 0)),
        "log_ratio_abs": total(torch.where(live, used.abs(), 0)),
        "old_kl": total(k3(d)),
        "clip_low": ((r < lo) & (a < 0) & live).sum(),
        "clip_high": ((r > hi) & (a > 0) & live).sum(),
    }
    peaks = {"ratio_max": peak(r), "ratio_min_negated": peak(-r)}
    if x is not None:
        sums |= {"kl_k1": total(-x), "kl_k3": total(k3(x))}
    if rho is not None:
        sums |= {"rho": total(torch.where(live, rho, 0)), "truncated": (live & (rho > (objective.tis_cap or torch.inf))).sum()}
        peaks |= {"rho_max": peak(rho), "rho_min_negated": peak(-rho)}
    return sums, peaks


def check_columns(
    shape: torch.Size,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    sampler_logp: Tensor | None,
    objective: Objective,
) -> Columns:
    """ValueErrors for people; the advantage comes out as [B, T]."""
    B, T = shape
    for name, t in (("old_logp", old_logp), ("ref_logp", ref_logp), ("sampler_logp", sampler_logp), ("weight", weight)):
        if t is not None and t.shape != shape:
            raise ValueError(f"{name} must be [B, T] = [{B}, {T}], got {list(t.shape)}")
    if advantage.shape not in ((B,), (B, T)):
        raise ValueError(f"advantage must be [B] = [{B}] or [B, T] = [{B}, {T}], got {list(advantage.shape)}")
    if objective.beta > 0 and ref_logp is None:
        raise ValueError(f"Objective.kl={objective.kl!r} needs ref_logp [B, T], got None")
    if objective.tis_cap is not None and sampler_logp is None:
        raise ValueError(
            f"Objective.tis_cap={objective.tis_cap} corrects for the sampler and needs sampler_logp [B, T], got None"
        )
    advantage = advantage if advantage.dim() == 2 else advantage[:, None].expand(B, T)
    return Columns(old_logp, ref_logp, sampler_logp, advantage, weight)


def token_loss(
    logp: Tensor,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    *,
    objective: Objective,
    sampler_logp: Tensor | None = None,
) -> tuple[Tensor, Stats]:
    """The policy loss from log-probabilities [B, T] of softmax(z / T); returns (0-dim loss, Stats).

    old_logp None means that this is the first update on fresh samples: the ratio is exactly 1. advantage is [B] or [B, T];
    weight [B, T] carries every normaliser and is 0 at tokens that are not learned (nothing else is read there). Only `logp`
    receives a gradient. Raises ValueError for a wrong shape, a missing ref_logp or sampler_logp, or an entropy bonus.
    """
    if logp.dim() != 2:
        raise ValueError(f"logp must be [B, T], got {list(logp.shape)}")
    if objective.needs_logits:
        raise ValueError(
            "Objective.entropy_coef > 0 needs the logits, and token_loss sees only log-probabilities; use linear_loss"
        )
    columns = check_columns(logp.shape, old_logp, ref_logp, advantage, weight, sampler_logp, objective)
    return _TokenLoss.apply(logp, columns, objective)


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logp, columns, objective):
        if use_triton(logp):
            from . import kernel_tokens

            terms = kernel_tokens.evaluate(logp, columns, objective)
        else:
            terms = evaluate(logp if logp.dtype == torch.float64 else logp.float(), columns, objective)
        ctx.save_for_backward(terms.grad)
        ctx.dtype = logp.dtype
        return terms.loss, terms.stats

    @staticmethod
    def backward(ctx, upstream, _):
        (grad,) = ctx.saved_tensors
        return (grad * upstream).to(ctx.dtype), None, None
