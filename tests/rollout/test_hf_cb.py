"""Continuous batching is the plain engine in another order: greedy tokens, and the log-probabilities of what was drawn."""

from __future__ import annotations

import pytest
import torch

from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.hf_cb import ContinuousEngine


@pytest.fixture
def engine(lab) -> ContinuousEngine:
    return ContinuousEngine(lab.policy(), num_blocks=32, page_size=16, max_batch_tokens=64)


def test_greedy_tokens_and_log_probabilities_are_those_of_the_plain_engine(engine, lab) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=8)
    ours = engine.generate(lab.PROMPTS, 1, sampling, lab.seeds(n=1))
    plain = HFEngine(engine.policy).generate(lab.PROMPTS, 1, sampling, lab.seeds(n=1))
    for (one,), (other,) in zip(ours, plain, strict=True):
        assert one.token_ids == other.token_ids
        assert one.finish_reason == other.finish_reason
        assert one.logps == pytest.approx(other.logps, abs=1e-4)
    assert {row[0].finish_reason for row in plain} == {"stop", "length"}
    assert engine.policy.model.config._attn_implementation == "sdpa"  # the trainer's attention is back


@pytest.mark.slow
def test_drawn_tokens_come_with_the_log_probabilities_they_were_drawn_from(engine, lab) -> None:
    sampling = Sampling(temperature=0.7, max_new_tokens=6)
    before = torch.random.get_rng_state()
    rows = engine.generate(lab.PROMPTS, 3, sampling, lab.seeds(n=3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert [len(row) for row in rows] == [3] * 4
    for prompt, row in zip(lab.PROMPTS, rows, strict=True):
        for c in row:
            expected = lab.alone(engine.policy.model, prompt, c.token_ids, 0.7)[range(len(c.token_ids)), c.token_ids]
            assert c.logps == pytest.approx(expected.tolist(), abs=1e-4)
    assert rows == engine.generate(lab.PROMPTS, 3, sampling, lab.seeds(n=3))
    assert rows != engine.generate(lab.PROMPTS, 3, sampling, lab.seeds(lab.PROMPTS, 3, "other"))


def test_bad_requests_are_refused(engine, lab) -> None:
    with pytest.raises(ValueError, match="do not fit the model's 64 positions"):
        engine.generate([[5]], 1, Sampling(max_new_tokens=64), [[1]])
    with pytest.raises(ValueError, match=r"call sync\(policy, version\) first"):
        ContinuousEngine().generate([[5]], 1, Sampling(), [[1]])
