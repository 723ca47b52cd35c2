"""The three measures on engines whose chances are known, and what the sequential stop draws of them."""

from __future__ import annotations

from math import log

import pytest

from r1.analysis.importance import begins_with_reflection, divergence, importance
from r1.analysis.resampling import spans
from r1.rollout.engine import Sampling

SAMPLING = Sampling(max_new_tokens=80)


@pytest.fixture
def some(aha):
    """Six spans of six problems, each the one reflection of its trace."""
    traces = [aha.trace(f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}", str(i)) for i in range(6)]
    return [spans(trace, aha.policy)[0] for trace in traces]


def kept(text: str) -> bool:
    """Whether a prompt holds the reflection."""
    return "wait" in text


def test_resampling_and_counterfactual_differ_where_the_policy_would_reflect_again(aha, some):
    # Without the reflection 20 % right; half of these continuations reflect again, by whether 5 or 6 was drawn; they are as good.
    def opening(text: str) -> str:
        return "</think>" if kept(text) else "wait , </think>"

    engine = aha.KnownChances(lambda text: 0.9 if kept(text) else 0.2, opening)
    found = importance(aha.policy, engine, SAMPLING, some, "resampling", full=60, sequentially=False)
    assert [(f.kept.n, f.replaced.n, f.samples) for f in found] == [(60, 60, 120)] * 6
    assert sum(f.value for f in found) / 6 == pytest.approx(0.7, abs=0.06)
    assert all(f.finding and f.interval[0] <= f.value <= f.interval[1] for f in found)
    nothing = importance(aha.policy, engine, SAMPLING, some, "counterfactual", full=60, sequentially=False)
    assert [(f.replaced.n, f.value, f.interval, f.finding) for f in nothing] == [(0, None, (-1, 1), False)] * 6


def test_counterfactual_keeps_the_continuations_that_say_something_else(aha, some):
    engine = aha.KnownChances(lambda text: 1.0 if kept(text) else 0.0, lambda text: "</think>")
    (one, *_) = importance(aha.policy, engine, SAMPLING, some, "counterfactual", full=20)
    assert one.value == 1
    (none, *_) = importance(
        aha.policy, engine, SAMPLING, some, "counterfactual", full=20, same=lambda span, text: "</think>" in text
    )
    assert none.replaced.n == 0


def test_a_forced_answer_follows_the_tags(aha, some):
    engine = aha.KnownChances(lambda text: 1.0)
    importance(aha.policy, engine, SAMPLING, some[:1], "forced_answer", full=2, sequentially=False)
    prompts, n, sampling, _ = engine.requests[0]
    assert [aha.policy.decode(prompt).endswith("</think> <answer>") for prompt in prompts] == [True, True]
    assert kept(aha.policy.decode(prompts[0])) > kept(aha.policy.decode(prompts[1]))
    assert (n, sampling.max_new_tokens) == (2, 32)


def test_clear_cases_stop_early_and_all_spans_share_a_batch(aha, some):
    engine = aha.KnownChances(lambda text: 1.0 if kept(text) else 0.0, lambda text: "</think>")
    found = importance(aha.policy, engine, SAMPLING, some)
    assert all(f.finding and f.value == 1 for f in found)
    assert sum(f.samples for f in found) <= 0.2 * 200 * len(found)
    assert len(engine.requests[0][0]) == 12


def test_harm_is_a_finding_and_nothing_is_none(aha, some):
    harmful = aha.KnownChances(lambda text: 0.0 if kept(text) else 1.0, lambda text: "</think>")
    assert all(f.finding and f.value == -1 for f in importance(aha.policy, harmful, SAMPLING, some))
    idle = aha.KnownChances(lambda text: 1.0, lambda text: "</think>")
    assert not any(f.finding for f in importance(aha.policy, idle, SAMPLING, some))


def test_wrong_arguments_are_refused(aha, some):
    engine = aha.KnownChances(lambda text: 1.0)
    with pytest.raises(ValueError, match="forced_answer, resampling, counterfactual"):
        importance(aha.policy, engine, SAMPLING, some, "shapley")
    with pytest.raises(ValueError, match="at least 1"):
        importance(aha.policy, engine, SAMPLING, some, full=0)
    assert importance(aha.policy, engine, SAMPLING, []) == []


def test_a_continuation_reflects_again_only_where_it_begins_so():
    assert begins_with_reflection("", " wait , try 5")
    assert begins_with_reflection("", "等等 ， 试 5")
    assert not begins_with_reflection("", "</think> <answer> 5 </answer> and then a long way later wait , no")


def test_divergence_by_hand():
    # 3 and 1 of four against 1 and 3, half a sample added to each: (3.5, 1.5) / 5 against (1.5, 3.5) / 5
    expected = 0.7 * log(0.7 / 0.3) + 0.3 * log(0.3 / 0.7)
    assert divergence(["a", "a", "a", None], ["a", None, None, None]) == pytest.approx(expected)
    assert divergence(["a"], ["a"]) == 0
