"""The client of a vLLM server against a stub of its routes: the contract, and what a server can do to a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.vllm_http import StaleWeights, VLLMEngine, read_choice
from r1.rollout.vllm_weights import SharedFolder

from .vllm_stub import VLLMStub

WORDS = ["a", "b", "c", "d", "e", "f"]
PROMPTS = [[3, 4], [5, 6, 7]]
SEEDS = [[11, 12], [13, 14]]
SAMPLING = Sampling(temperature=0.8, max_new_tokens=8)


def new_policy(seed: int) -> Policy:
    return tiny_policy(WORDS, seed=seed, hidden=16, layers=1, heads=2, inner=24, max_length=64)


@pytest.fixture(scope="module")
def start_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_policy(0).save(tmp_path_factory.mktemp("served") / "hf")


@pytest.fixture
def stub(start_folder: Path) -> Iterator[VLLMStub]:
    server = VLLMStub(start_folder)
    yield server
    server.close()


@pytest.fixture
def engine(stub: VLLMStub, tmp_path: Path) -> VLLMEngine:
    return VLLMEngine(stub.url, SharedFolder(tmp_path / "weights"), dtype="float32", timeout=5.0, retries=4, backoff=0.02)


def same(ours, theirs) -> bool:
    return [[c.token_ids for c in row] for row in ours] == [[c.token_ids for c in row] for row in theirs]


def test_samples_are_those_of_the_weights_that_were_handed_over(engine: VLLMEngine, stub: VLLMStub) -> None:
    policy = new_policy(1)
    engine.sync(policy, 3)
    rows = engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    expected = HFEngine(policy).generate(PROMPTS, 2, SAMPLING, SEEDS)
    assert same(rows, expected)
    assert not same(rows, HFEngine(new_policy(0)).generate(PROMPTS, 2, SAMPLING, SEEDS))  # what it was started with
    for one, other in zip(chain(*rows), chain(*expected)):
        assert one.logps == pytest.approx(other.logps, abs=1e-5)
        assert one.finish_reason == other.finish_reason
    assert engine.weight_version == 3
    assert stub.label.startswith("v3-")


def test_the_request_says_everything_that_changes_the_distribution(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    engine.generate([[3, 4]], 2, Sampling(temperature=0.5, top_p=0.9, top_k=4, max_new_tokens=5), [[7, 8]])
    bodies = sorted(stub.sent("/inference/v1/generate"), key=lambda body: body["sampling_params"]["seed"])
    assert [body["token_ids"] for body in bodies] == [[3, 4], [3, 4]]
    assert [body["sampling_params"]["seed"] for body in bodies] == [7, 8]
    assert bodies[0]["sampling_params"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "max_tokens": 5, "min_tokens": 0, "stop_token_ids": [1], "ignore_eos": False, "logprobs": 0,
        "detokenize": False, "n": 1, "seed": 7,
    }  # fmt: skip


def test_unseeded_requests_ask_for_n_samples_at_once(stub: VLLMStub, tmp_path: Path) -> None:
    engine = VLLMEngine(stub.url, SharedFolder(tmp_path), new_policy(0), dtype="float32", seeded=False)
    rows = engine.generate(PROMPTS, 3, SAMPLING, [[0] * 3] * 2)
    assert [len(row) for row in rows] == [3, 3]
    bodies = stub.sent("/inference/v1/generate")
    assert [body["sampling_params"]["n"] for body in bodies] == [3, 3]
    assert all("seed" not in body["sampling_params"] for body in bodies)


def test_weights_change_only_while_the_server_is_paused_and_old_ones_are_cleared(engine: VLLMEngine, stub: VLLMStub) -> None:
    for version in range(4):
        engine.sync(new_policy(version + 1), version)
    assert [path for path, _ in stub.requests if path in ("/pause", "/collective_rpc", "/reset_prefix_cache", "/resume")] == [
        "/pause", "/collective_rpc", "/reset_prefix_cache", "/resume"] * 4  # fmt: skip
    assert not stub.paused
    assert sorted(path.name.partition("-")[0] for path in engine.weights.folder.iterdir()) == ["v2", "v3"]
    before = len(stub.requests)
    engine.sync(engine.policy, 3)  # the same weights again: nothing to do
    assert len(stub.requests) == before


# What a server can do to a run


def test_a_server_that_is_down_for_a_while_is_waited_for(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    stub.down = True
    threading.Timer(0.15, lambda: setattr(stub, "down", False)).start()
    assert same(engine.generate(PROMPTS, 2, SAMPLING, SEEDS), HFEngine(engine.policy).generate(PROMPTS, 2, SAMPLING, SEEDS))


def test_a_server_that_stays_down_is_named(stub: VLLMStub, tmp_path: Path) -> None:
    engine = VLLMEngine(stub.url, SharedFolder(tmp_path), new_policy(0), retries=2, backoff=0.01)
    stub.down = True
    with pytest.raises(ConnectionError, match=r"answered 503 to every attempt.*down"):
        engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    stub.close()
    with pytest.raises(ConnectionError, match=r"no answer from http://127.0.0.1.*rollout.url"):
        engine.generate(PROMPTS, 2, SAMPLING, SEEDS)


def test_a_late_answer_is_asked_for_again(stub: VLLMStub, tmp_path: Path) -> None:
    engine = VLLMEngine(stub.url, SharedFolder(tmp_path), new_policy(0), timeout=0.5, retries=3, backoff=0.01)
    stub.slow, stub.slow_times = 1.5, 1
    started = time.monotonic()
    (row,) = engine.generate([[3, 4]], 1, SAMPLING, [[5]])
    assert time.monotonic() - started < 1.4  # the second attempt was answered before the first
    assert len(stub.sent("/inference/v1/generate")) == 2
    assert row == HFEngine(engine.policy).generate([[3, 4]], 1, SAMPLING, [[5]])[0]


def test_a_restarted_server_is_given_the_weights_again(
    engine: VLLMEngine, stub: VLLMStub, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.sync(new_policy(1), 5)
    expected = engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    stub.restart()
    assert same(engine.generate(PROMPTS, 2, SAMPLING, SEEDS), expected)
    assert engine.repairs == 1
    assert "are given to it again" in capsys.readouterr().out


def test_a_restart_between_two_requests_is_seen_by_the_version_of_every_token(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 5)
    expected = engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    first, generate = [True], stub._generate

    def restart_in_the_middle(body):
        if first:
            first.clear()
            stub.restart()
        return generate(body)

    stub._generate = restart_in_the_middle
    assert same(engine.generate(PROMPTS, 2, SAMPLING, SEEDS), expected)
    assert engine.repairs == 1


def test_a_server_that_does_not_load_is_seen_by_its_checksums(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    stub.deaf = True
    with pytest.raises(StaleWeights, match="weights changed, but the checksums .* did not"):
        engine.sync(new_policy(2), 1)
    assert not stub.paused  # whatever went wrong, the server goes on
    assert engine.weight_version == 0


def test_somebody_elses_weights_are_refused(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    generate = stub._generate

    def taken_over(body):
        stub.label = "somebody else's"
        return generate(body)

    stub._generate = taken_over
    with pytest.raises(StaleWeights, match="Does somebody else load weights into it"):
        engine.generate(PROMPTS, 2, SAMPLING, SEEDS)


def test_completions_that_were_cut_off_are_asked_for_again(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    stub.aborts = 2
    assert same(engine.generate(PROMPTS, 2, SAMPLING, SEEDS), HFEngine(engine.policy).generate(PROMPTS, 2, SAMPLING, SEEDS))


def test_what_the_last_round_answers_counts(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    stub.aborts = 7  # of four completions: all of the first round, three of the second
    expected = HFEngine(engine.policy).generate(PROMPTS, 2, SAMPLING, SEEDS)
    assert same(engine.generate(PROMPTS, 2, SAMPLING, SEEDS), expected)
    assert len(stub.sent("/inference/v1/generate")) == 4 + 4 + 3


def test_cut_off_every_time_is_not_called_stale(engine: VLLMEngine, stub: VLLMStub) -> None:
    engine.sync(new_policy(1), 0)
    stub.aborts = 10_000
    with pytest.raises(ConnectionError, match="cut off completions of 2 of 2 prompts, asked 3 times"):
        engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    assert engine.generate([], 2, SAMPLING, []) == []


def test_a_missing_flag_is_named(engine: VLLMEngine, stub: VLLMStub) -> None:
    stub.scale_out = False
    engine.sync(new_policy(1), 0)
    with pytest.raises(ValueError, match="--enable-scale-out"):
        engine.generate(PROMPTS, 2, SAMPLING, SEEDS)
    stub.dev_mode = False
    with pytest.raises(ValueError, match="VLLM_SERVER_DEV_MODE=1"):
        engine.sync(new_policy(2), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(token_ids=[]), "without token ids"),
        (dict(logprobs=None), "without log-probabilities"),
        (dict(token_ids=[3, 4]), "belong to other tokens"),
        (dict(finish_reason="repetition"), "'repetition'"),
        (dict(token_ids=[3], logprobs={"content": [{"token_id": 3, "logprob": -1.0}]}), "stopped after token 3"),
        (
            dict(logprobs={"content": [{"token_id": 3, "logprob": -9999.0}, {"token_id": 1, "logprob": -1.0}]}),
            "NaN or minus infinity",
        ),
    ],
)
def test_what_must_not_be_trained_on_is_refused(change: dict, said: str) -> None:
    choice = {"index": 0, "finish_reason": "stop", "token_ids": [3, 1],
              "logprobs": {"content": [{"token_id": 3, "logprob": -1.0}, {"token_id": 1, "logprob": -0.5}]}}  # fmt: skip
    assert read_choice(choice, frozenset([1])).logps == [-1.0, -0.5]
    with pytest.raises(ValueError, match=said):
        read_choice(choice | change, frozenset([1]))


def test_the_key_is_sent_and_not_kept(stub: VLLMStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "hush")
    engine = VLLMEngine(stub.url, SharedFolder(tmp_path))
    assert engine.server._pool.headers["Authorization"] == "Bearer hush"
    assert "hush" not in str(vars(engine)) + str(
        SimpleNamespace(**{k: v for k, v in vars(engine.server).items() if k != "_pool"})
    )


def test_bf16_weights_are_written_for_a_bf16_server(stub: VLLMStub, tmp_path: Path) -> None:
    engine = VLLMEngine(stub.url, SharedFolder(tmp_path / "w"))  # bfloat16 unless told
    policy = new_policy(1)
    engine.sync(policy, 0)
    assert policy.head.dtype == torch.float32
    assert torch.equal(stub.model.lm_head.weight, policy.head.detach().bfloat16().float())
