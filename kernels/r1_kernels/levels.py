"""Which level a trainer's loss runs at: one call from hidden states and head, three ways to compute the same numbers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .linear import linear_loss
from .logits import logits_loss
from .objective import Objective
from .rows import accumulator
from .stats import Stats
from .tokens import token_loss


def policy_loss(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    *,
    objective: Objective,
    sampler_logp: Tensor | None = None,
) -> tuple[Tensor, Stats]:
    """The policy loss of `linear_loss`, at the level that `objective.fusion` names; arguments, shapes and errors are its own.

    linear   (c) no [N, V] tensor is alive: the one to train with
    logits   (b) logits [B, T, V] in the weights' dtype, as a Hugging Face model makes them, then one fused pass over them
    token    (a) logits and log-softmax by autograd, then the fused per-token loss: what to compare a new model or kernel with

    In fp32 all three agree; in bf16 the logits of (a) and (b) are rounded, which costs up to the clip range.
    """
    columns = (targets, old_logp, ref_logp, advantage, weight)
    if objective.fusion == "linear":
        return linear_loss(hidden, head_weight, *columns, objective=objective, sampler_logp=sampler_logp)
    logits = F.linear(hidden, head_weight)  # [B, T, V]
    if objective.fusion == "logits":
        inplace = logits.requires_grad  # nobody else holds them
        return logits_loss(logits, *columns, objective=objective, sampler_logp=sampler_logp, inplace=inplace)
    logp = F.log_softmax(logits.to(accumulator(logits)) / objective.temperature, -1)
    chosen = logp.gather(-1, targets.long().clamp(0, logits.shape[-1] - 1)[..., None]).squeeze(-1)
    return token_loss(chosen, *columns[1:], objective=objective, sampler_logp=sampler_logp)
