"""Sampling on a vLLM server: another process, another environment, perhaps another machine.

    trainer ──weights──▶ server                                         sync (`vllm_weights`: by a shared folder, or by NCCL)
    trainer ──token ids──▶ server ──token ids, log-probabilities──▶     generate

What can go wrong silently is that the server samples with other weights than the trainer believes. Two things are checked: the
label of the weights, which comes back with every token (a restarted server has lost it), and the checksums of the weights in the
server's memory, which must change when the trainer's have (a server that reads another folder keeps its old ones).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import torch

from r1.policy.sharding import on_first_rank, rank
from r1.rollout.engine import Completion, Sampling, check_request
from r1.rollout.vllm_server import VLLMServer
from r1.rollout.vllm_weights import Weights

if TYPE_CHECKING:
    from r1.policy.policy import Policy


ROUNDS = 3  # of requests until every completion is there


class StaleWeights(RuntimeError):
    """The server samples with other weights than the last ones it was given, and giving them again did not help."""


class VLLMEngine:
    """An engine whose samples come from a vLLM 0.33 server (see `vllm_server` for how to start it).

    url        of the server
    weights    how they reach the server: `vllm_weights.SharedFolder` or `Broadcast`
    policy     whose end-of-sequence ids end a completion; `sync` brings it as well
    dtype      of the weights that are handed over: the server's `--dtype`. Checksums are compared in it
    seeded     a request a completion, each with its own seed: the same draws however requests meet in the server. Otherwise a
               request a prompt with n samples and no seed, which the server draws faster and differently every time
    checksums  compare the checksums of the server's weights before and after each `sync`; it hashes every weight
    timeout, retries, backoff, connections, key_variable   as in `VLLMServer`
    """

    separate = True  # its weights are copies: it may sample while the trainer updates

    def __init__(
        self,
        url: str,
        weights: Weights,
        policy: Policy | None = None,
        dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
        seeded: bool = True,
        checksums: bool = True,
        timeout: float = 600.0,
        retries: int = 8,
        backoff: float = 0.5,
        connections: int = 256,
        key_variable: str = "VLLM_API_KEY",
    ) -> None:
        self.server = VLLMServer(url, timeout, retries, backoff, connections, key_variable)
        self.weights, self.dtype, self.seeded = weights, dtype, seeded
        self.check, self.connections = checksums, connections
        self.policy = policy
        self.weight_version = -1  # nothing was given to the server yet
        self.label = ""  # what the server should call its weights
        self.repairs = 0  # how often the weights had to be given again
        self._synced: Policy | None = None
        self._fingerprints: tuple[str, str] = ("", "")  # of the weights handed over, of the server's after it took them

    def sync(self, policy: Policy, version: int) -> None:
        """Hand the policy's weights to the server and make sure that it took them. With several ranks all of them call this.

        Raises StaleWeights when the server's checksums say that it did not, ConnectionError when it cannot be had.
        """
        if policy is self._synced and version == self.weight_version:
            return
        self.weights.take(policy, getattr(torch, self.dtype))
        self.label, self._fingerprints = on_first_rank(lambda: self._publish(version))
        self.policy, self.weight_version, self._synced = policy, version, policy

    def _publish(self, version: int) -> tuple[str, tuple[str, str]]:
        """Give the weights that were taken their name, and then to the server."""
        label = self.weights.publish(version)
        return label, self._hand_over(label)

    def generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """n completions of each prompt, in the prompts' order.

        Where the server answers with other weights than it was given last (it was restarted), it is given them again, once, and
        what they had sampled is asked for again, as is what was cut off. Raises StaleWeights if that changes nothing, and
        ConnectionError if the server cuts off every time.
        """
        check_request(prompts, n, seeds)
        if self.policy is None:
            raise ValueError("VLLMEngine has no policy yet: give it one, or call sync(policy, version) first")
        rows = [[int(i) for i in prompt] for prompt in prompts]
        done: dict[tuple[int, int], Completion] = {}
        missing, fresh = list(range(len(rows))), True
        for _ in range(ROUNDS):
            if not missing:
                break
            fresh = True
            if self.label and self.server.weight_version() != self.label:
                self._repair()
            todo = self._requests(missing, n, done, sampling, seeds)
            with ThreadPoolExecutor(min(self.connections, max(1, len(todo)))) as threads:
                for answered, of_now in threads.map(lambda request: self._ask(rows[request[0]], *request), todo):
                    done |= answered
                    fresh &= of_now
            missing = [p for p in missing if any((p, i) not in done for i in range(n))]
        if missing and not fresh:
            raise StaleWeights(
                f"{self.server.url} keeps sampling with other weights than it was given last ({self.label}): "
                f"it says {self.server.weight_version()!r}. Does somebody else load weights into it?"
            )
        if missing:
            raise ConnectionError(
                f"{self.server.url} cut off completions of {len(missing)} of {len(rows)} prompts, asked {ROUNDS} times "
                f"(finish_reason abort). Does somebody else pause it or abort its requests?"
            )
        return [[done[p, i] for i in range(n)] for p in range(len(rows))]

    def _requests(
        self,
        prompts: list[int],
        n: int,
        done: dict[tuple[int, int], Completion],
        sampling: Sampling,
        seeds: Sequence[Sequence[int]],
    ) -> list[tuple[int, list[int], dict[str, Any]]]:
        """(prompt, its samples, sampling parameters) of every request that is to be sent."""
        assert self.policy is not None
        shared = sampling_params(sampling, self.policy.eos_ids)
        if not self.seeded:
            return [(p, list(range(n)), {**shared, "n": n}) for p in prompts]
        return [(p, [i], {**shared, "n": 1, "seed": seeds[p][i]}) for p in prompts for i in range(n) if (p, i) not in done]

    def _ask(
        self, prompt: list[int], number: int, samples: list[int], params: dict[str, Any]
    ) -> tuple[dict[tuple[int, int], Completion], bool]:
        """What one request gave, without completions that were cut off or drawn with other weights; whether none was the latter."""
        choices = sorted(self.server.generate(prompt, params), key=lambda choice: choice["index"])
        if len(choices) != len(samples):
            raise ValueError(f"{self.server.url} was asked for {len(samples)} completions of a prompt and gave {len(choices)}")
        assert self.policy is not None
        usable = [(i, c) for i, c in zip(samples, choices, strict=True) if c["finish_reason"] != "abort" and self._fresh(c)]
        completions = {(number, i): read_choice(choice, self.policy.eos_ids) for i, choice in usable}
        return completions, all(map(self._fresh, choices))

    def _fresh(self, choice: dict[str, Any]) -> bool:
        """Whether every token was drawn with the weights given last (anything goes before the first `sync`)."""
        spans = choice.get("weight_versions")
        return not self.label or not spans or {str(span["version"]) for span in spans} == {self.label}

    def _hand_over(self, label: str) -> tuple[str, str]:
        """Make the server load the weights of this label; the fingerprints of what was given and of what it now has."""
        given, before = label.partition("-")[2], self._server_fingerprint() if self.check else ""
        self.server.pause()
        try:
            self.weights.give(self.server, label)
            self.server.reset_prefix_cache()
            self.server.label_weights(label)
        finally:
            self.server.resume()
        now = self._server_fingerprint() if self.check else ""
        if self.check and self._fingerprints[0] not in ("", given) and now == before == self._fingerprints[1]:
            raise StaleWeights(
                f"the trainer's weights changed, but the checksums of {self.server.url} did not: it did not load {label}. "
                f"Where they go by a folder: does it see that folder, and is it the same one?"
            )
        if (label_now := self.server.weight_version()) != label:
            raise StaleWeights(f"{self.server.url} was given the weights {label} and says it has {label_now!r}")
        return given, now

    def _repair(self) -> None:
        """Give the last weights again. With several ranks the first one does, and the others wait for it."""
        if rank() > 0:
            for _ in range(60):
                if self.server.weight_version() == self.label:
                    return
                time.sleep(1.0)
            raise StaleWeights(f"{self.server.url} lost the weights {self.label}, and the first rank has not given them again")
        self.repairs += 1
        print(f"{self.server.url} has lost the weights {self.label} (restarted?); they are given to it again", flush=True)
        self._fingerprints = ("", "")  # a restarted server may hold anything
        self._fingerprints = self._hand_over(self.label)

    def _server_fingerprint(self) -> str:
        lines = [f"{name} {value}" for name, value in sorted(self.server.checksums().items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def sampling_params(sampling: Sampling, eos_ids: frozenset[int]) -> dict[str, Any]:
    """vLLM's parameters, every one that changes the distribution written out: a server has defaults of its own (those of the
    model's generation_config.json), and what it is not told it takes from there."""
    return {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "max_tokens": sampling.max_new_tokens,
        "min_tokens": 0, "stop_token_ids": sorted(eos_ids), "ignore_eos": False, "logprobs": 0, "detokenize": False,
    }  # fmt: skip


def read_choice(choice: dict[str, Any], eos_ids: frozenset[int]) -> Completion:
    """A choice of the server as a completion. Raises ValueError for one that must not be trained on, and says why."""
    ids = [int(i) for i in choice.get("token_ids") or []]
    content = (choice.get("logprobs") or {}).get("content")
    reason = choice["finish_reason"]
    if not ids or content is None:
        raise ValueError(
            f"the server gave a completion without {'log-probabilities' if ids else 'token ids'}: {str(choice)[:200]}"
        )
    if [entry["token_id"] for entry in content] != ids:
        raise ValueError("the server's log-probabilities belong to other tokens than it gave")
    if reason not in ("stop", "length"):
        raise ValueError(f"the server ended a completion with {reason!r}; expected 'stop' or 'length'")
    if reason == "stop" and ids[-1] not in eos_ids:
        raise ValueError(
            f"the server stopped after token {ids[-1]}, which is none of the policy's end-of-sequence ids {sorted(eos_ids)}: "
            "training would never see the end. Do server and trainer have the same generation_config.json?"
        )
    logps = [float(entry["logprob"]) for entry in content]
    if min(logps) <= -9999.0:  # how the server writes NaN and minus infinity
        raise ValueError("the server sampled a token whose log-probability is NaN or minus infinity: its weights are damaged")
    return Completion(ids, logps, reason)
