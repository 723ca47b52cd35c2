"""Every switch of the policy loss in one frozen record, and the combinations that have no meaning refused by name.

For a token with log-probability l (old policy o, reference q, sampler s), advantage A and weight w:

    d   = l - o                         log-ratio of the token; r = exp(d)
    rho = min(exp(o - s), tis_cap)      detached correction for a sampler that is not quite the trainer
    L   = sum w * (rho * P + beta * K) - entropy_coef * sum w * H

P is the surrogate, K the estimate of the divergence to the reference, H the entropy of the next-token distribution.
The weight carries every normaliser (`r1.losses.grpo`), so that nothing here knows how tokens are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Surrogate = Literal["clip", "cispo", "reinforce", "sapo"]
Ratio = Literal["token", "sequence_sum", "sequence_mean"]
KL = Literal["none", "k1", "k2", "k3"]
Fusion = Literal["linear", "logits", "token"]

SURROGATES = ("clip", "cispo", "reinforce", "sapo")
RATIOS = ("token", "sequence_sum", "sequence_mean")
KLS = ("none", "k1", "k2", "k3")
FUSIONS = ("linear", "logits", "token")


@dataclass(frozen=True)
class Objective:
    """What is minimised. Defaults: R1's clipped surrogate with 0.2 on both sides, per token, without a KL term.

    surrogate   clip       -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)                     (PPO eq. 7, R1 v1 eq. 1)
                cispo      -sg(clip(r, 1 - clip_low, 1 + clip_high)) A l: no token loses its gradient    (MiniMax-M1 eq. 4)
                reinforce  -A l
                sapo       -A (4 / tau) sigmoid(tau (r - 1)), tau = sapo_tau[0] where A > 0, else sapo_tau[1]        (SAPO)
    ratio       token          r of each token                                                    (DeepSeekMath eq. 3)
                sequence_sum   one r per completion, exp(sum d): pi(o|q) / pi_old(o|q) as R1's papers write it
                sequence_mean  one r per completion, exp(mean d)                                               (GSPO)
    clip_low    distance of the lower bound from 1, in [0, 1]; clip: 0.2 unless told; cispo: 1 (no lower bound) unless told
    clip_high   distance of the upper bound from 1; clip: as clip_low unless told; cispo: must be told (TRL's bound 5 is 4 here)
    dual_clip   where A < 0 the loss stops growing (and the gradient stops) at r > dual_clip          (dual-clip PPO, "delta")
    kl, beta    K with x = q - l: k1 = -x (a metric: as a loss its expected gradient is zero), k2 = x^2 / 2,
                k3 = e^x - 1 - x (R1 v1 eq. 2). Always per token, also where the ratio is per completion.
    importance_corrected_kl  K becomes r K with the token's own r, gradient through both                 (DeepSeek-V3.2)
                Also under a sequence ratio: the cross-token term of the other choice is nobody's divergence.
    entropy_coef  bonus on H, with the same weights w as the loss; needs logits, so `token_loss` refuses it
    temperature of the sampler, T > 0: every log-probability here is of softmax(z / T)
    tis_cap     C in rho = min(exp(o - s), C), on P and not on K; None: no correction, and sampler_logp is only measured
    fusion      the level at which `policy_loss` computes it; no number depends on it (see levels.py)
    """

    surrogate: Surrogate = "clip"
    ratio: Ratio = "token"
    clip_low: float | None = None
    clip_high: float | None = None
    dual_clip: float | None = None
    kl: KL = "none"
    beta: float = 0.0
    importance_corrected_kl: bool = False
    entropy_coef: float = 0.0
    temperature: float = 1.0
    tis_cap: float | None = None
    sapo_tau: Sequence[float] | None = None
    fusion: Fusion = "linear"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("surrogate", self.surrogate, SURROGATES),
            ("ratio", self.ratio, RATIOS),
            ("kl", self.kl, KLS),
            ("fusion", self.fusion, FUSIONS),
        ):
            if value not in known:
                raise ValueError(f"Objective.{name} must be one of {', '.join(known)}, got {value!r}")
        self._check_clip()
        self._check_kl()
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"Objective.temperature must be positive (it is the sampler's; greedy has no gradient), got {self.temperature}"
            )
        if not (math.isfinite(self.entropy_coef) and self.entropy_coef >= 0):
            raise ValueError(
                f"Objective.entropy_coef must be 0 or positive (the bonus is subtracted from the loss), got {self.entropy_coef}"
            )
        if self.tis_cap is not None and not self.tis_cap > 0:
            raise ValueError(f"Objective.tis_cap must be positive or None, got {self.tis_cap}")
        if self.fusion == "token" and self.needs_logits:
            raise ValueError(
                "Objective.entropy_coef > 0 needs the logits, which fusion='token' has lost; use 'linear' or 'logits'"
            )

    def _check_clip(self) -> None:
        clipped = self.surrogate in ("clip", "cispo")
        for name in ("clip_low", "clip_high"):
            value = getattr(self, name)
            if value is None:
                continue
            if not clipped:
                raise ValueError(
                    f"Objective.{name} has no meaning for surrogate={self.surrogate!r}, which does not clip; leave it None"
                )
            if not value >= 0:
                raise ValueError(f"Objective.{name} is a distance from 1 and must be 0 or more, got {value}")
        if self.clip_low is not None and self.clip_low > 1:
            raise ValueError(f"Objective.clip_low must be at most 1 (a ratio cannot fall below 0), got {self.clip_low}")
        if self.surrogate == "cispo" and self.clip_high is None:
            raise ValueError(
                "Objective.clip_high must be given for surrogate='cispo': the cap of the weight is 1 + clip_high (common: 4)"
            )
        if self.ratio != "token" and self.surrogate != "clip":
            raise ValueError(f"Objective.ratio={self.ratio!r} needs surrogate='clip': {self.surrogate!r} is defined per token")
        if self.dual_clip is not None:
            if self.surrogate != "clip":
                raise ValueError(f"Objective.dual_clip belongs to surrogate='clip', got surrogate={self.surrogate!r}")
            if not self.dual_clip > 1:
                raise ValueError(f"Objective.dual_clip must be above 1 (at r = 1 nothing may be cut), got {self.dual_clip}")
        if self.sapo_tau is not None:
            if self.surrogate != "sapo":
                raise ValueError(f"Objective.sapo_tau belongs to surrogate='sapo', got surrogate={self.surrogate!r}")
            if len(self.sapo_tau) != 2 or not all(t > 0 for t in self.sapo_tau):
                raise ValueError(f"Objective.sapo_tau must be two positive numbers (A > 0, A <= 0), got {self.sapo_tau}")

    def _check_kl(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"Objective.beta must be 0 or positive, got {self.beta}")
        if self.beta > 0 and self.kl == "none":
            raise ValueError(
                f"Objective.beta={self.beta} has nothing to weigh while kl='none'; choose kl='k3' (R1) or set beta=0"
            )
        if self.beta == 0 and self.kl != "none":
            raise ValueError(
                f"Objective.kl={self.kl!r} with beta=0 adds nothing to the loss; set kl='none' (the metrics come anyway)"
            )
        if self.importance_corrected_kl and self.kl == "none":
            raise ValueError("Objective.importance_corrected_kl=True has no KL term to correct while kl='none'")

    @property
    def bounds(self) -> tuple[float, float]:
        """(lo, hi) of the clipped ratio; (0, inf) where nothing is clipped."""
        if self.surrogate == "clip":
            low = 0.2 if self.clip_low is None else self.clip_low
            return 1 - low, 1 + (low if self.clip_high is None else self.clip_high)
        if self.surrogate == "cispo":
            assert self.clip_high is not None
            return 1 - (1.0 if self.clip_low is None else self.clip_low), 1 + self.clip_high
        return 0.0, math.inf

    @property
    def taus(self) -> tuple[float, float]:
        """(tau where A > 0, tau elsewhere) of SAPO; the paper's 1.0 and 1.05 unless told."""
        positive, negative = self.sapo_tau or (1.0, 1.05)
        return float(positive), float(negative)

    @property
    def needs_logits(self) -> bool:
        return self.entropy_coef > 0

    @property
    def always_has_gradient(self) -> bool:
        """Whether a token of zero advantage still moves the policy."""
        return self.beta > 0 or self.entropy_coef > 0
