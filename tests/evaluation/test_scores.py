"""pass@k and cons@k: hand-worked values, then equality with brute force over every subset."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1.evaluation.scores import cons_at_k, pass_at_k


def brute_vote(sizes: list[int], right: list[bool], k: int, unparsed: int) -> Fraction:
    """The definition, literally: every k-subset, count the votes, share the tie."""
    ballots = [j for j, size in enumerate(sizes) for _ in range(size)] + [None] * unparsed
    total, subsets = Fraction(0), 0
    for subset in combinations(ballots, k):
        subsets += 1
        votes = [j for j in subset if j is not None]
        if votes:
            most = max(votes.count(j) for j in set(votes))
            tied = [j for j in set(votes) if votes.count(j) == most]
            total += Fraction(sum(right[j] for j in tied), len(tied))
    return total / subsets


@st.composite
def polls(draw):
    sizes = draw(st.lists(st.integers(1, 8), max_size=5))
    while sum(sizes) > 8:
        sizes.pop()
    unparsed = draw(st.integers(0 if sizes else 1, 8 - sum(sizes)))
    right = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    return sizes, right, unparsed


@given(polls())
@settings(max_examples=150, deadline=None)
def test_cons_equals_brute_force_over_every_k(poll):
    sizes, right, unparsed = poll
    for k in range(1, sum(sizes) + unparsed + 1):
        assert cons_at_k(sizes, right, k, unparsed) == pytest.approx(float(brute_vote(sizes, right, k, unparsed)), abs=1e-12)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_equals_brute_force(case):
    n, c, k = case
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets), abs=1e-12)


def test_pass_at_1_is_the_share_of_right_samples():
    assert pass_at_k(64, 45, 1) == pytest.approx(45 / 64)
    assert pass_at_k(16, 1, 16) == 1.0  # all samples drawn: the right one is among them (a bootstrap would say .64)


def test_k_equal_n_is_the_ordinary_vote():
    assert cons_at_k([3, 2], [True, False], 5) == 1.0
    assert cons_at_k([2, 3], [True, False], 5) == 0.0
    assert cons_at_k([20, 19, 15, 10], [True, False, False, False], 64) == 1.0


def test_ties_are_shared_and_order_does_not_matter():
    """bug 46: no voter may let the first of the tied answers win."""
    assert cons_at_k([2, 2], [True, False], 4) == 0.5
    assert cons_at_k([2, 2], [False, True], 4) == 0.5
    assert cons_at_k([1, 1, 1], [False, True, False], 3) == pytest.approx(1 / 3)
    assert cons_at_k([3, 1, 2], [False, False, True], 4) == cons_at_k([2, 3, 1], [True, False, False], 4)


def test_unparsed_never_vote():
    """bug 46: 5 samples without an answer against one right answer: the one wins whenever it is drawn."""
    assert cons_at_k([1], [True], 6, unparsed=5) == 1.0
    assert cons_at_k([1], [True], 2, unparsed=5) == pytest.approx(2 / 6)  # P(the one is among 2 of 6)
    assert cons_at_k([], [], 3, unparsed=4) == 0.0  # nobody votes


def test_cons_at_1_is_pass_at_1():
    assert cons_at_k([5, 2, 1], [True, False, False], 1, unparsed=2) == pytest.approx(0.5)


def test_many_classes_at_64_samples_stay_fast():
    sizes = [8, 6, 5, 4, 4, 3, 3, 2, 2, 2, 2, 2] + [1] * 21
    right = [False, True] + [False] * 31
    start = time.perf_counter()
    values = [cons_at_k(sizes, right, k) for k in (1, 2, 8, 16, 32, 63, 64)]
    assert time.perf_counter() - start < 10
    assert values[0] == pytest.approx(6 / 64)
    assert values[-1] == 0.0
    assert all(0 <= v <= 1 for v in values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pass_at_k(8, 3, 9), "k must be between 1 and the number of samples, n = 8"),
        (lambda: pass_at_k(8, 9, 2), "between 0 and n = 8"),
        (lambda: cons_at_k([2, 2], [True], 2), "every class needs a verdict"),
        (lambda: cons_at_k([0, 2], [True, False], 2), "at least 1"),
        (lambda: cons_at_k([2], [True], 0), "k must be between 1"),
    ],
)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
