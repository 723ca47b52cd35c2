"""Weights by vLLM's transfer engine, with a queue in NCCL's place: the contract with the server, and what happens when it breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from r1.build import build, compose
from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.vllm_http import VLLMEngine
from r1.rollout.vllm_weights import Broadcast, NCCLGroup, SharedFolder

from .vllm_stub import VLLMStub

PROMPTS, SEEDS, SAMPLING = [[3, 4], [5, 6, 7]], [[11, 12], [13, 14]], Sampling(temperature=0.8, max_new_tokens=8)
ROUTES = ["/pause", "/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update",
          "/reset_prefix_cache", "/update_weight_version", "/resume"]  # fmt: skip


def new_policy(seed: int) -> Policy:
    return tiny_policy(["a", "b", "c", "d", "e", "f"], seed=seed, hidden=16, layers=1, heads=2, inner=24, max_length=64)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[VLLMStub]:
    server = VLLMStub(new_policy(0).save(tmp_path / "served"))
    yield server
    server.close()


@pytest.fixture
def engine(stub: VLLMStub) -> VLLMEngine:
    weights = Broadcast(timeout=2.0, connect=lambda world, device: stub.wire)
    return VLLMEngine(stub.url, weights, dtype="float32", timeout=5.0, retries=2, backoff=0.02)


def sampled(engine) -> list[list[list[int]]]:
    return [[c.token_ids for c in row] for row in engine.generate(PROMPTS, 2, SAMPLING, SEEDS)]


def test_samples_are_those_of_the_weights_that_were_broadcast(engine: VLLMEngine, stub: VLLMStub) -> None:
    for version in (1, 2):
        policy = new_policy(version)
        engine.sync(policy, version)
        assert sampled(engine) == sampled(HFEngine(policy)) != sampled(HFEngine(new_policy(0)))
        assert stub.label.startswith(f"v{version}-")
    asked = [path for path, _ in stub.requests if path in ROUTES]
    assert asked == ROUTES + [path for path in ROUTES if "init" not in path]  # they meet once
    assert not stub.paused and stub.wire.sent.empty()


def test_bf16_goes_as_bf16_and_a_tied_weight_once(stub: VLLMStub) -> None:
    engine = VLLMEngine(stub.url, Broadcast(connect=lambda world, device: stub.wire))
    policy = new_policy(1)
    policy.model.config.tie_word_embeddings = stub.model.config.tie_word_embeddings = True
    policy.model.tie_weights()
    stub.model.tie_weights()
    engine.sync(policy, 0)
    (update,) = stub.sent("/update_weights")
    assert set(update["update_info"]["dtype_names"]) == {"bfloat16"}
    assert "lm_head.weight" not in update["update_info"]["names"]
    assert torch.equal(stub.model.lm_head.weight, policy.head.detach().bfloat16().float())


def test_a_restarted_server_gets_what_was_sampled_with_and_not_what_the_policy_has_become(
    engine: VLLMEngine, stub: VLLMStub
) -> None:
    policy = new_policy(1)
    engine.sync(policy, 5)
    before = sampled(engine)
    with torch.no_grad():
        policy.head.normal_(generator=torch.Generator().manual_seed(0))
    assert sampled(HFEngine(policy)) != before
    stub.restart()
    assert sampled(engine) == before
    assert engine.repairs == 1
    assert len(stub.sent("/init_weight_transfer_engine")) == 2  # a new server is in no group


def test_a_server_without_the_engine_is_named_and_nobody_waits(engine: VLLMEngine, stub: VLLMStub) -> None:
    stub.transfer = False
    with pytest.raises(ConnectionError, match=r"not configured.*--weight-transfer-config"):
        engine.sync(new_policy(1), 0)
    assert not stub.paused
    assert len(stub.sent("/init_weight_transfer_engine")) == 1  # never sent twice: the second would wait for a group of its own


def test_a_transfer_that_breaks_is_not_repeated_and_the_next_meets_anew(engine: VLLMEngine, stub: VLLMStub) -> None:
    stub.breaks = 1
    with pytest.raises(ConnectionError, match="the worker has died"):
        engine.sync(new_policy(1), 0)
    assert len(stub.sent("/update_weights")) == 1
    stub.wire.sent.queue.clear()
    policy = new_policy(2)
    engine.sync(policy, 1)
    assert sampled(engine) == sampled(HFEngine(policy))
    assert len(stub.sent("/init_weight_transfer_engine")) == 2


def test_an_error_of_the_transfer_itself_is_raised(engine: VLLMEngine, stub: VLLMStub) -> None:
    def broken() -> None:
        raise RuntimeError("NCCL: unhandled system error")

    stub.wire.wait = broken
    with pytest.raises(RuntimeError, match="unhandled system error"):
        engine.sync(new_policy(1), 0)


def test_a_transfer_that_does_not_end_is_given_up(stub: VLLMStub) -> None:
    engine = VLLMEngine(stub.url, Broadcast(timeout=0.1, connect=lambda world, device: stub.wire), dtype="float32")
    stub.wire.wait = threading.Event().wait
    with pytest.raises(TimeoutError, match=r"has everything.*0\.1 seconds"):
        engine.sync(new_policy(1), 0)


def test_without_a_gpu_the_other_way_is_named() -> None:
    with pytest.raises(ValueError, match=r"policy is on cpu .*rollout/weights=folder works everywhere"):
        NCCLGroup(2, torch.device("cpu"))


def test_at_least_the_served_version_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SharedFolder(tmp_path, keep=0)


@pytest.mark.parametrize(("name", "kind"), [("folder", SharedFolder), ("nccl", Broadcast)])
def test_the_config_builds_either(name: str, kind: type, tmp_path: Path) -> None:
    cfg = compose("train", ["rollout=vllm_http", f"rollout/weights={name}"], tmp_path)
    engine = build(cfg.rollout)
    assert isinstance(engine, VLLMEngine) and isinstance(engine.weights, kind)
