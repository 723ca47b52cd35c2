"""Level (c): hidden states and head in, policy loss out; no [N, V] tensor is ever alive.

Rows are sorted before anything is computed: masked rows (weight 0) cost nothing; rows whose gradient is known to be zero
(advantage 0, no KL, no entropy bonus) get their statistics and no backward product; the rest get both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import use_triton
from .objective import Objective
from .rows import (
    Softmax,
    Sweep,
    accumulator,
    check_rows,
    check_targets,
    chunk_rows,
    differentiable,
    one_precision,
    project,
    softmax,
    sweep,
)
from .stats import Stats
from .tokens import Columns, check_columns, evaluate


@torch.no_grad()
def linear_logps(hidden: Tensor, head_weight: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability of the targets and entropy of the distribution, both [B, T], without gradient.

    hidden [B, T, H], head_weight [V, H], targets [B, T] int64. For every position: pass the rows you need, or ignore the rest
    (a target outside [0, V), such as -100, gives NaN there).
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    check_rows(hidden, head_weight, targets, targets)
    dtype = accumulator(hidden, head_weight)
    flat, ids = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1).long()
    V = head_weight.shape[0]
    if use_triton(hidden, head_weight):
        from .kernel_stream import stream_logps

        logp, entropy = stream_logps(*one_precision(flat, head_weight), ids, temperature)
        return logp.view(targets.shape), entropy.view(targets.shape)
    logp, entropy = flat.new_empty(ids.shape, dtype=dtype), flat.new_empty(ids.shape, dtype=dtype)
    size = chunk_rows(V, dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        for i in range(0, ids.numel(), size):
            soft = softmax(project(flat[i : i + size], head_weight, dtype), ids[i : i + size].clamp(0, V - 1), 1.0 / temperature)
            logp[i : i + size], entropy[i : i + size] = soft.logp, soft.entropy
    logp = torch.where((ids >= 0) & (ids < V), logp, torch.nan)
    return logp.view(targets.shape), entropy.view(targets.shape)


def linear_loss(
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
    """The policy loss of targets [B, T] from hidden [B, T, H] and head_weight [V, H]; returns (0-dim loss, Stats).

    The other arguments are those of `token_loss`. Gradients go to hidden and head_weight; a frozen head (requires_grad False)
    costs neither a buffer nor a product. float64 inputs stay float64, all others are summed in fp32. One backward per call.
    """
    check_rows(hidden, head_weight, targets, weight)
    targets = targets.long()
    columns = check_columns(targets.shape, old_logp, ref_logp, advantage, weight, sampler_logp, objective)

    def run(want: tuple[bool, bool]) -> tuple[Tensor, Stats, Sweep]:
        rows = weight.reshape(-1).nonzero()[:, 0]
        check_targets(targets.reshape(-1)[rows], head_weight.shape[0])
        if use_triton(hidden, head_weight):
            return _with_triton(hidden, head_weight, targets, columns, rows, objective, want)
        work = _per_token if objective.ratio == "token" else _per_completion
        return work(hidden, head_weight, targets, columns, rows, objective, want)

    return differentiable(hidden, head_weight, run)


def _with_triton(
    hidden: Tensor, head: Tensor, targets: Tensor, columns: Columns, rows: Tensor, objective: Objective, want: tuple[bool, bool]
) -> tuple[Tensor, Stats, Sweep]:
    from . import fused

    rows, dead = row_classes(columns, rows, objective)
    return fused.linear_loss(*one_precision(hidden, head), targets, columns, rows, dead, objective, want)


def row_classes(columns: Columns, rows: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """Learned rows as (those that may have a gradient, those known to have none): the latter's advantage is 0 and nothing else
    moves them. In a ratio per completion the advantage of a sibling moves a token too."""
    if objective.always_has_gradient:
        return rows, rows[:0]
    moves = columns.advantage != 0
    if objective.ratio != "token":
        moves = (moves & (columns.weight != 0)).any(1, keepdim=True).expand_as(moves)
    moving = moves.reshape(-1)[rows]
    return rows[moving], rows[~moving]


def _per_token(
    hidden: Tensor, head: Tensor, targets: Tensor, columns: Columns, rows: Tensor, objective: Objective, want: tuple[bool, bool]
) -> tuple[Tensor, Stats, Sweep]:
    """One pass: the gradient of a token needs nothing of its siblings."""
    rows, dead = row_classes(columns, rows, objective)
    columns = columns.flat()
    losses: list[Tensor] = []
    figures: list[Stats] = []

    def rule(part: Tensor, soft: Softmax) -> tuple[Tensor, Tensor | None]:
        chunk = columns.at(part)
        terms = evaluate(soft.logp, chunk, objective, entropy=soft.entropy, top1=soft.top1)
        losses.append(terms.loss)
        figures.append(terms.stats)
        return terms.grad, entropy_slope(chunk.weight, terms.live, objective, soft.logp.dtype)

    grads = sweep(hidden.reshape(-1, hidden.shape[-1]), head, targets.reshape(-1), rows, dead, rule, objective.temperature, want)
    if not losses:  # nothing is learned: the figures of no rows, with every key
        nothing = hidden.new_zeros(0, dtype=accumulator(hidden, head))
        terms = evaluate(nothing, columns.at(slice(0)), objective, entropy=nothing, top1=nothing > 0)
        losses, figures = [terms.loss], [terms.stats]
    return sum(losses[1:], losses[0]), sum(figures[1:], figures[0]), _shaped(grads, hidden)


def _per_completion(
    hidden: Tensor, head: Tensor, targets: Tensor, columns: Columns, rows: Tensor, objective: Objective, want: tuple[bool, bool]
) -> tuple[Tensor, Stats, Sweep]:
    """Two passes: all log-probabilities first, because a completion's ratio needs the whole of it; then the rows that have a
    gradient again (a completion cut by the clip has none)."""
    flat, ids = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    dtype = accumulator(hidden, head)
    logp, entropy = (torch.zeros(ids.shape, dtype=dtype, device=ids.device) for _ in range(2))
    top1 = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)

    def note(part: Tensor, soft: Softmax) -> tuple[Tensor, None]:
        logp[part], entropy[part], top1[part] = soft.logp, soft.entropy, soft.top1
        return soft.logp, None

    sweep(flat, head, ids, rows[:0], rows, note, objective.temperature, (False, False))
    shape = targets.shape
    terms = evaluate(logp.view(shape), columns, objective, entropy=entropy.view(shape), top1=top1.view(shape))
    grad = terms.grad.reshape(-1)
    slope = entropy_slope(columns.weight.reshape(-1), terms.live.reshape(-1), objective, dtype)
    moving = rows if slope is not None else rows[grad[rows] != 0]

    def known(part: Tensor, soft: Softmax) -> tuple[Tensor, Tensor | None]:
        return grad[part], None if slope is None else slope[part]

    if not any(want):
        moving = moving[:0]
    grads = sweep(flat, head, ids, moving, rows[:0], known, objective.temperature, want)
    return terms.loss, terms.stats, _shaped(grads, hidden)


def entropy_slope(weight: Tensor, live: Tensor, objective: Objective, dtype: torch.dtype) -> Tensor | None:
    """dL/dH [n], or None without an entropy bonus."""
    if objective.entropy_coef == 0:
        return None
    return torch.where(live, -objective.entropy_coef * weight.to(dtype), 0)


def _shaped(grads: Sweep, hidden: Tensor) -> Sweep:
    return grads if grads.d_hidden is None else grads._replace(d_hidden=grads.d_hidden.view(hidden.shape))
