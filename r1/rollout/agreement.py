"""Do sampler and trainer mean the same? Sample a little, score it again with the trainer's own forward pass, compare token by token.

A sampler that works in another precision, reports log-probabilities before the temperature, or has old weights, trains on a
ratio that is not 1 where it should be, and nothing fails. This asks before training does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from r1.records import Problem
from r1.rollout.collate import collate, microbatches, narrow
from r1.rollout.engine import Engine, Sampling
from r1.rollout.sampler import sample

if TYPE_CHECKING:
    from r1.policy.policy import Policy

LIMIT = 0.05  # nats: mean |difference| that two bf16 implementations of one model stay under; float32 ones stay under 1e-4


@dataclass(frozen=True)
class Agreement:
    """Over all sampled tokens: d = trainer's log-probability - sampler's, ratio = exp(d).

    raw_difference  mean |d| if the sampler's figures are taken for those at temperature 1: near 0 where they are
    """

    tokens: int
    mean_difference: float
    max_difference: float
    mean_ratio: float
    max_ratio: float
    raw_difference: float
    temperature: float

    @property
    def ok(self) -> bool:
        return self.mean_difference <= LIMIT

    def text(self) -> str:
        """The figures, and what is probably wrong."""
        figures = (
            f"{self.tokens} tokens: mean |difference| {self.mean_difference:.2e} nats, largest {self.max_difference:.2e}; "
            f"ratio trainer/sampler {self.mean_ratio:.4f} on average, at most {self.max_ratio:.3f}"
        )
        if self.ok:
            return f"sampler and trainer agree. {figures}"
        if self.temperature != 1 and self.raw_difference <= LIMIT:
            cause = (
                "the sampler reports log-probabilities before the temperature: start vLLM with --logprobs-mode processed_logprobs"
            )
        else:
            cause = "other weights, another tokenizer or template, a quantised sampler, or another dtype than the trainer's?"
        return f"sampler and trainer do NOT agree (expected at most {LIMIT}). {figures}. {cause}"


@torch.no_grad()
def agreement(
    policy: Policy,
    engine: Engine,
    problems: Sequence[Problem],
    n: int,
    sampling: Sampling,
    seed: int = 0,
    micro_tokens: int = 8192,
) -> Agreement:
    """Give the engine this policy's weights, sample n completions of each problem, and score them with the policy itself.

    Raises ValueError for greedy sampling and for top-k or top-p, whose log-probabilities are of a cut distribution.
    """
    if sampling.greedy or sampling.top_k or sampling.top_p < 1:
        raise ValueError(f"agreement is measured at temperature > 0 without top-k and top-p, got {sampling}")
    engine.sync(policy, 0)
    groups = sample(engine, policy, problems, n, sampling, (seed, "agreement", 0))
    batch = collate([trace for group in groups for trace in group.traces], policy.pad_id)
    differences: list[torch.Tensor] = []
    raw: list[torch.Tensor] = []
    for rows in microbatches(batch, range(len(batch)), micro_tokens):
        part = narrow(batch, rows).to(policy.device)
        assert part.sampler_logp is not None
        for temperature, found in ((sampling.temperature, differences), (1.0, raw)):
            found.append((policy.logps(part, temperature)[0] - part.sampler_logp)[part.mask].double().cpu())
    d = torch.cat(differences)
    return Agreement(
        tokens=d.numel(), mean_difference=float(d.abs().mean()), max_difference=float(d.abs().max()), mean_ratio=float(d.exp().mean()),
        max_ratio=math.exp(float(d.max())), raw_difference=float(torch.cat(raw).abs().mean()), temperature=sampling.temperature,
    )  # fmt: skip
