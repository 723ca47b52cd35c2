"""The stopping rule against brute force, and what it saves and misses on synthetic values."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from r1.analysis.sequential import FIRST, FULL, MARGIN, STEP, Comparison, Counts, chances, is_finding, unsettled
from r1.evaluation.intervals import difference_interval


def study(p, q, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[bool]]:
    """(findings of the fixed design, those declared by the rule, samples a side, does the interval at the stop hold the truth?)"""
    x, y = ((rng.random((len(p), FULL)) < chance[:, None]).cumsum(1) for chance in (p, q))
    drawn = np.full(len(p), FIRST)

    def counts(side, i, n) -> Counts:
        return Counts(int(side[i, n - 1]), int(n))

    def now() -> list[Comparison]:
        return [Comparison(counts(x, i, n), counts(y, i, n)) for i, n in enumerate(drawn)]

    while more := unsettled(now()):
        drawn[more] = np.minimum(FULL, drawn[more] + STEP)
    fixed = np.array([is_finding(counts(x, i, FULL), counts(y, i, FULL)) for i in range(len(p))])
    bounds = [difference_interval(c.first.right, c.first.n, c.second.right, c.second.n) for c in now()]
    covered = [low <= b - a <= high for (low, high), a, b in zip(bounds, p, q)]
    return fixed, chances(now()) >= 0.5, drawn, covered


@pytest.mark.parametrize("shape", [0.5, 1.0])
def test_nearly_all_findings_of_the_fixed_design_at_a_quarter_of_its_samples(shape):
    """Four comparisons in five have nothing to find; chances of being right are uniform (1.0), or mostly near 0 and 1 (0.5)."""
    found = missed = false = 0
    cost, covered = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        p = rng.beta(shape, shape, 100)
        q = np.where(rng.random(100) < 0.8, p, rng.beta(shape, shape, 100))
        fixed, declared, drawn, holds = study(p, q, rng)
        found, missed, false = found + (fixed & declared).sum(), missed + (fixed & ~declared).sum(), false + (declared & ~fixed).sum()  # fmt: skip
        cost.append(drawn.mean() / FULL)
        covered += holds
    assert found / (found + missed) >= 0.95
    assert np.mean(cost) <= 0.25
    assert false / found <= 0.1
    assert np.mean(covered) >= 0.93  # an interval that was looked at while it grew


def test_the_chance_of_a_finding_by_enumeration():
    """Two samples a side of four are in: sum over what the rest may be, under both priors, by hand."""
    a, n, b, m, full = 0, 2, 2, 2, 4
    (found,) = chances([Comparison(Counts(a, n), Counts(b, m), (full, full))], margin=0.0)

    def beta(r, w):  # chance of one sequence under a uniform prior
        return 1 / ((r + w + 1) * comb(r + w, r))

    apart = together = 0.0
    for i in range(3):
        for j in range(3):
            if is_finding(Counts(a + i, 4), Counts(b + j, 4), 0.0):
                ways = comb(2, i) * comb(2, j)
                apart += ways * beta(a + i, 4 - a - i) * beta(b + j, 4 - b - j) / (beta(a, n - a) * beta(b, m - b))
                together += ways * beta(a + b + i + j, 8 - a - b - i - j) / beta(a + b, n + m - a - b)
    odds = beta(a, n - a) * beta(b, m - b) / beta(a + b, n + m - a - b)
    share = 0.5
    for _ in range(50):
        share = (share / (share + (1 - share) * odds) + 1) / 3
    nothing = share / (share + (1 - share) * odds)
    assert found == pytest.approx(nothing * together + (1 - nothing) * apart, rel=1e-9)


def test_a_complete_comparison_is_certain():
    far, near = Comparison(Counts(10, 100), Counts(90, 100)), Comparison(Counts(50, 100), Counts(52, 100))
    assert chances([far, near]) == pytest.approx([1, 0], abs=1e-9)
    assert unsettled([far, near]) == []


def test_open_ones_are_sampled_and_clear_ones_rest():
    clear, dead, open_ = ((0, 12), (12, 12)), ((12, 12), (12, 12)), ((4, 12), (8, 12))
    found = unsettled([Comparison(Counts(*a), Counts(*b)) for a, b in (clear, dead, open_)])
    assert found == [2]


def test_a_finding_lies_beyond_the_margin():
    assert is_finding(Counts(10, 100), Counts(60, 100))
    assert is_finding(Counts(60, 100), Counts(10, 100))  # a reflection that harms is one as well
    assert not is_finding(Counts(10, 100), Counts(30, 100), MARGIN)  # 20 points, but the interval reaches below 15
    assert is_finding(Counts(10, 100), Counts(30, 100), 0.0)
    assert not is_finding(Counts(0, 0), Counts(5, 5))
    assert chances([]).shape == (0,)
