"""Where the cue goes, against entropies computed in float64 from the model's own logits, and what it does where chances are known."""

from __future__ import annotations

import pytest
import torch

from r1.analysis.reconsider import entropies, places, reconsider
from r1.rollout.engine import Sampling

SAMPLING = Sampling(max_new_tokens=80)


@pytest.fixture
def thoughts(aha):
    return [aha.trace(f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}", "a"), aha.trace(f"{aha.FIRST} </think> {aha.WRONG}", "b")]


def test_entropies_against_the_models_logits(aha, thoughts):
    found = entropies(aha.policy, thoughts, temperature=0.7, tokens=40)  # two passes of one trace each
    model = aha.policy.model
    for trace, values in zip(thoughts, found):
        ids = torch.tensor([[*trace.prompt_ids, *trace.token_ids]])
        with torch.no_grad():
            logits = model(ids).logits[0, len(trace.prompt_ids) - 1 : -1].double() / 0.7
        p = logits.softmax(-1)
        assert values == pytest.approx((-(p * p.log()).sum(-1)).tolist(), abs=2e-5)


def test_places_are_sentence_ends_of_the_thought(aha, thoughts):
    first = places(thoughts[0], aha.policy)
    assert [aha.policy.decode(thoughts[0].token_ids[:t]) for t in first] == [aha.FIRST, f"{aha.FIRST} {aha.AGAIN}"]
    assert len(places(thoughts[1], aha.policy)) == 1
    assert places(aha.trace(aha.FIRST), aha.policy) == []  # the end of the completion is no place to go on from
    assert places(aha.trace(aha.RIGHT), aha.policy) == []
    untagged = aha.trace(f"try 9 plus 6 is 15 . {aha.WRONG}")
    assert len(places(untagged, aha.policy)) == 1


def test_high_and_low_choose_by_entropy_and_random_is_repeatable(aha, thoughts):
    uncertain = entropies(aha.policy, thoughts)
    options = places(thoughts[0], aha.policy)
    ordered = sorted(uncertain[0][t] for t in options)
    high, low, once = reconsider(aha.policy, aha.KnownChances(lambda text: 0.5), SAMPLING, thoughts[:1], n=2)
    assert (high.entropy, low.entropy) == pytest.approx((ordered[-1], ordered[0]))
    again = reconsider(aha.policy, aha.KnownChances(lambda text: 0.5), SAMPLING, thoughts[:1], ["random"], n=2)
    assert again == [once]


def test_the_effect_is_that_of_the_cue(aha, thoughts):
    engine = aha.KnownChances(lambda text: 1.0 if text.endswith("wait ,") else 0.0, lambda text: "</think>")
    (arm,) = reconsider(aha.policy, engine, SAMPLING, thoughts, ["high"], n=4)
    assert (arm.with_cue, arm.without, arm.comparison.difference) == (1, 0, 1)
    assert (arm.traces, arm.comparison.n_problems) == (2, 2)


def test_nothing_to_intervene_on_is_said(aha, thoughts):
    engine = aha.KnownChances(lambda text: 1.0)
    with pytest.raises(ValueError, match="no place to intervene"):
        reconsider(aha.policy, engine, SAMPLING, [aha.trace(aha.RIGHT)])
    with pytest.raises(ValueError, match="high, low, random"):
        reconsider(aha.policy, engine, SAMPLING, thoughts, ["middle"])
    with pytest.raises(ValueError, match="no token"):
        reconsider(aha.policy, engine, SAMPLING, thoughts, cue="")
