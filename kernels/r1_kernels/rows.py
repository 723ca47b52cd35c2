"""Rows of logits made, used and dropped a chunk at a time: the machinery beneath every loss that starts at hidden states.

    hidden [n, H] ─┬─▶ logits chunk [C, V] ─▶ softmax ─▶ logp, entropy ─▶ rule ─▶ dL/dlogp, dL/dH
    head   [V, H] ─┘        fp32, one at a time                                        │
                            d logits [C, V], in place  ◀───────────────────────────────┘
                     d hidden [C, H] = d logits @ head     d head [V, H] += d logits^T @ hidden

The gradient is made in the forward pass, while the chunk is still there: no second product, and never more than one chunk.
Logits stay in fp32 whatever the weights are in: rounded to bf16 they are wrong by as much as the clip range is wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .stats import Stats

BUDGET = 64 * 2**20  # bytes of one fp32 logits chunk
VOCAB_BLOCK = 8192  # rows of a low-precision head that are widened at a time on a CPU


def accumulator(*tensors: Tensor) -> torch.dtype:
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def chunk_rows(vocabulary: int, dtype: torch.dtype) -> int:
    return max(1, BUDGET // (max(vocabulary, 1) * dtype.itemsize))


def project(hidden: Tensor, head: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """[C, H], [V, H] -> logits [C, V] in `dtype`, never rounded on the way."""
    if hidden.dtype == head.dtype == dtype:
        return torch.mm(hidden, head.T, out=out)
    if hidden.is_cuda and hidden.dtype == head.dtype:
        return torch.mm(hidden, head.T, out_dtype=dtype, out=out)
    hidden = hidden.to(dtype)
    out = hidden.new_empty(hidden.shape[0], head.shape[0]) if out is None else out
    for v in range(0, head.shape[0], VOCAB_BLOCK):
        torch.mm(hidden, head[v : v + VOCAB_BLOCK].to(dtype).T, out=out[:, v : v + VOCAB_BLOCK])
    return out


def project_back(d_logits: Tensor, head: Tensor) -> Tensor:
    """[C, V], [V, H] -> [C, H] in the dtype of d_logits (on a GPU with a bf16 head: in bf16, summed in fp32)."""
    if head.dtype == d_logits.dtype and (d_logits.is_cuda or head.dtype.itemsize >= 4):
        return d_logits @ head
    if d_logits.is_cuda:
        return d_logits.to(head.dtype) @ head
    d_logits = d_logits.float() if d_logits.dtype.itemsize < 4 else d_logits
    out = d_logits.new_zeros(d_logits.shape[0], head.shape[1])
    for v in range(0, head.shape[0], VOCAB_BLOCK):
        out.addmm_(d_logits[:, v : v + VOCAB_BLOCK], head[v : v + VOCAB_BLOCK].to(d_logits.dtype))
    return out


def add_outer(d_head: Tensor, d_logits: Tensor, hidden: Tensor) -> None:
    """d_head [V, H] += d_logits^T @ hidden; the sum over chunks stays in fp32 (rounding each chunk biases training)."""
    if d_logits.is_cuda and hidden.dtype != d_head.dtype:
        torch.addmm(d_head, d_logits.to(hidden.dtype).T, hidden, out_dtype=d_head.dtype, out=d_head)
    else:
        d_head.addmm_(d_logits.T.to(d_head.dtype), hidden.to(d_head.dtype))


class Softmax(NamedTuple):
    """What one pass over a chunk gives. logp, entropy, top1 [C]; z [C, V] logits minus their row maximum, p [C, V] = exp(z),
    s [C, 1] its row sum, log_s its logarithm."""

    logp: Tensor
    entropy: Tensor
    top1: Tensor
    z: Tensor
    p: Tensor
    s: Tensor
    log_s: Tensor

    def backward(self, targets: Tensor, g: Tensor, h: Tensor | None, inverse_temperature: float) -> Tensor:
        """d logits [C, V] = (g (1[target] - p) - h p (log p + H)) / T for g = dL/dlogp [C] and h = dL/dH [C] or None.

        Overwrites p (and z where h is given).
        """
        if h is None:
            d = self.p.mul_((-inverse_temperature * g)[:, None] / self.s)
        else:  # a banned token has z = -inf and p = 0; its product must be 0
            log_p = self.z.clamp_(min=-1e4).sub_(self.log_s)
            slope = log_p.add_(self.entropy[:, None]).mul_(h[:, None]).add_(g[:, None])
            d = self.p.mul_(slope).mul_(-inverse_temperature / self.s)
        return d.scatter_add_(1, targets[:, None], (g * inverse_temperature)[:, None])


def softmax(logits: Tensor, targets: Tensor, inverse_temperature: float = 1.0) -> Softmax:
    """Row softmax with the target's log-probability and the entropy; overwrites `logits`.

    The entropy is log s - sum(p z) / s with z shifted by the row maximum: unshifted, large logits cost it log2 |z| bits.
    """
    z = logits if inverse_temperature == 1.0 else logits.mul_(inverse_temperature)
    m = z.amax(1, keepdim=True)
    z = z.sub_(torch.where(m == -torch.inf, 0, m))
    z_target = z.gather(1, targets[:, None])
    p = z.exp()
    s = p.sum(1, keepdim=True)
    log_s = s.log()
    cross = torch.bmm(p[:, None], z[:, :, None])[:, :, 0]  # a dot product a row, without a [C, V] temporary
    if not bool(torch.isfinite(cross).all()):  # 0 * -inf of a banned token
        cross = torch.where(p > 0, p * z, 0).sum(1, keepdim=True)
    entropy = (log_s - cross / s).clamp(min=0)
    return Softmax((z_target - log_s)[:, 0], entropy[:, 0], z_target[:, 0] == 0, z, p, s, log_s)


class Sweep(NamedTuple):
    """Gradients of a pass: d_hidden [n, H] for the rows asked, d_head [V, H]; None where not wanted."""

    d_hidden: Tensor | None
    d_head: Tensor | None


# rule(rows, softmax) -> (dL/dlogp [C], dL/dH [C] or None): called for each chunk, keeps the loss and the statistics itself
Rule = Callable[[Tensor, Softmax], tuple[Tensor, Tensor | None]]


def sweep(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    rows: Tensor,
    dead: Tensor,
    rule: Rule,
    temperature: float,
    want: tuple[bool, bool],
) -> Sweep:
    """One pass over `rows` (gradients) and `dead` (figures only), both indices into hidden [N, H] and targets [N].

    `want` says whether hidden and head need gradients. d_hidden comes back [N, H], zero elsewhere.
    """
    dtype = accumulator(hidden, head)
    size, inverse = chunk_rows(head.shape[0], dtype), 1.0 / temperature
    d_hidden = torch.zeros_like(hidden) if want[0] else None
    d_head = torch.zeros_like(head, dtype=dtype) if want[1] else None
    for alive, part in [(True, c) for c in rows.split(size)] + [(False, c) for c in dead.split(size)]:
        if part.numel() == 0:
            continue
        h, y = hidden[part], targets[part]
        soft = softmax(project(h, head, dtype), y, inverse)
        g, slope = rule(part, soft)
        if not (alive and any(want)):
            continue
        d_logits = soft.backward(y, g, slope, inverse)
        if d_hidden is not None:
            d_hidden[part] = project_back(d_logits, head).to(hidden.dtype)
        if d_head is not None:
            add_outer(d_head, d_logits, h)
    return Sweep(d_hidden, d_head)


def one_precision(hidden: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
    """On a GPU a product needs one dtype: the narrower of the two, as autocast would choose (fp32 master weights, bf16 states)."""
    if not hidden.is_cuda or hidden.dtype == head.dtype:
        return hidden, head
    narrow = min(hidden.dtype, head.dtype, key=lambda d: d.itemsize)
    return hidden.to(narrow), head.to(narrow)


def differentiable(hidden: Tensor, head: Tensor, run: Callable) -> tuple[Tensor, Stats]:
    """run((hidden wants a gradient, head wants one)) -> (loss, Stats, Sweep), wrapped as one autograd node."""
    return GradientInForward.apply(hidden, head, run, torch.is_grad_enabled())


class GradientInForward(torch.autograd.Function):
    """The gradients are made at once and multiplied by the upstream gradient later."""

    @staticmethod
    def forward(ctx, hidden, head, run, wanted):
        with torch.autocast(hidden.device.type, enabled=False):  # autocast would round the logits to bf16
            loss, stats, grads = run(ctx.needs_input_grad[:2] if wanted else (False, False))
        ctx.grads = tuple(None if g is None else g.to(t.dtype) for g, t in zip(grads, (hidden, head)))
        return loss, stats

    @staticmethod
    def backward(ctx, upstream, _):
        if ctx.grads is None:
            raise RuntimeError(
                "this loss was already differentiated: its gradients are scaled in place, call it again for a second backward"
            )
        grads, ctx.grads = ctx.grads, None
        return *(None if g is None else g.mul_(upstream.to(g.dtype)) for g in grads), None, None


def check_rows(hidden: Tensor, head: Tensor, targets: Tensor | None, weight: Tensor) -> None:
    if hidden.dim() != 3:
        raise ValueError(f"hidden must be [B, T, H], got {list(hidden.shape)}")
    B, T, H = hidden.shape
    if head.dim() != 2 or head.shape[1] != H:
        raise ValueError(f"head_weight must be [V, H] with H = {H} of hidden, got {list(head.shape)}")
    for name, t in (("targets", targets), ("weight", weight)):
        if t is not None and t.shape != (B, T):
            raise ValueError(f"{name} must be [B, T] = [{B}, {T}], got {list(t.shape)}")


def check_targets(targets: Tensor, vocabulary: int) -> None:
    """`targets` of learned rows only. On a GPU the kernel's own bound check stands in: this would wait for the device."""
    if targets.numel() and not targets.is_cuda and not (int(targets.min()) >= 0 and int(targets.max()) < vocabulary):
        raise ValueError(
            f"targets of learned tokens must be in [0, V) = [0, {vocabulary}), got {int(targets.min())} .. {int(targets.max())}"
        )
