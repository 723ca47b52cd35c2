"""When have two shares been compared for long enough? A stopping rule for many comparisons that are sampled side by side.

Each comparison asks whether two chances of being right differ by more than `margin`, and would be answered by a fixed number of
samples on either side: a *finding* is a 95 % interval of the difference that lies beyond the margin. Most comparisons are settled
long before. After each round the rule asks of every comparison how likely its full sample is to end as a finding, and lets it rest

    declared    when that chance is at least `sure`
    dismissed   when it is so small that all dismissed ones together are expected to hold at most the share `miss` of the findings

so samples go where the answer is open, and recall is what is controlled. Chances are Bayesian: either both sides have one chance of
being right (uniform prior), or one each; the share of the first kind is learned from all comparisons together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from r1.evaluation.intervals import difference_interval

MARGIN = 0.15  # the smallest difference in P(right) that is worth reporting
FULL = 100  # samples a side of the fixed design (Thought Anchors, 2506.19143)
FIRST, STEP = 8, 4  # samples a side of the first round and of each later one
MISS, SURE = 0.03, 0.9
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """`right` of `n` samples."""

    right: int
    n: int

    @property
    def share(self) -> float:
        return self.right / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What has been drawn on either side, and how many samples each would have in the fixed design."""

    first: Counts
    second: Counts
    full: tuple[int, int] = (FULL, FULL)

    @property
    def complete(self) -> bool:
        return self.first.n >= self.full[0] and self.second.n >= self.full[1]


def is_finding(first: Counts, second: Counts, margin: float = MARGIN) -> bool:
    """Whether the 95 % interval of second - first lies beyond the margin; never with an empty side."""
    if not first.n or not second.n:
        return False
    low, high = difference_interval(first.right, first.n, second.right, second.n)
    return low > margin or high < -margin


def chances(comparisons: Sequence[Comparison], margin: float = MARGIN) -> Floats:
    """[K] the chance of each comparison to be a finding when its full sample is in."""
    if not comparisons:
        return np.empty(0)
    odds, same, apart = np.array([_predictions(c.first.right, c.first.n, c.second.right, c.second.n, *c.full, margin) for c in comparisons]).T  # fmt: skip
    share = 0.5  # of comparisons with nothing to find; two pseudo-comparisons keep it off 0 and 1
    for _ in range(50):
        nothing = share / (share + (1 - share) * odds)
        share = (nothing.sum() + 1) / (len(comparisons) + 2)
    return nothing * same + (1 - nothing) * apart


def unsettled(comparisons: Sequence[Comparison], margin: float = MARGIN, miss: float = MISS, sure: float = SURE) -> list[int]:
    """The comparisons that another round should sample, by index; none when all are declared, dismissed or complete."""
    p = chances(comparisons, margin)
    order = np.argsort(p)
    rests = np.zeros(len(p), bool)
    rests[order[np.cumsum(p[order]) <= miss * p.sum()]] = True
    return [i for i, c in enumerate(comparisons) if not c.complete and p[i] < sure and not (rests[i] and p[i] < 0.5)]


@lru_cache(maxsize=100_000)
def _predictions(a: int, n: int, b: int, m: int, full_a: int, full_b: int, margin: float) -> tuple[float, float, float]:
    """(Bayes factor of two chances against one, P(finding | one chance), P(finding | two)) after a of n and b of m were right."""
    left_a, left_b = max(0, full_a - n), max(0, full_b - m)
    i, j = np.arange(left_a + 1)[:, None], np.arange(left_b + 1)[None, :]
    region = _region(n + left_a, m + left_b, margin)[a : a + left_a + 1, b : b + left_b + 1]
    choose = _log_choose(left_a, i) + _log_choose(left_b, j)
    evidence = _log_beta(a, n - a) + _log_beta(b, m - b), _log_beta(a + b, n + m - a - b)
    wrong = n + m - a - b + left_a + left_b - i - j
    together = np.exp(choose + _log_beta(a + b + i + j, wrong) - evidence[1])
    apart = np.exp(choose + _log_beta(a + i, n - a + left_a - i) + _log_beta(b + j, m - b + left_b - j) - evidence[0])
    return float(np.exp(evidence[0] - evidence[1])), float(together[region].sum()), float(apart[region].sum())


@lru_cache(maxsize=256)
def _region(n: int, m: int, margin: float) -> NDArray[np.bool_]:
    """[n + 1, m + 1]: which counts of right samples are findings."""
    return np.array([[is_finding(Counts(i, n), Counts(j, m), margin) for j in range(m + 1)] for i in range(n + 1)])


_LOG_FACTORIAL = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 4096)))])


def _log_beta(right: NDArray[np.int64] | int, wrong: NDArray[np.int64] | int) -> Floats:
    """Log of the chance of one sequence with so many right and wrong samples, under a uniform prior."""
    return _LOG_FACTORIAL[right] + _LOG_FACTORIAL[wrong] - _LOG_FACTORIAL[np.add(right, wrong) + 1]


def _log_choose(n: int, k: NDArray[np.int64]) -> Floats:
    return _LOG_FACTORIAL[n] - _LOG_FACTORIAL[k] - _LOG_FACTORIAL[n - k]
