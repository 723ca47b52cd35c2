"""pass@1, pass@k and cons@k of one problem, exact.

All three are expectations over subsets drawn without replacement from the n samples at hand, so they use every sample and
need no bootstrap:

    pass@k   P(at least one of k samples is right)                    1 - C(n - c, k) / C(n, k)
    pass@1   the same at k = 1: the share of right samples, c / n
    cons@k   E(the majority vote of k samples is right)               (R1 section 2.2.4 has k = n = 64)

For the vote, samples are counted as equivalence classes ("1/2" and "0.5" are one candidate), samples without an answer never
vote, and a tie is worth the share of right classes among the tied ones: the expectation of a fair draw, which does not depend
on the order of the samples. A subset in which nobody votes scores 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import comb


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that k of the n samples, drawn without replacement, hold at least one of the `correct` ones.

    >>> pass_at_k(4, 1, 2)  # C(3, 2) / C(4, 2) = 3/6 of the pairs miss the right one
    0.5
    """
    _check_k(n, k)
    if not 0 <= correct <= n:
        raise ValueError(f"correct samples must be between 0 and n = {n}, got {correct}")
    return float(1 - Fraction(comb(n - correct, k), comb(n, k)))


def cons_at_k(sizes: Sequence[int], right: Sequence[bool], k: int, unparsed: int = 0) -> float:
    """Expected correctness of the majority vote over k of the n samples, drawn without replacement.

    sizes     samples in each equivalence class of answers
    right     whether that class equals the gold answer (several may, where equivalence is not transitive)
    unparsed  samples without an answer: drawn like the others, but they never vote;  n = sum(sizes) + unparsed

    >>> cons_at_k([2, 1], [True, False], k=3)
    1.0
    >>> cons_at_k([2, 1], [True, False], k=2)  # right+right wins, two of three pairs are ties: 1/3 + 2/3 * 1/2
    0.6666666666666666
    """
    if len(sizes) != len(right):
        raise ValueError(f"every class needs a verdict: got {len(sizes)} sizes and {len(right)} verdicts")
    if any(size < 1 for size in sizes) or unparsed < 0:
        raise ValueError(f"class sizes must be at least 1 and unparsed at least 0, got sizes={list(sizes)}, unparsed={unparsed}")
    _check_k(sum(sizes) + unparsed, k)
    total = Fraction(0)
    for j, is_right in enumerate(right):
        if is_right:  # expectations add up, so classes that are right and tied with each other need no special case
            others = tuple(sorted(size for i, size in enumerate(sizes) if i != j))
            total += _wins(sizes[j], others, unparsed, k)
    return float(total)


@lru_cache(maxsize=65536)
def _wins(size: int, others: tuple[int, ...], unparsed: int, k: int) -> Fraction:
    """Chance that a class of `size` samples wins the vote of k samples, a tie with r others counting 1 / (r + 1).

    Counts subsets: the class gets t votes, no other class more than t, r of them exactly t, the rest of the k are unparsed.
    """
    ways_by_ties: dict[int, int] = defaultdict(int)
    for votes in range(1, min(size, k) + 1):
        own = comb(size, votes)
        for (used, ties), ways in _at_most(others, votes, k - votes).items():
            ways_by_ties[ties] += own * ways * comb(unparsed, k - votes - used)
    n = size + sum(others) + unparsed
    return sum((Fraction(ways, ties + 1) for ties, ways in ways_by_ties.items()), Fraction(0)) / comb(n, k)


def _at_most(classes: tuple[int, ...], votes: int, room: int) -> dict[tuple[int, int], int]:
    """Ways to draw samples of `classes`, none more than `votes` times, by (samples drawn <= room, classes with exactly `votes`)."""
    table = {(0, 0): 1}
    for size in classes:
        grown: dict[tuple[int, int], int] = defaultdict(int)
        for (used, ties), ways in table.items():
            for drawn in range(min(size, votes, room - used) + 1):
                grown[used + drawn, ties + (drawn == votes)] += ways * comb(size, drawn)
        table = grown
    return table


def _check_k(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and the number of samples, n = {n}, got k = {k}; draw more samples or lower k")
