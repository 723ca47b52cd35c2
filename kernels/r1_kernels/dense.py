"""The same losses written as the papers write them, on full logits, differentiated by autograd: the oracle.

For tests, notebooks and benchmarks: it keeps [N, V] tensors alive, knows no infinities, and shares no line with the maths it
checks. Give it float64 for a truth to compare with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .objective import Objective


def dense_logps(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """logits [B, T, V], targets [B, T] -> (log-probability, entropy), both [B, T]."""
    log_p = torch.log_softmax(logits / temperature, dim=-1)
    return log_p.gather(-1, targets[..., None])[..., 0], -(log_p.exp() * log_p).sum(-1)


def dense_loss(
    logits: Tensor,
    targets: Tensor,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    *,
    objective: Objective,
    sampler_logp: Tensor | None = None,
) -> Tensor:
    """The 0-dim loss of `logits_loss`."""
    logp, entropy = dense_logps(logits, targets, objective.temperature)
    return dense_token_loss(logp, old_logp, ref_logp, advantage, weight, objective, sampler_logp, entropy)


def dense_token_loss(
    logp: Tensor,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    objective: Objective,
    sampler_logp: Tensor | None = None,
    entropy: Tensor | None = None,
) -> Tensor:
    """The 0-dim loss of `token_loss`; all [B, T], advantage [B] or [B, T]."""
    mask = (weight != 0).to(logp.dtype)
    A = advantage if advantage.dim() == 2 else advantage[:, None]
    old = logp.detach() if old_logp is None else old_logp
    d = logp - old
    if objective.ratio == "sequence_sum":
        log_ratio = (d * mask).sum(1, keepdim=True)
    elif objective.ratio == "sequence_mean":
        log_ratio = (d * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    else:
        log_ratio = d
    per_token = _surrogate(log_ratio.exp(), logp, A, objective)
    if objective.tis_cap is not None:
        assert sampler_logp is not None
        per_token = per_token * (old - sampler_logp).exp().clamp(max=objective.tis_cap).detach()
    if objective.kl != "none":
        assert ref_logp is not None
        x = ref_logp - logp
        kl = {"k1": -x, "k2": x**2 / 2, "k3": x.exp() - x - 1}[objective.kl]
        per_token = per_token + objective.beta * (d.exp() * kl if objective.importance_corrected_kl else kl)
    if objective.entropy_coef:
        assert entropy is not None
        per_token = per_token - objective.entropy_coef * entropy
    return (weight * per_token).sum()


def _surrogate(r: Tensor, logp: Tensor, A: Tensor, objective: Objective) -> Tensor:
    lo, hi = objective.bounds
    if objective.surrogate == "reinforce":
        return -A * logp
    if objective.surrogate == "cispo":
        return -r.clamp(lo, hi).detach() * A * logp
    if objective.surrogate == "sapo":
        tau = torch.where(A > 0, objective.taus[0], objective.taus[1]).to(r.dtype)
        return -A * torch.sigmoid(tau * (r - 1)) * 4 / tau
    value = torch.min(r * A, r.clamp(lo, hi) * A)
    if objective.dual_clip is not None:  # dual-clip PPO: where A < 0 the objective is bounded from below by c A
        value = torch.where(A < 0, torch.max(value, objective.dual_clip * A), value)
    return -value
