"""Level (b): logits in, policy loss out, for models that hand over logits and nothing earlier.

The logits exist anyway, so this level only has to avoid copies of them: rows are read a chunk at a time in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import use_triton
from .linear import entropy_slope
from .objective import Objective
from .rows import accumulator, check_targets, chunk_rows, softmax
from .stats import Stats
from .tokens import Columns, check_columns, evaluate


def logits_loss(
    logits: Tensor,
    targets: Tensor,
    old_logp: Tensor | None,
    ref_logp: Tensor | None,
    advantage: Tensor,
    weight: Tensor,
    *,
    objective: Objective,
    sampler_logp: Tensor | None = None,
    inplace: bool = False,
) -> tuple[Tensor, Stats]:
    """The policy loss of targets [B, T] from logits [B, T, V]; returns (0-dim loss, Stats). Other arguments: `token_loss`.

    The gradient has the logits' dtype. With `inplace` it is left where the logits were, so that level (b) needs no memory of
    its own: the logits are gone after the call (autograd refuses to use them again), and must not be a leaf.
    """
    if logits.dim() != 3:
        raise ValueError(f"logits must be [B, T, V], got {list(logits.shape)}")
    if targets.shape != logits.shape[:2]:
        raise ValueError(f"targets must be [B, T] = {list(logits.shape[:2])}, got {list(targets.shape)}")
    targets = targets.long()
    columns = check_columns(targets.shape, old_logp, ref_logp, advantage, weight, sampler_logp, objective)
    check_targets(targets[weight != 0], logits.shape[-1])
    if inplace and (not logits.is_contiguous() or (logits.is_leaf and logits.requires_grad)):
        raise ValueError("inplace=True needs contiguous logits that a model made (not a leaf that requires a gradient itself)")
    return _LogitsLoss.apply(logits, targets, columns, objective, inplace, torch.is_grad_enabled())


class _LogitsLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets, columns, objective, inplace, wanted):
        want = ctx.needs_input_grad[0] and wanted
        rows = columns.weight.reshape(-1).nonzero()[:, 0]
        if use_triton(logits):
            from . import fused

            loss, stats, d_logits = fused.logits_loss(logits, targets, columns, rows, objective, want, inplace)
        else:
            loss, stats, d_logits = _with_torch(logits, targets, columns, rows, objective, want, inplace)
        if inplace and want:
            torch.autograd.graph.increment_version(logits)
        ctx.d_logits = d_logits
        return loss, stats

    @staticmethod
    def backward(ctx, upstream, _):
        if ctx.d_logits is None:
            raise RuntimeError(
                "this loss was already differentiated: its gradient is scaled in place, call it again for a second backward"
            )
        d_logits, ctx.d_logits = ctx.d_logits, None
        return d_logits.mul_(upstream.to(d_logits.dtype)), None, None, None, None, None


def _with_torch(
    logits: Tensor, targets: Tensor, columns: Columns, rows: Tensor, objective: Objective, want: bool, inplace: bool
) -> tuple[Tensor, Stats, Tensor | None]:
    """(loss, Stats, d logits): log-probabilities of all rows, then the gradient of those that have one."""
    shape, V = targets.shape, logits.shape[-1]
    dtype, inverse = accumulator(logits), 1.0 / objective.temperature
    flat, ids = logits.reshape(-1, V), targets.reshape(-1)
    logp, entropy = (torch.zeros(ids.shape, dtype=dtype, device=ids.device) for _ in range(2))
    top1 = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
    size = chunk_rows(V, dtype)
    for part in rows.split(size):  # indexing copies, so that softmax may overwrite
        soft = softmax(flat[part].to(dtype), ids[part], inverse)
        logp[part], entropy[part], top1[part] = soft.logp, soft.entropy, soft.top1
    terms = evaluate(logp.view(shape), columns, objective, entropy=entropy.view(shape), top1=top1.view(shape))
    if not want:
        return terms.loss, terms.stats, None
    grad, live = terms.grad.reshape(-1), terms.live.reshape(-1)
    slope = entropy_slope(columns.weight.reshape(-1), live, objective, dtype)
    still = torch.ones_like(live)
    d_logits = flat if inplace else torch.zeros_like(flat)
    for part in (rows if slope is not None else rows[grad[rows] != 0]).split(size):
        soft = softmax(flat[part].to(dtype), ids[part], inverse)
        d_logits[part] = soft.backward(ids[part], grad[part], None if slope is None else slope[part], inverse).to(flat.dtype)
        still[part] = False
    if inplace:
        d_logits.masked_fill_(still[:, None], 0)
    return terms.loss, terms.stats, d_logits.view(logits.shape)
