"""Triton beneath levels (b) and (c): one program reads one row of logits and, in place, leaves its gradient.

The torch reference in ten lines (`rows.softmax`, `tokens.evaluate`, `Softmax.backward`):

    z = logits / T;  lse = logsumexp(z);  logp = z[target] - lse;  p = exp(z - lse);  H = -sum(p log p)
    g, h = dL/dlogp, dL/dH                          from the objective, or handed in
    d logits = (g (1[target] - p) - h p (log p + H)) / T

The second reading of a row comes from the L2 cache as long as few rows are in flight. Nothing is rounded before the softmax;
with NARROW the gradient is stored as bf16 into the front half of the fp32 row it came from: byte 2c is written after byte 4c
was read by every warp (the barrier), and one program owns the whole row.
"""

# ruff: noqa: SIM108  (a branch on a constant must be an if statement, or both sides are compiled)
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .kernel_tokens import clamped, columns, flat, kl_terms, surrogate, switches
from .launch import run
from .objective import Objective
from .tokens import CLAMP, Columns

BLOCK = 4096
KL_BLOCK = 2048  # two rows of logits and three sums are alive: 4096 spills on sm_100
VECTORS = [
    "rows_ptr",
    "y_ptr",
    "l_ptr",
    "h_ptr",
    "top1_ptr",
    "g_ptr",
    "slope_ptr",
    "o_ptr",
    "q_ptr",
    "s_ptr",
    "a_ptr",
    "w_ptr",
    "value_ptr",
    "th_ptr",
    "agree_ptr",
]  # fmt: skip  (one number a row: read and written wherever they lie)
_CLAMP: tl.constexpr = tl.constexpr(CLAMP)
_LOWEST: tl.constexpr = tl.constexpr(-1e30)  # a running maximum that -inf - maximum cannot turn into NaN


@triton.jit
def absorb(x, m, s, e):
    """Online softmax, one running state a lane and one exp an element: s = sum exp(z - m), e = sum exp(z - m) (z - m)."""
    banned = x == float("-inf")
    delta = tl.where(banned, 0.0, x - m)
    t = tl.where(banned, 0.0, tl.exp(-tl.abs(delta)))
    higher = delta > 0
    e = tl.where(higher, (e - s * delta) * t, e + t * delta)
    s = tl.where(higher, s * t + 1.0, s + t)
    return tl.where(higher, x, m), s, e


@triton.jit
def reduce_state(m, s, e):
    """The lanes' states as one: (maximum, log sum, entropy)."""
    top = tl.max(m)
    delta = m - top
    f = tl.exp(delta)
    total = tl.sum(s * f)
    log_total = tl.log(total)
    return top, log_total, tl.maximum(log_total - tl.sum(f * (e + s * delta)) / total, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def row_state(z, V, inverse_temperature, BLOCK: tl.constexpr):
    """(maximum, log sum, entropy) of softmax(z / T): full blocks without a mask (wide loads), then the ragged tail."""
    lane = tl.arange(0, BLOCK)
    m = tl.full([BLOCK], _LOWEST, tl.float32)
    s = tl.zeros([BLOCK], tl.float32)
    e = tl.zeros([BLOCK], tl.float32)
    full = V // BLOCK * BLOCK
    for start in range(0, full, BLOCK):
        x = tl.load(z + start + lane).to(tl.float32) * inverse_temperature
        m, s, e = absorb(x, m, s, e)
    if full < V:
        x = tl.load(z + full + lane, mask=full + lane < V, other=float("-inf")).to(tl.float32) * inverse_temperature
        m, s, e = absorb(x, m, s, e)
    return reduce_state(m, s, e)


@triton.jit
def slope_of(x, col, target, lse, entropy, g, h, inverse_temperature, BONUS: tl.constexpr):
    """d logits of one block."""
    log_p = x - lse
    p = tl.exp(log_p)
    d = -g * p
    if BONUS:
        d -= h * p * (tl.where(p == 0, 0.0, log_p) + entropy)
    return inverse_temperature * tl.where(col == target, d + g, d)


@triton.jit
def store_slope(
    z, out, target, V, lse, entropy, g, h, inverse_temperature, BONUS: tl.constexpr, NARROW: tl.constexpr, BLOCK: tl.constexpr
):
    lane = tl.arange(0, BLOCK)
    full = V // BLOCK * BLOCK
    for start in range(0, full, BLOCK):
        x = tl.load(z + start + lane).to(tl.float32) * inverse_temperature
        d = slope_of(x, start + lane, target, lse, entropy, g, h, inverse_temperature, BONUS)
        if NARROW:
            tl.debug_barrier()
        tl.store(out + start + lane, d)
    if full < V:
        mask = full + lane < V
        x = tl.load(z + full + lane, mask=mask, other=float("-inf")).to(tl.float32) * inverse_temperature
        d = slope_of(x, full + lane, target, lse, entropy, g, h, inverse_temperature, BONUS)
        if NARROW:
            tl.debug_barrier()
        tl.store(out + full + lane, d, mask=mask)


@triton.jit(do_not_specialize=["first"], do_not_specialize_on_alignment=VECTORS)
def row_kernel(z_ptr, z_stride, d_ptr, d_stride, rows_ptr, first, y_ptr, l_ptr, h_ptr, top1_ptr, g_ptr, slope_ptr,
               o_ptr, q_ptr, s_ptr, a_ptr, w_ptr, V, inverse_temperature,
               lo, hi, cap, tau_pos, tau_neg, beta, entropy_coef, tis_cap,
               SURROGATE: tl.constexpr, KL: tl.constexpr, CORRECTED: tl.constexpr, TIS: tl.constexpr, BONUS: tl.constexpr,
               RULE: tl.constexpr, GATHER: tl.constexpr, NARROW: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Program i takes token rows[first + i] of the flat columns; its logits are row i of a chunk, or (GATHER) that row of all.

    RULE "figures" writes logp, entropy and top1; "objective" also the gradient that the columns give; "given" only the
    gradient, from dL/dlogp in g_ptr and dL/dH in slope_ptr. A target outside [0, V) makes its row NaN.
    """
    i = tl.program_id(0).to(tl.int64)
    at = tl.load(rows_ptr + first + i)
    place = i
    if GATHER:
        place = at
    z = z_ptr + place * z_stride
    out = d_ptr + place * d_stride
    target = tl.load(y_ptr + at)
    known = (target >= 0) & (target < V)
    z_target = tl.load(z + target, mask=known, other=float("nan")).to(tl.float32) * inverse_temperature
    top, log_total, entropy = row_state(z, V, inverse_temperature, BLOCK)
    l = (z_target - top) - log_total
    if RULE != "given":
        tl.store(l_ptr + at, l)
        tl.store(h_ptr + at, entropy)
        tl.store(top1_ptr + at, tl.where(z_target == top, 1.0, 0.0))
    if RULE == "given":
        g = tl.load(g_ptr + at)
        h = 0.0
        if BONUS:
            h = tl.load(slope_ptr + at)
        store_slope(z, out, target, V, top + log_total, entropy, g, h, inverse_temperature, BONUS, NARROW, BLOCK)
    if RULE == "objective":
        w = tl.load(w_ptr + at).to(tl.float32)
        l, o, x, rho, a, live, _n = columns(l, w, w != 0, at, o_ptr, q_ptr, s_ptr, a_ptr)
        w = tl.where(live, w, 0.0)
        d = clamped(l - o, -_CLAMP, _CLAMP)
        _v, slope = surrogate(d, l, a, lo, hi, cap, tau_pos, tau_neg, SURROGATE)
        _k, kl_slope = kl_terms(w, x, d, beta, KL, CORRECTED)
        if TIS:
            g = w * tl.where(rho > tis_cap, tis_cap, rho) * slope + kl_slope
        else:
            g = w * slope + kl_slope
        store_slope(z, out, target, V, top + log_total, entropy, g, -entropy_coef * w, inverse_temperature, BONUS, NARROW, BLOCK)


@triton.jit(do_not_specialize=["first"], do_not_specialize_on_alignment=VECTORS)
def kl_kernel(z_ptr, z_stride, t_ptr, t_stride, d_ptr, d_stride, rows_ptr, first, w_ptr, value_ptr, h_ptr, th_ptr, agree_ptr,
              V, inverse_temperature, b, KIND: tl.constexpr, GRAD: tl.constexpr, NARROW: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Divergence of the student's row i (z) from the teacher's (t): `imitation._divergence`. Readings: both rows for the two
    normalisers, both for the value, both for the gradient. `agree` is exact but for ties of the maximum."""
    i = tl.program_id(0).to(tl.int64)
    at = tl.load(rows_ptr + first + i)
    z = z_ptr + i * z_stride
    t = t_ptr + i * t_stride
    out = d_ptr + i * d_stride
    w = tl.load(w_ptr + at).to(tl.float32)
    top, log_total, entropy = row_state(z, V, inverse_temperature, BLOCK)
    t_top, t_log_total, t_entropy = row_state(t, V, inverse_temperature, BLOCK)
    lse = top + log_total
    t_lse = t_top + t_log_total
    lane = tl.arange(0, BLOCK)
    student = tl.zeros([BLOCK], tl.float32)  # sum of the student's terms, which its gradient needs
    teacher = tl.zeros([BLOCK], tl.float32)
    same = tl.zeros([BLOCK], tl.float32)
    for start in range(0, V, BLOCK):
        mask = start + lane < V
        x = tl.load(z + start + lane, mask=mask, other=float("-inf")).to(tl.float32) * inverse_temperature
        y = tl.load(t + start + lane, mask=mask, other=float("-inf")).to(tl.float32) * inverse_temperature
        ours, theirs, _p = parts(x - lse, y - t_lse, b, KIND)
        student += ours
        teacher += theirs
        same = tl.where((x == top) & (y == t_top) & mask, 1.0, same)
    inner = tl.sum(student)
    value = inner + tl.sum(teacher)
    if KIND == "jsd":
        value = (1 - b) * inner + b * tl.sum(teacher)
    tl.store(value_ptr + at, value)
    tl.store(h_ptr + at, entropy)
    tl.store(th_ptr + at, t_entropy)
    tl.store(agree_ptr + at, tl.max(same))
    if GRAD:
        scale = w * inverse_temperature
        if KIND == "jsd":
            scale = scale * (1 - b)
        for start in range(0, V, BLOCK):
            mask = start + lane < V
            x = tl.load(z + start + lane, mask=mask, other=float("-inf")).to(tl.float32) * inverse_temperature
            y = tl.load(t + start + lane, mask=mask, other=float("-inf")).to(tl.float32) * inverse_temperature
            ours, _theirs, p = parts(x - lse, y - t_lse, b, KIND)
            if KIND == "forward":
                d = p - tl.exp(y - t_lse)
            else:
                d = ours - p * inner
            if NARROW:
                tl.debug_barrier()
            tl.store(out + start + lane, scale * d, mask=mask)


@triton.jit
def parts(log_p, log_q, b, KIND: tl.constexpr):
    """Elementwise terms of the student's and of the teacher's divergence, and the student's p. 0 log 0 = 0."""
    p = tl.exp(log_p)
    q = tl.exp(log_q)
    if KIND == "forward":
        ours = tl.zeros_like(p)
        theirs = tl.where(q == 0, 0.0, q * (log_q - log_p))
    elif KIND == "reverse":
        ours = tl.where(p == 0, 0.0, p * (log_p - log_q))
        theirs = tl.zeros_like(p)
    else:
        log_m = tl.log(b * q + (1 - b) * p)
        ours = tl.where(p == 0, 0.0, p * (log_p - log_m))
        theirs = tl.where(q == 0, 0.0, q * (log_q - log_m))
    return ours, theirs, p


class RowColumns:
    """The flat vectors that a pass over rows reads and writes: made once a call, addressed by row index, never sliced (a
    sliced pointer has another alignment, and another alignment is another compilation)."""

    def __init__(
        self, targets: Tensor, columns_: Columns, objective: Objective, grad: Tensor | None = None, slope: Tensor | None = None
    ):
        n, device = targets.numel(), targets.device
        self.targets, self.columns, self.objective = flat(targets), [flat(c) for c in columns_], objective
        self.logp, self.entropy, self.top1 = (torch.zeros(n, dtype=torch.float32, device=device) for _ in range(3))
        self.grad, self.slope = grad, slope

    def launch(
        self, rule: str, logits: Tensor, d_logits: Tensor, rows: Tensor, first: int, count: int, *, gather: bool = False
    ) -> None:
        """`count` rows from rows[first]; d_logits may be the logits themselves, or their narrow view."""
        numbers, formula = switches(self.objective)
        narrow = d_logits.dtype != logits.dtype and d_logits.data_ptr() == logits.data_ptr()
        run(row_kernel, count, logits.device, logits, logits.stride(0), d_logits, d_logits.stride(0), rows, first,
            self.targets, self.logp, self.entropy, self.top1, self.grad, self.slope, *self.columns, logits.shape[1],
            1.0 / self.objective.temperature, *numbers, **(formula | {"BONUS": self.slope is not None} if rule == "given" else formula),
            RULE=rule, GATHER=gather, NARROW=narrow, BLOCK=BLOCK, num_warps=8, num_stages=1)  # fmt: skip
