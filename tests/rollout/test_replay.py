"""Recorded completions instead of a model."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from r1.build import build_with
from r1.rollout.engine import Sampling
from r1.rollout.replay import ReplayEngine
from r1.rollout.trace_file import TraceWriter


@pytest.fixture
def engine(tmp_path, lab) -> ReplayEngine:
    writer = TraceWriter(tmp_path / "t.jsonl")
    for step in range(2):
        traces = [
            lab.trace([7, 8], [5, i, 1], "a", seed=10 * step + i, weight_version=step, logps=[-0.1, -0.2, -0.3]) for i in range(2)
        ]
        writer.write([*traces, lab.trace([9], [4], "b", seed=99, finish_reason="length")], step=step, stage="s", phase="p")
    return ReplayEngine(tmp_path / "t.jsonl")


def test_in_the_order_of_the_file(engine):
    (a, b) = engine.generate([[7, 8], [9]], 2, Sampling(), [[1, 2], [1, 2]])
    assert [c.token_ids for c in a] == [[5, 0, 1], [5, 1, 1]]
    assert (a[0].logps, a[0].finish_reason) == ([-0.1, -0.2, -0.3], "stop")
    assert [c.finish_reason for c in b] == ["length", "length"]
    assert engine.weight_version == 1


def test_recorded_seeds_give_their_own_completions(engine, lab):
    ((one, two),) = engine.generate([[7, 8]], 2, Sampling(), [[11, 0]])
    assert (one.token_ids, two.token_ids) == ([5, 1, 1], [5, 0, 1])
    engine.sync(None, 50)
    assert engine.weight_version == 1  # the recording's, whatever the policy does


def test_what_is_missing_is_named(engine, tmp_path):
    with pytest.raises(ValueError, match=r"no completion of the prompt \[7, 9\].*records 2 problems: a, b.*template"):
        engine.generate([[7, 9]], 1, Sampling(), [[0]])
    with pytest.raises(ValueError, match="2 completions of problem 'b', 3 were asked for"):
        engine.generate([[9]], 3, Sampling(), [[0, 1, 2]])
    with pytest.raises(ValueError, match="3 tokens for problem 'a', but max_new_tokens is 2"):
        engine.generate([[7, 8]], 1, Sampling(max_new_tokens=2), [[0]])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="no traces to replay"):
        ReplayEngine(tmp_path / "empty.jsonl")


def test_a_config_that_hands_every_engine_the_policy_builds_it(engine):
    """`r1 train`, `eval` and `generate` build whichever engine the config names; this one has no use for a policy."""
    node = OmegaConf.create({"_target_": "r1.rollout.replay.ReplayEngine", "path": str(engine.path)})
    assert build_with(node, policy=object()).recorded == engine.recorded
