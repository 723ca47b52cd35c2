"""Group-relative advantages on worked rewards, and the classic ways to get them wrong."""

from __future__ import annotations

import math

import pytest

from r1.losses import advantages, has_signal
from r1.records import Group, Problem, Score, Trace


def group(name: str, totals: list[float | None], parts: list[dict] | None = None, weights: dict | None = None) -> Group:
    problem = Problem(id=name, question="?")
    scores = [Score(total, p, weights or {}) for total, p in zip(totals, parts or [{}] * len(totals))]
    return Group(problem, tuple(Trace(problem, [1], [2], [0.0], "", "stop", score=s) for s in scores))


def values(groups: list[Group]) -> list[list[float | None]]:
    return [[t.advantage for t in g.traces] for g in groups]


def test_group_std_by_hand():
    """Rewards 1, 0, 0, 1: mean 0.5, population std 0.5 -> +-1. Rewards 3, 0, 0: mean 1, std sqrt 2."""
    out = advantages([group("a", [1.0, 0.0, 0.0, 1.0]), group("b", [3.0, 0.0, 0.0])])
    assert values(out) == [[1, -1, -1, 1], pytest.approx([2 / math.sqrt(2), -1 / math.sqrt(2), -1 / math.sqrt(2)])]


def test_the_other_normalisations_by_hand():
    """none: r - mean. batch_std: rewards 1, 0, 2, 0 over the step: mean 0.75, variance (0.0625 + 2 * 0.5625 + 1.5625) / 4 = 0.6875."""
    groups = [group("a", [1.0, 0.0]), group("b", [2.0, 0.0])]
    assert values(advantages(groups, "none")) == [[0.5, -0.5], [1.0, -1.0]]
    std = math.sqrt(0.6875)
    assert values(advantages(groups, "batch_std")) == [pytest.approx([0.5 / std, -0.5 / std]), pytest.approx([1 / std, -1 / std])]


def test_per_part_gives_a_rare_part_its_voice():
    """Parts accuracy (1, 0) and length (10, 0), weights 1 and 0.5: normalised each to +-1, then weighed: +-1.5 if they agree."""
    parts = [{"accuracy": 1.0, "length": 10.0}, {"accuracy": 0.0, "length": 0.0}]
    out = advantages([group("a", [6.0, 0.0], parts, {"accuracy": 1.0, "length": 0.5})], "per_part")
    assert values(out) == [[1.5, -1.5]]


def test_per_part_skips_what_does_not_apply():
    """Part "code" applies to the first two only: they compare with each other, the third gets accuracy alone (-sqrt 2, ...)."""
    parts = [{"accuracy": 1.0, "code": 1.0}, {"accuracy": 0.0, "code": 0.0}, {"accuracy": 0.0, "code": None}]
    out = advantages([group("a", [2.0, 0.0, 0.0], parts, {"accuracy": 1.0, "code": 1.0})], "per_part")
    high, low = math.sqrt(2), -1 / math.sqrt(2)
    assert values(out)[0] == pytest.approx([high + 1, low - 1, low])


@pytest.mark.parametrize("normalise", ["group_std", "none", "batch_std"])
@pytest.mark.parametrize("rewards", [[0.35] * 8, [0.1 + 0.2, 0.3, 0.3], [1e8 + 0.1, 1e8 + 0.1 + 1e-7], [0.0, 0.0]], ids=str)
def test_bug_10_nearly_equal_rewards_give_exactly_zero(normalise, rewards):
    """bug 10: rounding residue over a tiny std was once an advantage of 7428."""
    out = advantages([group("a", rewards), group("b", [1.0, 0.0])], normalise)
    assert values(out)[0] == [0.0] * len(rewards)
    assert [has_signal(g) for g in out] == [False, True]


@pytest.mark.parametrize(
    "rewards", [[0.35] * 7 + [1.0], [0.0] * 63 + [1.0], [0.0] * 15 + [1e9], [1e-5, 0.0], [1e9 + 0.7, 1e9 + 2000.9]], ids=str
)
def test_bug_10_the_largest_advantage_is_below_the_root_of_the_group(rewards):
    """bug 10: one right among G: (1 - 1/G) / sqrt((G - 1) / G^2) = sqrt(G - 1), whatever the scale and the offset."""
    (got,) = values(advantages([group("a", rewards)]))
    assert max(map(abs, got)) == pytest.approx(math.sqrt(len(rewards) - 1), rel=1e-9)


def test_bug_11_a_group_is_normalised_by_itself():
    """bug 11: the same rewards shifted and scaled in the other group give the same advantages."""
    out = values(advantages([group("a", [0.0, 1.0, 2.0]), group("b", [100.0, 110.0, 120.0])]))
    assert out[0] == pytest.approx(out[1])


@pytest.mark.parametrize("normalise", ["group_std", "none", "batch_std", "per_part"])
def test_bug_12_a_group_of_one_is_refused(normalise):
    """bug 12: an unbiased std of one value is NaN."""
    with pytest.raises(ValueError, match="at least 2 completions; 'a' has 1"):
        advantages([group("a", [1.0])], normalise)


def test_bug_13_normalising_twice_changes_nothing():
    """bug 13: advantages come from the scores, never from advantages."""
    once = advantages([group("a", [1.0, 0.0, 0.0])])
    assert values(advantages(once)) == values(once)
    (got,) = values(once)
    assert math.fsum(got) == pytest.approx(0)
    assert math.fsum(a * a for a in got) / 3 == pytest.approx(1)


@pytest.mark.parametrize("normalise", ["group_std", "none", "batch_std", "per_part"])
def test_bug_39_a_completion_without_verdict_does_not_touch_its_siblings(normalise):
    """bug 39: one None among three: the two others get what they get alone."""
    weights, part = {"accuracy": 1.0}, lambda r: {"accuracy": r}
    whole = group("a", [1.0, None, 0.0], [part(1.0), part(math.nan), part(0.0)], weights)
    alone = group("a", [1.0, 0.0], [part(1.0), part(0.0)], weights)
    first, left_out, last = values(advantages([whole], normalise))[0]
    assert left_out is None
    assert [first, last] == values(advantages([alone], normalise))[0]


def test_a_single_verdict_carries_no_signal():
    out = advantages([group("a", [None, 1.0]), group("b", [None, None])])
    assert values(out) == [[None, 0.0], [None, None]]
    assert not any(has_signal(g) for g in out)


def test_inputs_are_checked():
    with pytest.raises(ValueError, match="normalise must be one of group_std, none, batch_std, per_part"):
        advantages([], "std")
    with pytest.raises(ValueError, match="has the total nan"):
        advantages([group("a", [math.nan, 1.0])])
    problem = Problem(id="a", question="?")
    with pytest.raises(ValueError, match="call the reward"):
        advantages([Group(problem, (Trace(problem, [1], [2], [0.0], "", "stop"),) * 2)])
    assert advantages([]) == []
