"""Group-relative advantages (R1 v1 eq. 3): a completion is worth what it earned beyond its siblings.

    A_i = (r_i - mean(r_1 .. r_G)) / std(r_1 .. r_G)

The standard deviation is the population's (divided by G), so that |A| <= sqrt(G - 1); TRL divides by G - 1 and adds 1e-4.
Plain Python floats: a step has a few thousand rewards, and `math.fsum` keeps nearly equal ones from leaving a residue that
a small standard deviation would blow up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from r1.records import Group, Score, Trace

Normalise = Literal["group_std", "none", "batch_std", "per_part"]
NORMALISE = ("group_std", "none", "batch_std", "per_part")
TOLERANCE = 1e-6  # rewards closer than this (relative to the largest, or to 1) are equal


def advantages(groups: Sequence[Group], normalise: Normalise = "group_std", tolerance: float = TOLERANCE) -> list[Group]:
    """The groups with `Trace.advantage` set from `Trace.score` (an advantage already there is replaced, never built upon).

    group_std  R1, GRPO          the formula above
    none       Dr. GRPO          without the division: easy and hard questions keep their different scale
    batch_std  Lite PPO          the mean of the group, the standard deviation of all rewards of the step
    per_part   GDPO              each reward part by the formula above, then the weighted sum: a rare part is not drowned by
                                 a noisy one (the paper's further normalisation over the batch is not applied)

    A completion that could not be judged (`Score.total` None) gets advantage None, and its siblings are compared without it.
    A part that does not apply (None) adds nothing. Rewards closer than `tolerance` are equal: their advantage is exactly 0.
    Raises ValueError for a group of one, a trace without a score, or a total that is not finite.
    """
    if normalise not in NORMALISE:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, got {normalise!r}")
    for group in groups:
        _check(group)
    if normalise == "per_part":
        return [_weighted_parts(group, tolerance) for group in groups]
    everything = [r for group in groups for r in _totals(group)]
    batch_std = _deviation(everything, tolerance)
    out = []
    for group in groups:
        totals = _totals(group)
        mean, std = _mean(totals), _deviation(totals, tolerance)
        scale = {"group_std": std, "none": 1.0, "batch_std": batch_std}[normalise] if std else 0.0
        out.append(group.with_traces([replace(t, advantage=_beyond(_score(t).total, mean, scale)) for t in group.traces]))
    return out


def has_signal(group: Group) -> bool:
    """Whether the group moves the policy: some advantage is not 0. All right and all wrong groups do not (DAPO 3.2)."""
    return any(t.advantage for t in group.traces)


def _check(group: Group) -> None:
    if len(group) < 2:
        raise ValueError(
            f"advantages compare siblings, so a group needs at least 2 completions; {group.problem.id!r} has {len(group)}: "
            "raise the group size (completions per prompt)"
        )
    for trace in group.traces:
        if trace.score is None:
            raise ValueError(f"a completion of {group.problem.id!r} has no score; call the reward on the groups first")
        if trace.score.total is not None and not math.isfinite(trace.score.total):
            raise ValueError(
                f"a completion of {group.problem.id!r} has the total {trace.score.total}; a reward that cannot judge returns NaN "
                "as a part, which makes the total None"
            )


def _score(trace: Trace) -> Score:
    assert trace.score is not None
    return trace.score


def _totals(group: Group) -> list[float]:
    totals = (_score(t).total for t in group.traces)
    return [total for total in totals if total is not None]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _deviation(values: Sequence[float], tolerance: float) -> float:
    """Population standard deviation; exactly 0 where all values are equal within the tolerance."""
    if not values or max(values) - min(values) <= tolerance * max(1.0, *(abs(v) for v in values)):
        return 0.0
    mean = _mean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def _beyond(value: float | None, mean: float, scale: float) -> float | None:
    """(value - mean) / scale; 0 where there is no spread, None where there is no value."""
    if value is None:
        return None
    return (value - mean) / scale if scale else 0.0


def _weighted_parts(group: Group, tolerance: float) -> Group:
    scores = [_score(t) for t in group.traces]
    sums = [None if score.total is None else 0.0 for score in scores]
    weights = {part: weight for score in scores for part, weight in score.weights.items()}
    for part, weight in weights.items():
        column = [None if score.total is None else score.parts.get(part) for score in scores]
        values = [v for v in column if v is not None]
        mean, std = _mean(values), _deviation(values, tolerance)
        sums = [s if s is None else s + weight * (_beyond(v, mean, std) or 0.0) for s, v in zip(sums, column)]
    return group.with_traces([replace(t, advantage=s) for t, s in zip(group.traces, sums)])
