"""Small traces of pair countdown, with the tiny policy's tokenizer, and an engine whose chances are known: the fixture `aha`."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch

from r1 import repro
from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.records import Group, Problem, Trace
from r1.rollout.engine import Completion, check_request
from r1.tasks.words import vocabulary

RIGHT, WRONG = "<answer> 9 * 6 </answer> <eos>", "<answer> 9 + 6 </answer> <eos>"
FIRST = "<think> try 9 plus 6 is 15 want 54 no ."
AGAIN = "wait , try 9 times 6 is 54 want 54 yes ."


def problem(name: str = "1") -> Problem:
    meta = {"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54}
    return Problem(f"pair/{name}", "use two of 9 6 2 to make 54", "9 * 6", meta=meta)


@cache
def policy() -> Policy:
    return tiny_policy(vocabulary())


def encode(text: str) -> list[int]:
    return policy().tokenizer(text)["input_ids"]


def trace(text: str, name: str = "1", reason: str = "stop", seed: int = 0) -> Trace:
    ids = encode(text)
    asked = problem(name)
    return Trace(asked, policy().encode(asked), ids, [-0.1] * len(ids), policy().decode(ids), reason, seed=seed)


def group(name: str, *texts: str) -> Group:
    return Group(problem(name), tuple(trace(text, name, seed=i) for i, text in enumerate(texts)))


class KnownChances:
    """Answers at once: rightly with the chance that `chance(prompt's text)` gives, after `opening(prompt's text)`."""

    weight_version = 0

    def __init__(self, chance, opening=lambda text: "") -> None:
        self.chance, self.opening, self.requests = chance, opening, []

    def sync(self, policy: Policy, version: int) -> None: ...

    def generate(self, prompts, n, sampling, seeds):
        check_request(prompts, n, seeds)
        self.requests.append(([list(p) for p in prompts], n, sampling, [list(s) for s in seeds]))
        return [[self._one(policy().decode(list(prompt)), seed, sampling) for seed in row] for prompt, row in zip(prompts, seeds)]

    def _one(self, text, seed, sampling):
        hit = bool(repro.uniform(torch.tensor([seed]), 0) < self.chance(text))
        ids = encode(f"{self.opening(text)} {RIGHT if hit else WRONG}")
        cut = ids[: sampling.max_new_tokens]
        return Completion(cut, [-0.5] * len(cut), "stop" if cut == ids else "length")


@pytest.fixture(scope="session")
def aha() -> SimpleNamespace:
    """The helpers above, under their names."""
    names = {"RIGHT": RIGHT, "WRONG": WRONG, "FIRST": FIRST, "AGAIN": AGAIN, "KnownChances": KnownChances}
    return SimpleNamespace(**names, problem=problem, policy=policy(), encode=encode, trace=trace, group=group)
