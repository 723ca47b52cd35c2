"""Every switch is honoured or refused by name."""

from __future__ import annotations

import math

import pytest
from r1_kernels import Objective


@pytest.mark.parametrize(
    ("switches", "reason"),
    [
        ({"surrogate": "ppo"}, "must be one of clip, cispo, reinforce, sapo"),
        ({"ratio": "sequence"}, "must be one of token, sequence_sum, sequence_mean"),
        ({"kl": "k4", "beta": 0.1}, "must be one of none, k1, k2, k3"),
        ({"beta": 0.1}, "nothing to weigh while kl='none'"),
        ({"kl": "k3"}, "with beta=0 adds nothing"),
        ({"kl": "k3", "beta": -0.1}, "beta must be 0 or positive"),
        ({"importance_corrected_kl": True}, "no KL term to correct"),
        ({"surrogate": "reinforce", "clip_low": 0.2}, "clip_low has no meaning"),
        ({"surrogate": "sapo", "clip_high": 0.2}, "clip_high has no meaning"),
        ({"surrogate": "cispo"}, "clip_high must be given"),
        ({"surrogate": "cispo", "clip_high": 4, "ratio": "sequence_mean"}, "needs surrogate='clip'"),
        ({"surrogate": "cispo", "clip_high": 4, "dual_clip": 3}, "dual_clip belongs to surrogate='clip'"),
        ({"clip_low": 1.5}, "at most 1"),
        ({"clip_high": -0.1}, "must be 0 or more"),
        ({"clip_high": math.nan}, "must be 0 or more"),
        ({"dual_clip": 1.0}, "above 1"),
        ({"sapo_tau": (1.0, 1.0)}, "sapo_tau belongs to"),
        ({"surrogate": "sapo", "sapo_tau": (1.0,)}, "two positive numbers"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"entropy_coef": -0.1}, "entropy_coef must be 0 or positive"),
        ({"tis_cap": 0.0}, "tis_cap must be positive"),
    ],
)
def test_a_combination_without_meaning_is_refused_with_the_reason(switches, reason):
    with pytest.raises(ValueError, match=reason):
        Objective(**switches)


def test_bounds_follow_the_surrogate():
    assert Objective().bounds == (0.8, 1.2)
    assert Objective(clip_low=0.5).bounds == (0.5, 1.5)  # symmetric unless told
    assert Objective(clip_low=0.2, clip_high=0.28).bounds == (0.8, 1.28)  # DAPO's clip-higher
    assert Objective(surrogate="cispo", clip_high=4.0).bounds == (0.0, 5.0)
    assert Objective(surrogate="sapo").bounds == (0.0, math.inf)
