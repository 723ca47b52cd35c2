"""The two intervals: closed forms, the figure inside its interval, and coverage against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from r1.evaluation.intervals import (
    Tally,
    compare,
    difference_interval,
    estimate_cons,
    estimate_pass,
    permutation_p,
    problems_interval,
    t_quantile,
)


def binary(correct: int, n: int) -> Tally:
    """A tally whose wrong samples all gave one wrong answer."""
    return Tally.of([True] * correct + [False] * (n - correct))


def test_one_problem_gives_wilsons_interval():
    # Wilson for 8 of 10 at 95 %: centre (0.8 + 3.8415/20) / 1.38415 = 0.7168, half width 0.2267 -> (0.4902, 0.9433)
    estimate = estimate_pass([binary(8, 10)])
    assert estimate.value == pytest.approx(0.8)
    assert estimate.samples == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert estimate.problems == (0.0, 1.0)  # one problem says nothing about others


def test_samples_interval_for_equal_problems_is_wilson_over_all_samples():
    # 25 problems at 4 of 8: Var(m) = 25 * (.25 / 7) / 625 = .00143, so n_eff = .25 / .00143 = 175, but 200 coins were thrown:
    # n_eff 200, half width 1.96 * sqrt(.25/200 + 1.96^2/(4*200^2)) / (1 + 1.96^2/200) = 0.0687
    low, high = estimate_pass([binary(4, 8)] * 25).samples
    assert (low, high) == pytest.approx((0.5 - 0.0687, 0.5 + 0.0687), abs=2e-4)


def test_problems_interval_is_wide_where_problems_differ():
    # half the problems always solved, half never: new samples move nothing, new problems a lot
    estimate = estimate_pass([binary(64, 64), binary(0, 64)] * 15)
    assert estimate.value == 0.5
    narrow, wide = (high - low for low, high in (estimate.samples, estimate.problems))
    assert narrow < 0.06  # at most 30 x 64 coin flips
    assert wide > 0.33  # about 30 of them
    assert wide / narrow > 5


def test_intervals_do_not_collapse_at_the_ends():
    estimate = estimate_pass([binary(8, 8)] * 20)
    assert estimate.value == 1.0
    assert estimate.samples[0] == pytest.approx(160 / (160 + 1.96**2), abs=1e-3)  # Wilson at 160 of 160
    assert estimate.problems[0] == pytest.approx(20 / (20 + 2.093**2), abs=1e-3)  # at 20 of 20, with t of 19 degrees
    assert estimate.samples[1] == estimate.problems[1] == 1.0


@pytest.mark.parametrize(("freedom", "exact"), [(1, 12.706), (2, 4.3027), (3, 3.1824), (5, 2.5706), (9, 2.2622), (29, 2.0452)])
def test_t_quantile_against_the_table(freedom, exact):
    assert t_quantile(freedom) == pytest.approx(exact, rel=2e-3)


def _tallies(rng: np.random.Generator, shares: np.ndarray, n: int) -> list[Tally]:
    """Samples of every problem: class 0 is right, the last column has no answer."""
    out = []
    for row in shares:
        counts = rng.multinomial(n, row)
        kept = [(int(c), j == 0) for j, c in enumerate(counts[:-1]) if c]
        out.append(Tally(tuple(c for c, _ in kept), tuple(r for _, r in kept), int(counts[-1])))
    return out


@pytest.mark.parametrize(("k", "figure"), [(1, estimate_pass), (4, estimate_pass), (4, estimate_cons), (8, estimate_cons)])
def test_samples_interval_covers_a_second_run(k, figure):
    """The mean over many runs on the same problems lies in the interval in about 95 % of them."""
    rng = np.random.default_rng(3)
    solve = rng.beta(1.5, 0.7, 40)[:, None]
    shares = np.concatenate([solve, (1 - solve) * rng.dirichlet([0.7] * 4, 40)], axis=1)
    runs = [figure(_tallies(rng, shares, 8), k) for _ in range(120)]
    truth = float(np.mean([run.value for run in runs]))
    covered = np.mean([run.samples[0] <= truth <= run.samples[1] for run in runs])
    assert 0.90 <= covered <= 1.0
    spread = 3.92 * np.std([run.value for run in runs])
    assert np.mean([run.samples[1] - run.samples[0] for run in runs]) < 1.5 * spread  # and it is not wide for safety


def test_problems_interval_covers_the_kind_of_problem():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        solve = rng.beta(2, 1, 30)  # mean 2/3
        low, high = problems_interval(list(rng.binomial(16, solve) / 16))
        covered += low <= 2 / 3 <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_naive_interval_would_fail_for_new_problems():
    """30 problems x 64 samples treated as 1,920 coins: the interval most evaluations print covers far less than it says."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        low, high = estimate_pass([binary(int(c), 64) for c in rng.binomial(64, rng.beta(2, 1, 30))]).samples
        covered += low <= 2 / 3 <= high
    assert covered / 200 < 0.5


def test_the_figure_lies_in_its_intervals():
    rng = np.random.default_rng(6)
    for _ in range(50):
        tallies = _tallies(rng, rng.dirichlet([0.5] * 4, int(rng.integers(1, 7))), int(rng.integers(2, 9)))
        for k in (1, 2):
            for estimate in (estimate_pass(tallies, k), estimate_cons(tallies, k)):
                for low, high in (estimate.samples, estimate.problems):
                    assert 0 <= low <= estimate.value <= high <= 1


def test_comparison_is_paired():
    """B solves one more sample of each problem than A: certain within these problems, though A and B overlap widely."""
    a = [binary(c, 16) for c in (1, 4, 7, 9, 12, 14)]
    b = [binary(c + 1, 16) for c in (1, 4, 7, 9, 12, 14)]
    result = compare(a, b)
    assert result.difference == pytest.approx(1 / 16)
    assert result.problems == pytest.approx((1 / 16, 1 / 16), abs=1e-9)  # every problem moved by the same
    assert result.samples[0] < 0 < result.samples[1]  # one sample of sixteen may well be luck
    assert result.p == pytest.approx(2 / 2**6)  # only all-plus and all-minus reach it


def test_comparison_of_a_policy_with_itself_finds_nothing():
    tallies = [binary(c, 8) for c in (0, 3, 5, 8)]
    result = compare(tallies, tallies)
    assert result.difference == 0.0
    assert result.p == 1.0


def test_permutation_p_is_uniform_under_no_difference():
    rng = np.random.default_rng(7)
    ps = [permutation_p(rng.normal(size=10)) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.08
    drawn = [permutation_p(rng.normal(size=20)) for _ in range(60)]  # beyond 14 problems flips are drawn
    assert min(drawn) > 0
    assert 0.3 < np.mean(drawn) < 0.7


def test_wrong_questions_are_refused():
    with pytest.raises(ValueError, match="same problems on both sides"):
        compare([binary(1, 2)], [])
    with pytest.raises(ValueError, match="at least one problem"):
        problems_interval([])
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        problems_interval([0.5, 1.5])


def test_difference_of_two_shares_as_newcombe_has_it():
    # Newcombe (1998), Table II, example (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339
    low, high = difference_interval(48, 80, 56, 70)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=2e-4)
    assert difference_interval(0, 10, 10, 10)[0] > 0.5
    assert difference_interval(10, 10, 0, 10)[1] < -0.5
    with pytest.raises(ValueError, match="samples on both sides"):
        difference_interval(0, 0, 1, 2)


def test_a_tally_of_verdicts():
    assert Tally.of([True, False, True]) == Tally((2, 1), (True, False))
    assert Tally.of([False]) == Tally((1,), (False,))
