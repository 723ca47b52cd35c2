"""What a loss saw, as sums and maxima that stay right when micro-batches of different size are added (never means of means)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# What a call can know, and the sums over its learned tokens (weight != 0, no infinite log-probability) that go with it.
KINDS = {
    "token": ("tokens", "nonfinite"),
    "target": ("logp", "zero_grad"),
    "ratio": ("ratio", "log_ratio_abs", "old_kl", "clip_low", "clip_high"),
    "reference": ("kl_k1", "kl_k3"),
    "sampler": ("rho", "truncated"),
    "logits": ("entropy", "top1"),
    "teacher": ("divergence", "teacher_entropy", "agreement"),
}
SUMS = tuple(name for names in KINDS.values() for name in names)
# Maxima; a minimum is the maximum of the negated value, so that one operation merges all.
PEAKS = ("ratio_max", "ratio_min_negated", "rho_max", "rho_min_negated")
COUNTS = {"tokens": "n_tokens", "nonfinite": "nonfinite"}
RENAMED = {"ratio": "ratio_mean", "rho": "rho_mean"}


@dataclass(frozen=True)
class Stats:
    """sums [len(SUMS)] and peaks [len(PEAKS)] in float64 on the loss's device, and the kinds of figure they hold.

    `+` merges two micro-batches (or chunks, or ranks): every mean is then over all their tokens.
    """

    sums: Tensor
    peaks: Tensor
    kinds: frozenset[str]

    @classmethod
    def of(cls, sums: dict[str, Tensor], peaks: dict[str, Tensor] | None = None) -> Stats:
        """From named 0-dim tensors; "tokens" is always among them, and naming one sum of a kind is having that kind."""
        peaks = peaks or {}
        assert {*sums, *peaks} <= {*SUMS, *PEAKS}, f"unknown figure in {sorted(sums)} {sorted(peaks)}"
        zero = torch.zeros_like(sums["tokens"], dtype=torch.float64)
        low = zero - torch.inf
        return cls(
            torch.stack([sums[n].to(torch.float64) if n in sums else zero for n in SUMS]),
            torch.stack([peaks[n].to(torch.float64) if n in peaks else low for n in PEAKS]),
            frozenset(kind for kind, names in KINDS.items() if any(n in sums for n in names)),
        )

    @classmethod
    def empty(cls, device: torch.device, kinds: Iterable[str] = ("token",)) -> Stats:
        peaks = torch.full((len(PEAKS),), -torch.inf, dtype=torch.float64, device=device)
        return cls(torch.zeros(len(SUMS), dtype=torch.float64, device=device), peaks, frozenset(kinds))

    def __add__(self, other: Stats) -> Stats:
        return Stats(self.sums + other.sums, torch.maximum(self.peaks, other.peaks), self.kinds | other.kinds)

    def to(self, device: torch.device | str) -> Stats:
        return Stats(self.sums.to(device), self.peaks.to(device), self.kinds)

    def as_dict(self) -> dict[str, float]:
        """Token means, minima and maxima as Python numbers, after one copy to the host. Figures the call could not know are
        left out (no reference: no KL); where there was not a single token they are 0.

        n_tokens, nonfinite                    counts; nonfinite: tokens with an infinite or NaN log-probability (the infinite
                                               ones were left out of the loss and of every mean)
        logp, entropy, top1                    of the policy at its targets; top1: share of targets that were the arg max
        zero_grad                              share of tokens whose loss gradient is exactly 0
        ratio_mean/min/max, log_ratio_abs      of the ratio that the surrogate used
        old_kl                                 k3 estimate of KL(old || policy) from the tokens' own ratios
        clip_low, clip_high, clip_region       share of tokens cut at the lower bound (A < 0), the upper (A > 0), either
        kl_k1, kl_k3                           estimates of KL(policy || reference)
        rho_mean/min/max, truncated            trainer over sampler, and the share that tis_cap cut
        divergence, teacher_entropy, agreement of `linear_kl`; agreement: share where the two arg maxes are the same
        """
        flat = torch.cat([self.sums, self.peaks]).cpu().tolist()
        sums, peaks = dict(zip(SUMS, flat)), dict(zip(PEAKS, flat[len(SUMS) :]))
        count = max(sums["tokens"], 1.0)
        out: dict[str, float] = {}
        for kind in (k for k in KINDS if k in self.kinds):
            for name in KINDS[kind]:
                out[COUNTS.get(name) or RENAMED.get(name, name)] = sums[name] if name in COUNTS else sums[name] / count
        if not sums["tokens"]:
            peaks = dict.fromkeys(peaks, 0.0)
        if "ratio" in self.kinds:
            out["clip_region"] = out["clip_low"] + out["clip_high"]
            out |= {"ratio_min": -peaks["ratio_min_negated"], "ratio_max": peaks["ratio_max"]}
        if "sampler" in self.kinds:
            out |= {"rho_min": -peaks["rho_min_negated"], "rho_max": peaks["rho_max"]}
        return out

    means = as_dict
