"""Triton beneath `linear_logps`: log-probability and entropy straight from hidden states, no logits in memory at all.

    for each vocabulary tile:  acc = hidden tile @ head tile^T  (fp32, never rounded);  softmax state absorbs acc / T
    logp = z[target] - lse;  H = lse - sum(p z)

A program owns BM rows and one of SPLITS ranges of the vocabulary; the ranges' states are merged in fixed order by a second
kernel. The number of ranges is a constant and not the number of processors, so that two machines agree in every bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import interpreted, run

# Without a spilled register on sm_80, sm_90, sm_100 and gfx942 (the compile test reads it from the binaries); AMD has 64 KiB of
# shared memory, which is two stages, and fp32 tiles are twice as large.
CONFIG = {"BM": 64, "BN": 128, "BK": 64, "num_warps": 8, "num_stages": 4}
TWO_STAGES = {"num_stages": 2}
SPLITS = 4
_LOWEST: tl.constexpr = tl.constexpr(-1e30)


@triton.jit
def merge_state(m, s, e, m2, s2, e2):
    """Two softmax states (maximum, sum exp, sum exp * shifted logit) as one."""
    top = tl.maximum(m, m2)
    f, f2 = tl.exp(m - top), tl.exp(m2 - top)
    return top, s * f + s2 * f2, f * (e + s * (m - top)) + f2 * (e2 + s2 * (m2 - top))


@triton.jit(do_not_specialize=["N"], do_not_specialize_on_alignment=["y_ptr", "out_ptr"])
def stream_kernel(h_ptr, h_stride, w_ptr, w_stride, y_ptr, out_ptr, N, V, H, inverse_temperature,
                  WIDEN: tl.constexpr, SPLITS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):  # fmt: skip
    """out [4, SPLITS, N]: maximum, sum, weighted sum, the target's logit (or -inf where it is in another range)."""
    blocks = tl.cdiv(N, BM)
    pid = tl.program_id(0)
    split = pid // blocks
    start = (pid % blocks).to(tl.int64) * BM
    row = tl.arange(0, BM)
    inside = start + row < N
    target = tl.load(y_ptr + start + row, mask=inside, other=-1).to(tl.int32)
    h = h_ptr + start * h_stride  # int64 once; inside the tile int32 offsets are enough and save registers
    m = tl.full([BM], _LOWEST, tl.float32)
    s = tl.zeros([BM], tl.float32)
    e = tl.zeros([BM], tl.float32)
    picked = tl.full([BM], float("-inf"), tl.float32)
    tiles = tl.cdiv(tl.cdiv(V, BN), SPLITS)
    for tile in range(split * tiles, (split + 1) * tiles):
        col = tl.arange(0, BN)
        base = tile * BN
        w = w_ptr + base.to(tl.int64) * w_stride
        acc = tl.zeros([BM, BN], tl.float32)
        for k in range(0, H, BK):
            ks = k + tl.arange(0, BK)
            a = tl.load(h + row[:, None] * h_stride + ks[None, :], mask=inside[:, None] & (ks < H)[None, :], other=0.0)
            b = tl.load(w + col[:, None] * w_stride + ks[None, :], mask=(base + col < V)[:, None] & (ks < H)[None, :], other=0.0)
            if WIDEN:  # the interpreter multiplies bf16 as if it were integers
                a, b = a.to(tl.float32), b.to(tl.float32)
            acc = tl.dot(a, tl.trans(b), acc, input_precision="ieee")
        z = tl.where((base + col < V)[None, :], acc * inverse_temperature, float("-inf"))
        high = tl.maximum(tl.max(z, 1), _LOWEST)
        shifted = tl.where(z == float("-inf"), 0.0, z - high[:, None])
        p = tl.where(z == float("-inf"), 0.0, tl.exp(shifted))
        m, s, e = merge_state(m, s, e, high, tl.sum(p, 1), tl.sum(p * shifted, 1))
        hit = (base + col)[None, :] == target[:, None]
        picked = tl.maximum(picked, tl.max(tl.where(hit, z, float("-inf")), 1))
    out = out_ptr + split.to(tl.int64) * N + start + row
    plane = tl.cast(SPLITS, tl.int64) * N
    tl.store(out, m, mask=inside)
    tl.store(out + plane, s, mask=inside)
    tl.store(out + 2 * plane, e, mask=inside)
    tl.store(out + 3 * plane, picked, mask=inside)


@triton.jit(do_not_specialize=["N"], do_not_specialize_on_alignment=["out_ptr", "y_ptr", "l_ptr", "entropy_ptr"])
def merge_kernel(out_ptr, y_ptr, l_ptr, entropy_ptr, N, V, SPLITS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < N
    plane = tl.cast(SPLITS, tl.int64) * N
    m = tl.full([BLOCK], _LOWEST, tl.float32)
    s = tl.zeros([BLOCK], tl.float32)
    e = tl.zeros([BLOCK], tl.float32)
    picked = tl.full([BLOCK], float("-inf"), tl.float32)
    for split in tl.static_range(SPLITS):
        part = out_ptr + split * tl.cast(N, tl.int64) + at
        m2 = tl.load(part, mask=inside, other=0.0)
        s2 = tl.load(part + plane, mask=inside, other=1.0)
        e2 = tl.load(part + 2 * plane, mask=inside, other=0.0)
        m, s, e = merge_state(m, s, e, m2, s2, e2)
        picked = tl.maximum(picked, tl.load(part + 3 * plane, mask=inside, other=0.0))
    target = tl.load(y_ptr + at, mask=inside, other=0)
    known = (target >= 0) & (target < V)
    log_s = tl.log(s)
    tl.store(l_ptr + at, tl.where(known, (picked - m) - log_s, float("nan")), mask=inside)
    tl.store(entropy_ptr + at, tl.maximum(log_s - e / s, 0.0, propagate_nan=tl.PropagateNan.ALL), mask=inside)


def stream_logps(
    hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, splits: int = SPLITS, **config: int
) -> tuple[Tensor, Tensor]:
    """hidden [N, H], head [V, H] of one dtype, targets [N] -> (logp, entropy) [N] fp32."""
    (N, H), V = hidden.shape, head.shape[0]
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    head = head if head.stride(1) == 1 else head.contiguous()
    targets = targets.contiguous()
    config = CONFIG | (TWO_STAGES if torch.version.hip or hidden.element_size() == 4 else {}) | config
    out = torch.empty(4, splits, N, dtype=torch.float32, device=hidden.device)
    programs = triton.cdiv(N, config["BM"]) * splits
    run(stream_kernel, programs, hidden.device, hidden, hidden.stride(0), head, head.stride(0), targets, out, N, V, H, 1.0 / temperature,
        WIDEN=interpreted(), SPLITS=splits, **config)  # fmt: skip
    logp, entropy = (torch.empty(N, dtype=torch.float32, device=hidden.device) for _ in range(2))
    run(merge_kernel, triton.cdiv(N, 1024), hidden.device, out, targets, logp, entropy, N, V, SPLITS=splits, BLOCK=1024)
    return logp, entropy
