"""Triton beneath level (a). The torch reference is `tokens.evaluate`; every function here has its namesake there.

    token_kernel       one program for BLOCK tokens       ratio per token
    completion_kernel  one program for a completion       ratio per completion: its log-ratio, then what its tokens share, then the tokens

Both write dL/dlogp and one row of partial sums a program; rows are added in fixed order, in float64, on the way to `Stats`.
There is no atomic anywhere: the same call gives the same bits.
"""

# ruff: noqa: SIM108  (a branch on a constant must be an if statement, or both sides are compiled)
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import run
from .objective import KLS, SURROGATES, Objective
from .stats import KINDS, PEAKS, SUMS, Stats
from .tokens import CLAMP, SERIES, Columns, Terms

SUMMED = 1 + sum(
    len(KINDS[k]) for k in ("token", "target", "ratio", "reference", "sampler", "logits")
)  # the loss, then SUMS in order
WIDTH = SUMMED + len(PEAKS)
BLOCK = 1024
# Columns of a sliced batch start anywhere: promising the compiler an alignment would cost a compilation each time it changes.
COLUMNS = ["l_ptr", "o_ptr", "q_ptr", "s_ptr", "a_ptr", "w_ptr", "h_ptr", "top1_ptr", "g_ptr", "out_ptr"]

_CLAMP: tl.constexpr = tl.constexpr(CLAMP)
_SERIES: tl.constexpr = tl.constexpr(SERIES)
_WIDTH: tl.constexpr = tl.constexpr(WIDTH)
_SUMMED: tl.constexpr = tl.constexpr(SUMMED)
_LANES: tl.constexpr = tl.constexpr(32)


@triton.jit
def clamped(x, low, high):  # tl.clamp drops a NaN, this passes it on
    return tl.where(x > high, high, tl.where(x < low, low, x))


@triton.jit
def k3(x):
    series = x * x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * (1 + x / 8 * (1 + x / 9)))))))
    return tl.where(tl.abs(x) < _SERIES, series, tl.exp(x) - 1 - x)


@triton.jit
def surrogate(d, l, a, lo, hi, cap, tau_pos, tau_neg, SURROGATE: tl.constexpr):
    """P and dP/d(log-ratio)."""
    r = tl.exp(d)
    if SURROGATE == "reinforce":
        value = -a * l
        slope = -a
    elif SURROGATE == "cispo":
        slope = -clamped(r, lo, hi) * a
        value = slope * l
    elif SURROGATE == "sapo":
        tau = tl.where(a > 0, tau_pos, tau_neg)
        gate = tl.sigmoid(tau * (r - 1))
        closed = tl.sigmoid(tau * (1 - r))
        value = -a * gate * 4 / tau
        slope = -a * 4 * (r * gate * closed)
    else:
        used = tl.where(a > 0, tl.where(r > hi, hi, r), clamped(tl.where(r < lo, lo, r), 0.0, cap))
        inside = tl.where(a > 0, r <= hi, (r >= lo) & (r <= cap))
        value = -used * a
        slope = tl.where(inside, -r * a, 0.0)
    return value, slope


@triton.jit
def divergence(x, r, KL: tl.constexpr, CORRECTED: tl.constexpr):
    """K and dK/dl."""
    if KL == "k1":
        value = -x
        slope = tl.where(x == x, 1.0, x)
    elif KL == "k2":
        value = x * x / 2
        slope = -x
    else:
        value = k3(x)
        slope = -(value + x)  # -(e^x - 1), precise where k3 is
    if CORRECTED:
        slope = r * (value + slope)
        value = r * value
    return value, slope


@triton.jit
def columns(l, w, inside, at, o_ptr, q_ptr, s_ptr, a_ptr):
    """The other columns of tokens whose log-probability and weight are known: (l, o, x = q - l, rho, a, live, nonfinite).
    Where a token is not live all are 0 (rho 1), and where its weight is 0 nothing was read."""
    learned = inside & (w != 0)
    infinite = tl.abs(l) == float("inf")
    nonfinite = (l - l) != 0
    a = tl.load(a_ptr + at, mask=learned, other=0.0).to(tl.float32)
    o = l
    if o_ptr is not None:
        o = tl.load(o_ptr + at, mask=learned, other=0.0).to(tl.float32)
        infinite = infinite | (tl.abs(o) == float("inf"))
        nonfinite = nonfinite | ((o - o) != 0)
    q = l
    if q_ptr is not None:
        q = tl.load(q_ptr + at, mask=learned, other=0.0).to(tl.float32)
        infinite = infinite | (tl.abs(q) == float("inf"))
        nonfinite = nonfinite | ((q - q) != 0)
    s = o
    if s_ptr is not None:
        s = tl.load(s_ptr + at, mask=learned, other=0.0).to(tl.float32)
        infinite = infinite | (tl.abs(s) == float("inf"))
        nonfinite = nonfinite | ((s - s) != 0)
    live = learned & (infinite == 0)
    l = tl.where(live, l, 0.0)
    o = tl.where(live, o, 0.0)
    x = clamped(tl.where(live, q, 0.0) - l, -_CLAMP, _CLAMP)
    rho = tl.exp(clamped(o - tl.where(live, s, 0.0), -_CLAMP, _CLAMP))
    return l, o, x, rho, tl.where(live, a, 0.0), live, learned & nonfinite


@triton.jit
def kl_terms(w, x, d, beta, KL: tl.constexpr, CORRECTED: tl.constexpr):
    """w beta K and its slope; zeros without a KL term."""
    if KL == "none":
        value = tl.zeros_like(w)
        slope = tl.zeros_like(w)
    else:
        value, slope = divergence(x, tl.exp(d), KL, CORRECTED)
        value = w * beta * value
        slope = w * beta * slope
    return value, slope


@triton.jit
def put(figures, place: tl.constexpr, value):
    return tl.where(tl.arange(0, _LANES) == place, value, figures)


@triton.jit
def figures_of(loss, l, d, used, a, x, rho, live, nonfinite, zero, h, top1, lo, hi, tis_cap):
    """This block's sums and maxima as one vector [LANES]: the loss, then the order of Stats.SUMS and PEAKS."""
    r = tl.exp(used)
    one = tl.where(live, 1.0, 0.0)
    v = tl.zeros([_LANES], tl.float32)
    v = put(v, 0, tl.sum(loss))
    v = put(v, 1, tl.sum(one))
    v = put(v, 2, tl.sum(tl.where(nonfinite, 1.0, 0.0)))
    v = put(v, 3, tl.sum(l))
    v = put(v, 4, tl.sum(tl.where(zero, one, 0.0)))
    v = put(v, 5, tl.sum(r * one))
    v = put(v, 6, tl.sum(tl.abs(used) * one))
    v = put(v, 7, tl.sum(k3(d)))
    v = put(v, 8, tl.sum(tl.where((r < lo) & (a < 0), one, 0.0)))
    v = put(v, 9, tl.sum(tl.where((r > hi) & (a > 0), one, 0.0)))
    v = put(v, 10, tl.sum(-x))
    v = put(v, 11, tl.sum(k3(x)))
    v = put(v, 12, tl.sum(rho * one))
    v = put(v, 13, tl.sum(tl.where(rho > tis_cap, one, 0.0)))
    v = put(v, 14, tl.sum(tl.where(live, h, 0.0)))
    v = put(v, 15, tl.sum(tl.where(live, top1, 0.0)))
    v = put(v, 16, tl.max(tl.where(live, r, float("-inf"))))
    v = put(v, 17, tl.max(tl.where(live, -r, float("-inf"))))
    v = put(v, 18, tl.max(tl.where(live, rho, float("-inf"))))
    v = put(v, 19, tl.max(tl.where(live, -rho, float("-inf"))))
    return v


@triton.jit
def merged(figures, more):
    return tl.where(tl.arange(0, _LANES) < _SUMMED, figures + more, tl.maximum(figures, more))


@triton.jit
def store_figures(out_ptr, row, figures):
    lane = tl.arange(0, _LANES)
    tl.store(out_ptr + row * _WIDTH + lane, figures, mask=lane < _WIDTH)


@triton.jit
def read_optional(ptr, at, mask, like):
    if ptr is None:
        value = tl.zeros_like(like)
    else:
        value = tl.load(ptr + at, mask=mask, other=0.0).to(tl.float32)
    return value


@triton.jit(do_not_specialize=["N"], do_not_specialize_on_alignment=COLUMNS)
def token_kernel(l_ptr, o_ptr, q_ptr, s_ptr, a_ptr, w_ptr, h_ptr, top1_ptr, g_ptr, out_ptr, N,
                 lo, hi, cap, tau_pos, tau_neg, beta, entropy_coef, tis_cap,
                 SURROGATE: tl.constexpr, KL: tl.constexpr, CORRECTED: tl.constexpr, TIS: tl.constexpr, BONUS: tl.constexpr,
                 BLOCK: tl.constexpr):  # fmt: skip
    """Tokens are read at int64 offsets; N is a runtime number, so that a new batch is not a new compilation."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < N
    w = tl.load(w_ptr + at, mask=inside, other=0.0).to(tl.float32)
    l = tl.load(l_ptr + at, mask=inside & (w != 0), other=0.0).to(tl.float32)
    l, o, x, rho, a, live, nonfinite = columns(l, w, inside, at, o_ptr, q_ptr, s_ptr, a_ptr)
    w = tl.where(live, w, 0.0)
    d = clamped(l - o, -_CLAMP, _CLAMP)
    value, slope = surrogate(d, l, a, lo, hi, cap, tau_pos, tau_neg, SURROGATE)
    w_policy = w
    if TIS:
        w_policy = w * tl.where(rho > tis_cap, tis_cap, rho)
    kl, kl_slope = kl_terms(w, x, d, beta, KL, CORRECTED)
    h = read_optional(h_ptr, at, live, w)
    loss = w_policy * value + kl
    g = w_policy * slope + kl_slope
    zero = g == 0
    if BONUS:
        loss -= entropy_coef * w * h
        zero = g != g
    if g_ptr is not None:
        tl.store(g_ptr + at, g, mask=inside)
    top1 = read_optional(top1_ptr, at, live, w)
    figures = figures_of(loss, l, d, d, a, x, rho, live, nonfinite, zero, h, top1, lo, hi, tis_cap)
    store_figures(out_ptr, tl.program_id(0).to(tl.int64), figures)


@triton.jit(do_not_specialize=["T"], do_not_specialize_on_alignment=COLUMNS)
def completion_kernel(l_ptr, o_ptr, q_ptr, s_ptr, a_ptr, w_ptr, h_ptr, top1_ptr, g_ptr, out_ptr, T,
                      lo, hi, cap, tau_pos, tau_neg, beta, entropy_coef, tis_cap,
                      SURROGATE: tl.constexpr, KL: tl.constexpr, CORRECTED: tl.constexpr, TIS: tl.constexpr, BONUS: tl.constexpr,
                      MEAN: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Rows of [B, T], three readings of each: they fit the cache. MEAN divides the log-ratio by the row's learned tokens."""
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BLOCK], tl.float32)
    count = tl.zeros([BLOCK], tl.float32)
    for start in range(0, T, BLOCK):
        t = start + tl.arange(0, BLOCK)
        inside = t < T
        at = row * T + t
        w = tl.load(w_ptr + at, mask=inside, other=0.0).to(tl.float32)
        l = tl.load(l_ptr + at, mask=inside & (w != 0), other=0.0).to(tl.float32)
        l, o, _x, _rho, _a, live, _n = columns(l, w, inside, at, o_ptr, q_ptr, s_ptr, a_ptr)
        total += l - o
        count += tl.where(live, 1.0, 0.0)
    share = 1.0
    if MEAN:
        share = 1.0 / tl.maximum(tl.sum(count), 1.0)
    log_ratio = clamped(tl.sum(total) * share, -_CLAMP, _CLAMP)

    coupled = tl.zeros([BLOCK], tl.float32)
    for start in range(0, T, BLOCK):
        t = start + tl.arange(0, BLOCK)
        inside = t < T
        at = row * T + t
        w = tl.load(w_ptr + at, mask=inside, other=0.0).to(tl.float32)
        l = tl.load(l_ptr + at, mask=inside & (w != 0), other=0.0).to(tl.float32)
        l, _o, _x, rho, a, live, _n = columns(l, w, inside, at, o_ptr, q_ptr, s_ptr, a_ptr)
        _v, slope = surrogate(log_ratio + tl.zeros_like(l), l, a, lo, hi, cap, tau_pos, tau_neg, SURROGATE)
        w = tl.where(live, w, 0.0)
        if TIS:
            w = w * tl.where(rho > tis_cap, tis_cap, rho)
        coupled += w * slope
    shared = tl.sum(coupled) * share

    figures = tl.where(tl.arange(0, _LANES) < _SUMMED, 0.0, float("-inf"))
    for start in range(0, T, BLOCK):
        t = start + tl.arange(0, BLOCK)
        inside = t < T
        at = row * T + t
        w = tl.load(w_ptr + at, mask=inside, other=0.0).to(tl.float32)
        l = tl.load(l_ptr + at, mask=inside & (w != 0), other=0.0).to(tl.float32)
        l, o, x, rho, a, live, nonfinite = columns(l, w, inside, at, o_ptr, q_ptr, s_ptr, a_ptr)
        w = tl.where(live, w, 0.0)
        d = clamped(l - o, -_CLAMP, _CLAMP)
        used = log_ratio + tl.zeros_like(d)
        value, _slope = surrogate(used, l, a, lo, hi, cap, tau_pos, tau_neg, SURROGATE)
        w_policy = w
        if TIS:
            w_policy = w * tl.where(rho > tis_cap, tis_cap, rho)
        kl, kl_slope = kl_terms(w, x, d, beta, KL, CORRECTED)
        h = read_optional(h_ptr, at, live, w)
        loss = w_policy * value + kl
        g = tl.where(live, shared, 0.0) + kl_slope
        zero = g == 0
        if BONUS:
            loss -= entropy_coef * w * h
            zero = g != g
        if g_ptr is not None:
            tl.store(g_ptr + at, g, mask=inside)
        top1 = read_optional(top1_ptr, at, live, w)
        figures = merged(figures, figures_of(loss, l, d, used, a, x, rho, live, nonfinite, zero, h, top1, lo, hi, tis_cap))
    store_figures(out_ptr, row, figures)


def switches(objective: Objective) -> tuple[list[float], dict[str, Any]]:
    """Coefficients (runtime fp32: a new epsilon is not a new compilation) and the constants that choose the formula."""
    lo, hi = objective.bounds
    tau_pos, tau_neg = objective.taus
    cap = float("inf") if objective.dual_clip is None else objective.dual_clip
    tis = float("inf") if objective.tis_cap is None else objective.tis_cap
    numbers = [lo, hi, cap, tau_pos, tau_neg, objective.beta, objective.entropy_coef, tis]
    assert objective.surrogate in SURROGATES
    assert objective.kl in KLS
    formula: dict[str, Any] = {"SURROGATE": objective.surrogate, "KL": objective.kl, "CORRECTED": objective.importance_corrected_kl,
               "TIS": objective.tis_cap is not None, "BONUS": objective.entropy_coef > 0}  # fmt: skip
    return [float(n) for n in numbers], formula


def flat(t: Tensor | None) -> Tensor | None:
    """A contiguous vector: a strided or broadcast input is copied, never misread."""
    return None if t is None else t.reshape(-1).contiguous()


def evaluate(
    logp: Tensor,
    columns_: Columns,
    objective: Objective,
    *,
    entropy: Tensor | None = None,
    top1: Tensor | None = None,
    kinds: tuple[str, ...] = ("token", "target", "ratio"),
    want_grad: bool = True,
) -> Terms:
    """`tokens.evaluate` for logp [B, T] (a vector of tokens is one row); Terms.live is `weight != 0`."""
    old, ref, sampler, advantage, weight = (flat(c) for c in columns_)
    l = logp.reshape(-1).contiguous()
    assert weight is not None
    grad = torch.empty(l.shape, dtype=torch.float32, device=l.device) if want_grad else None
    numbers, formula = switches(objective)
    given = (l, old, ref, sampler, advantage, weight, flat(entropy), flat(top1), grad)
    if objective.ratio == "token":
        programs = triton.cdiv(l.numel(), BLOCK)
        out = torch.empty(programs, WIDTH, dtype=torch.float32, device=l.device)
        run(token_kernel, programs, l.device, *given, out, l.numel(), *numbers, **formula, BLOCK=BLOCK)
    else:
        B, T = logp.shape
        out = torch.empty(B, WIDTH, dtype=torch.float32, device=l.device)
        mean = objective.ratio == "sequence_mean"
        run(completion_kernel, B, l.device, *given, out, T, *numbers, **formula, MEAN=mean, BLOCK=BLOCK)
    present = {*kinds, *(["reference"] if ref is not None else []), *(["sampler"] if sampler is not None else [])}
    loss, stats = gather(out, frozenset(present | ({"logits"} if entropy is not None else set())))
    return Terms(loss, grad if grad is None else grad.view(logp.shape), columns_.weight != 0, stats)  # type: ignore[arg-type]


def gather(out: Tensor, kinds: frozenset[str]) -> tuple[Tensor, Stats]:
    """Partial rows [P, WIDTH] -> the loss (fp32) and the statistics, added in float64."""
    sums = out.new_zeros(1 + len(SUMS), dtype=torch.float64)
    sums[:SUMMED] = out[:, :SUMMED].sum(0, dtype=torch.float64)
    peaks = out.new_full((len(PEAKS),), -torch.inf) if out.shape[0] == 0 else out[:, SUMMED:].amax(0)
    for kind, names in KINDS.items():  # what was not given was computed from zeros
        if kind not in kinds:
            first = 1 + SUMS.index(names[0])
            sums[first : first + len(names)] = 0
    return sums[0].float(), Stats(sums[1:], peaks.double(), kinds)
