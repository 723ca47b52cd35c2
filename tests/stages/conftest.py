"""A tiny policy, a scripted engine and a reward that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from r1_kernels import Objective

from r1 import repro
from r1.losses import advantages
from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.records import Problem, Trace
from r1.rewards import Reward
from r1.rollout.engine import Completion, Sampling
from r1.stages import GRPO
from r1.stages.optimizers import adamw

WORDS = ["use", "two", "of", "to", "make", "User", ":", "Assistant", "1", "2", "3", "good", "bad", "<think>", "</think>"]


class Problems:
    """A task of eight questions of different length."""

    name = "eight"

    def __init__(self) -> None:
        self.train = [Problem(f"eight/{i}", " ".join(["use", "1", "2", "3"][: 1 + i % 4]), "3") for i in range(8)]
        self.validation = self.test = self.train


class Scripted:
    """An engine whose completions are a function of their seed alone: 2 to 6 tokens, the last an end unless the limit was hit.
    Log-probabilities are exactly the policy's, row by row."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.weight_version = policy, -1

    def sync(self, policy: Policy, version: int) -> None:
        self.policy, self.weight_version = policy, version

    def generate(self, prompts, n, sampling, seeds):
        return [[self._one(list(prompt), seed, sampling) for seed in row] for prompt, row in zip(prompts, seeds, strict=True)]

    def _one(self, prompt: list[int], seed: int, sampling: Sampling) -> Completion:
        draw = repro.generator(seed, "script")
        length = int(torch.randint(2, 7, (1,), generator=draw))
        ids = torch.randint(3, len(self.policy.tokenizer), (length,), generator=draw).tolist()
        stops = length < 6
        if stops:
            ids[-1] = min(self.policy.eos_ids)
        with torch.no_grad():
            logits = self.policy.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        logps = torch.log_softmax(logits / sampling.temperature, -1)
        return Completion(ids, logps[range(length), ids].tolist(), "stop" if stops else "length")


def share_of_good(traces: Sequence[Trace]) -> list[float | None]:
    return [float(trace.text.split().count("good")) for trace in traces]


def shortness(traces: Sequence[Trace]) -> list[float | None]:
    return [1.0 / len(trace.token_ids) for trace in traces]


def new_policy(seed: int = 0) -> Policy:
    return tiny_policy(WORDS, template="tiny", seed=seed, hidden=16, layers=1, heads=2, inner=24, max_length=64)


def new_grpo(policy: Policy | None = None, engine: type = Scripted, **changes) -> GRPO:
    policy = policy or new_policy()
    return GRPO(
        **{
            "policy": policy,
            "reward": Reward({"good": share_of_good, "short": shortness}, {"good": 1.0, "short": 0.5}),
            "engine": engine(policy),
            "objective": Objective(),
            "advantage": partial(advantages, normalise="group_std"),
            "optimizer": partial(adamw, lr=1e-2),
            "sampling": Sampling(max_new_tokens=6),
            "steps": 2,
            "prompts_per_step": 4,
            "group_size": 4,
            **changes,
        }
    )


def sgd(policy) -> torch.optim.Optimizer:
    """For comparisons of gradients: Adam would blow a difference in the last digit of a tiny one up to the size of a step."""
    return torch.optim.SGD(policy.parameters(), lr=1.0)


def fit(stage, task=Problems, loader=None, **options) -> Trainer:
    """Run the stage to its end, quietly."""
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, **options,
    )  # fmt: skip
    trainer.fit(
        stage, train_dataloaders=loader if loader is not None else stage.loader(task() if isinstance(task, type) else task)
    )
    return trainer


def weights(stage) -> torch.Tensor:
    """All weights of the policy as one vector."""
    return torch.cat([p.detach().flatten().clone() for p in stage.policy.parameters()])


@pytest.fixture
def lab() -> SimpleNamespace:
    """The parts above, for tests to build with."""
    return SimpleNamespace(
        policy=new_policy, grpo=new_grpo, fit=fit, sgd=sgd, weights=weights, Problems=Problems, Scripted=Scripted, WORDS=WORDS
    )
