"""Sampler against trainer: figures worked out by hand, and the command on a stub of a vLLM server."""

from __future__ import annotations

import json
import math
from itertools import chain
from pathlib import Path

import pytest

from r1.commands import doctor
from r1.policy.tiny import tiny_policy
from r1.records import Problem
from r1.rollout.agreement import Agreement, agreement
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine

from .vllm_stub import VLLMStub

PROBLEMS = [Problem("p/0", "a b", "1"), Problem("p/1", "c", "1")]


class Off(HFEngine):
    """Log-probabilities that are half a nat too low."""

    def generate(self, *arguments):
        rows = super().generate(*arguments)
        for completion in chain(*rows):
            completion.logps[:] = [logp - 0.5 for logp in completion.logps]
        return rows


def test_figures() -> None:
    policy = tiny_policy(["a", "b", "c"], hidden=16, layers=1, heads=2, inner=24, max_length=64)
    sampling = Sampling(temperature=0.7, max_new_tokens=6)
    good = agreement(policy, HFEngine(), PROBLEMS, 3, sampling)
    assert good.mean_difference < 1e-5
    assert good.mean_ratio == pytest.approx(1.0, abs=1e-5)
    off = agreement(policy, Off(), PROBLEMS, 3, sampling)
    assert (off.mean_difference, off.max_difference) == pytest.approx((0.5, 0.5), abs=1e-4)
    assert (off.mean_ratio, off.max_ratio) == pytest.approx((math.exp(0.5), math.exp(0.5)), rel=1e-4)
    assert good.ok
    assert not off.ok
    assert off.tokens == good.tokens
    with pytest.raises(ValueError, match="without top-k and top-p"):
        agreement(policy, HFEngine(), PROBLEMS, 1, Sampling(top_p=0.9))


def test_the_likely_cause_is_named() -> None:
    raw = Agreement(100, 0.4, 2.0, 1.2, 5.0, raw_difference=1e-4, temperature=0.6)
    assert "--logprobs-mode processed_logprobs" in raw.text()
    assert "other weights" in Agreement(100, 0.4, 2.0, 1.2, 5.0, raw_difference=0.3, temperature=0.6).text()


@pytest.fixture
def stub(tmp_path: Path):
    server = VLLMStub(tiny_policy(["a"], seed=3, hidden=16, layers=1, heads=2, inner=24).save(tmp_path / "hf"))
    yield server
    server.close()


@pytest.mark.slow
def test_doctor_proves_it_before_training(
    stub: VLLMStub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from r1.policy import tiny

    widened = tiny._initialise  # preferences strong enough that a wrong temperature shows

    def initialise(model, rng) -> None:
        widened(model, rng)
        for p in model.parameters():
            p.data.mul_(8.0 if p.dim() > 1 else 1.0)

    monkeypatch.setattr(tiny, "_initialise", initialise)
    command = ["rollout=vllm_http", f"rollout.url={stub.url}", "rollout.dtype=float32", "rollout.retries=1", "rollout.backoff=0",
               "stage.sampling.temperature=0.6", "stage.sampling.max_new_tokens=8", "--json"]  # fmt: skip
    assert doctor.main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["mean_difference"] < 1e-4
    stub.raw = True
    assert doctor.main(command[:-1]) == 1
    assert "processed_logprobs" in capsys.readouterr().out
    stub.raw, stub.down = False, True
    assert doctor.main(command) == 1
    assert "answered 503" in capsys.readouterr().err
    assert doctor.main(["rollout=vllm_htp"]) == 1
    assert "vllm_http" in capsys.readouterr().err
