"""Two 95 % intervals, each named for its promise, and the paired comparison of two policies.

A benchmark draws twice: problems from the kind of problem, samples from the policy. Which draw is imagined to be repeated
decides the interval, and the two differ by a factor of 5 and more, so both are given and neither is called "the" interval:

    samples    the same problems, new samples: how far would a second run of this evaluation move?
    problems   new problems of the same kind, clustered by problem: what may be said of the policy beyond this set?

Method. Both are Wilson score intervals at an effective number of draws, n_eff = m (1 - m) / Var(m) for a mean m of per-problem
values in [0, 1]. Unlike m +- 2 SE they stay inside [0, 1] and do not shrink to a point when every sample was right. The two
differ in Var(m): within problems for `samples` (binomial for pass@1, jackknife for k < n, resampled votes for k = n), between
problems for `problems`, where Student's t replaces the normal quantile. With one problem, `samples` is Wilson's interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, pi, sqrt, tan

import numpy as np

from r1.evaluation.scores import cons_at_k, pass_at_k
from r1.records import Estimate
from r1.repro import key

Z = 1.959964  # the normal quantile of a two-sided 95 % interval
RESAMPLES = 400
EXACT_FLIPS = 14  # up to this many problems every sign flip is tried (2^14), beyond it they are drawn
DRAWN_FLIPS = 20_000


@dataclass(frozen=True, slots=True)
class Tally:
    """What n samples of one problem came to: sizes of the classes of equal answers, which are right, how many had no answer."""

    sizes: tuple[int, ...]
    right: tuple[bool, ...]
    unparsed: int = 0

    @classmethod
    def of(cls, verdicts: Sequence[bool]) -> Tally:
        """Of verdicts alone, where only pass@k is asked for: right samples are one class and wrong ones another."""
        right = sum(verdicts)
        classes = [(size, verdict) for size, verdict in ((right, True), (len(verdicts) - right, False)) if size]
        return cls(tuple(size for size, _ in classes), tuple(verdict for _, verdict in classes))

    @property
    def n(self) -> int:
        return sum(self.sizes) + self.unparsed

    @property
    def correct(self) -> int:
        return sum(size for size, right in zip(self.sizes, self.right) if right)

    def pass_at(self, k: int) -> float:
        return pass_at_k(self.n, self.correct, k)

    def cons_at(self, k: int) -> float:
        return cons_at_k(self.sizes, self.right, k, self.unparsed)


def estimate_pass(tallies: Sequence[Tally], k: int = 1) -> Estimate:
    """pass@k over problems with its two intervals."""
    values = [t.pass_at(k) for t in tallies]
    return _estimate(values, [_pass_variance(t, k) for t in tallies], [t.n / k for t in tallies])


def estimate_cons(tallies: Sequence[Tally], k: int) -> Estimate:
    """cons@k over problems with its two intervals."""
    values = [t.cons_at(k) for t in tallies]
    return _estimate(values, [_cons_variance(t, k) for t in tallies], [t.n / k for t in tallies])


def _estimate(values: Sequence[float], variances: Sequence[float], draws: Sequence[float]) -> Estimate:
    return Estimate(float(np.mean(values)), samples_interval(values, variances, draws), problems_interval(values))


def samples_interval(values: Sequence[float], variances: Sequence[float], draws: Sequence[float]) -> tuple[float, float]:
    """New samples of the same problems. values, variances: one a problem, in [0, 1]; draws: its independent draws (n / k).

    The variance of a mean over problems is never above that of as many draws from one urn, so n_eff is at least their
    number. That floor is what keeps the interval honest when every problem is at 0 or 1 and no variance was seen.
    """
    _check(values)
    m = float(np.mean(values))
    variance = float(np.sum(variances)) / len(values) ** 2
    floor = len(values) ** 2 / sum(1 / d for d in draws)
    return _wilson(m, max(floor, m * (1 - m) / variance if variance > 0 else 0.0), Z)


def problems_interval(values: Sequence[float]) -> tuple[float, float]:
    """New problems of the same kind: the spread between problems, which holds the noise of their samples already.

    One problem says nothing about others: (0, 1). Problems that all agree count as one draw each.
    """
    _check(values)
    count = len(values)
    if count == 1:
        return 0.0, 1.0
    m, spread = float(np.mean(values)), float(np.var(values, ddof=1))
    effective = m * (1 - m) * count / spread if spread > 1e-12 else 0.0
    return _wilson(m, max(effective, float(count)), t_quantile(count - 1))


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """95 % by Student's t for the mean of anything measured in its own unit: tokens, differences. Of one value: without bounds."""
    if len(values) < 2:
        return -inf, inf
    mean, half = float(np.mean(values)), t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))
    return mean - half, mean + half


def _wilson(m: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval for a share m of n draws."""
    centre, half = m + z * z / (2 * n), z * sqrt(max(m * (1 - m), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(low, m)), min(1.0, max(high, m))  # rounding must not leave the figure outside its own interval


def difference_interval(right: int, n: int, other_right: int, other_n: int) -> tuple[float, float]:
    """95 % interval of the difference of two independent shares, other_right / other_n - right / n (Newcombe 1998, method 10).

    Wilson's bounds of both shares, put together: it stays inside [-1, 1] and is no point when both shares are 0 or 1.
    """
    if not (0 <= right <= n and 0 <= other_right <= other_n and n and other_n):
        raise ValueError(f"a difference of shares needs samples on both sides, got {right} of {n} and {other_right} of {other_n}")
    p, q = right / n, other_right / other_n
    (low_p, high_p), (low_q, high_q) = _wilson(p, n, Z), _wilson(q, other_n, Z)
    below, above = sqrt((q - low_q) ** 2 + (high_p - p) ** 2), sqrt((high_q - q) ** 2 + (p - low_p) ** 2)
    return q - p - below, q - p + above


def t_quantile(freedom: int) -> float:
    """The .975 quantile of Student's t: closed for 1 and 2 degrees of freedom, Cornish-Fisher beyond (error < 0.4 % at 3)."""
    if freedom < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, got {freedom}")
    if freedom == 1:
        return 1 / tan(pi * 0.025)
    if freedom == 2:
        return 0.95 * sqrt(2 / (1 - 0.95**2))
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))


def _pass_variance(tally: Tally, k: int) -> float:
    n, c = tally.n, tally.correct
    if k == n:  # one draw of "any right"; the half sample keeps a problem that was never solved from looking certain
        chance = 1 - (1 - (c + 0.5) / (n + 1)) ** n
        return chance * (1 - chance)
    without_right = pass_at_k(n - 1, c - 1, k) if c else 0.0
    without_wrong = pass_at_k(n - 1, c, k) if c < n else 0.0
    return _jackknife([without_right, without_wrong], [c, n - c])


def _cons_variance(tally: Tally, k: int) -> float:
    if k == tally.n:
        return _vote_variance(tally)
    left_out: dict[tuple[int, bool], int] = {}  # classes of one size and verdict share their leave-one-out value
    for size, right in zip(tally.sizes, tally.right):
        left_out[size, right] = left_out.get((size, right), 0) + size
    values, counts = [], []
    for (size, right), count in left_out.items():
        index = next(i for i, pair in enumerate(zip(tally.sizes, tally.right)) if pair == (size, right))
        sizes = [s - (i == index) for i, s in enumerate(tally.sizes)]
        kept = [(s, r) for s, r in zip(sizes, tally.right) if s]
        values.append(cons_at_k([s for s, _ in kept], [r for _, r in kept], k, tally.unparsed))
        counts.append(count)
    if tally.unparsed:
        values.append(cons_at_k(tally.sizes, tally.right, k, tally.unparsed - 1))
        counts.append(tally.unparsed)
    return _jackknife(values, counts)


def _jackknife(values: Sequence[float], counts: Sequence[int]) -> float:
    """(n - 1) / n x sum of squared deviations of the n leave-one-out values, of which `counts[i]` equal `values[i]`."""
    v, c = np.asarray(values, float), np.asarray(counts, float)
    n = c.sum()
    mean = (c * v).sum() / n
    return float((n - 1) / n * (c * (v - mean) ** 2).sum())


def _vote_variance(tally: Tally) -> float:
    """Variance of the vote of n new samples, by drawing them from the shares seen; ties at their expected worth."""
    if not tally.sizes or tally.n == 1:
        share = tally.correct / tally.n
        return share * (1 - share)
    shares = np.array([*tally.sizes, tally.unparsed], float) / tally.n
    rng = np.random.default_rng(key("vote", *tally.sizes, tally.unparsed))
    votes = rng.multinomial(tally.n, shares, size=RESAMPLES)[:, :-1]
    top = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    score = (top * np.asarray(tally.right)).sum(axis=1) / np.maximum(top.sum(axis=1), 1)
    return float(score.var())


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` = second minus first, both on the same problems; p is two-sided."""

    difference: float
    samples: tuple[float, float]
    problems: tuple[float, float]
    p: float
    n_problems: int


def compare(first: Sequence[Tally], second: Sequence[Tally], seed: int = 0, k: int = 1, vote: bool = False) -> Comparison:
    """Paired comparison of pass@k, or of cons@k where `vote`, on the same problems, in the same order.

    Intervals: difference +- z x its standard error, within problems (`samples`), and +- t x the standard error of the
    per-problem differences (`problems`). p: how often flipping the sign of each problem's difference gives one as large,
    exact up to 14 problems and drawn beyond; it holds for any shape of the differences.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"a paired comparison needs the same problems on both sides, got {len(first)} and {len(second)}")
    value, variance = (Tally.cons_at, _cons_variance) if vote else (Tally.pass_at, _pass_variance)
    mean, (low, high), p = paired([value(b, k) - value(a, k) for a, b in zip(first, second)], seed)
    within = sqrt(sum(variance(t, k) for t in (*first, *second))) / len(first)
    return Comparison(mean, _clip(mean, Z * within), (max(-1.0, low), min(1.0, high)), p, len(first))


def paired(deltas: Sequence[float], seed: int = 0) -> tuple[float, tuple[float, float], float]:
    """(mean, its 95 % interval over problems by Student's t, p by flipping signs) of one difference a problem, in its own unit."""
    values = np.asarray(deltas, float)
    return float(values.mean()), mean_interval(values), permutation_p(values, seed)


def _clip(mean: float, half: float) -> tuple[float, float]:
    return max(-1.0, mean - half), min(1.0, mean + half)


def permutation_p(deltas: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a mean difference of 0 when each problem's sign is a fair coin.

    >>> permutation_p([1.0, 1.0, 1.0])  # of the 8 sign patterns only +++ and --- reach a mean of 1
    0.25
    """
    values = np.asarray(deltas, float)
    values = values[values != 0]  # a tie keeps its value under both signs
    if not len(values):
        return 1.0
    seen = abs(values.sum()) - 1e-9
    if len(values) <= EXACT_FLIPS:
        signs = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
        return float((abs(signs @ values) >= seen).mean())
    rng = np.random.default_rng(key("permutation", seed))
    signs = rng.choice([-1.0, 1.0], size=(DRAWN_FLIPS, len(values)))
    return float(((abs(signs @ values) >= seen).sum() + 1) / (DRAWN_FLIPS + 1))


def _check(values: Sequence[float]) -> None:
    if not len(values):
        raise ValueError("an interval needs at least one problem")
    if min(values) < 0 or max(values) > 1:
        raise ValueError(f"per-problem values must lie in [0, 1], got {min(values)} .. {max(values)}")
