"""The majority vote over equivalence classes."""

from __future__ import annotations

import itertools
import random

import pytest

from r1.grading import Vote, cluster, majority_vote
from r1.records import Problem

COUNTDOWN = Problem(
    "c/1", "use two of 9 6 2 to make 54", "9 * 6", meta={"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54}
)


def test_spellings_of_one_value_are_one_opinion() -> None:
    """Bug 46: by string, "3" would win with two votes; by value 1/2 has four."""
    vote = majority_vote(["1/2", "0.5", r"\frac{1}{2}", "2/4", "3", "3"])
    assert (vote.count, vote.voters, len(vote.tied)) == (4, 6, 1)
    assert vote.winners == ((0, 1, 2, 3),)
    assert vote.answer == "0.5"  # each spelt once: the alphabetically first


def test_none_never_votes() -> None:
    """Bug 46: unparsed answers must not win, however many they are."""
    vote = majority_vote([None, None, None, "", " ", "7"])
    assert (vote.answer, vote.count, vote.voters) == ("7", 1, 1)
    assert majority_vote([None, None]) == Vote(None, 0, 0, (), ())
    assert majority_vote([None, None]).expected([False, False]) == 0.0


def test_ties_are_reported_and_scored_by_their_expected_value() -> None:
    """Bug 46: two answers with two votes each, one of them right: the vote is worth 1/2, whichever came first."""
    answers = ["5", "8", "8", "5", "1"]
    vote = majority_vote(answers)
    assert vote.tied == ("5", "8")
    assert vote.expected([a == "8" for a in answers]) == 0.5
    assert majority_vote(answers[:4] + ["8"]).expected([False, True, True, False, True]) == 1.0


@pytest.mark.parametrize("answers", [["5", "8", "8", "5", None], ["1/2", "0.5", "3", "3", "x"], ["2", "10%", "0.1", "10", "2"]])
def test_the_order_of_samples_changes_nothing(answers: list[str | None]) -> None:
    """Bug 46: permutation-invariant, also where equivalence is not transitive (10% is 10 and is 0.1, and these differ)."""
    outcomes = {(v.answer, v.count, v.tied) for p in itertools.permutations(answers) for v in [majority_vote(p)]}
    assert len(outcomes) == 1


def test_algebra_joins_classes() -> None:
    assert cluster(["(x-1)(x+1)", "x^2-1", "x^2+1", "x^2 - 1"]) == [[0, 1, 3], [2]]


def test_expressions_vote_by_form() -> None:
    """9 * 6 and 6 * 9 are one opinion, 27 * 2 is another although the value is the same."""
    answers = ["9 * 6", "6*9", "27 * 2", "(9 * 6)", "9 6"]
    assert cluster(answers, COUNTDOWN) == [[0, 1, 3], [2], [4]]


def test_against_plain_counting() -> None:
    """With integers the vote is a count; 200 random ballots against a four-line reference."""
    draw = random.Random(0)
    for _ in range(200):
        ballots = [draw.choice(["1", "2", "3", None]) for _ in range(draw.randint(1, 9))]
        right = [b == "2" for b in ballots]
        counted = {b: ballots.count(b) for b in set(ballots) - {None}}
        best = {b for b, n in counted.items() if n == max(counted.values())}
        assert majority_vote(ballots).expected(right) == (("2" in best) / len(best) if best else 0.0)
