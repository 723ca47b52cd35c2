"""What a rollout engine is: token ids in, token ids and their log-probabilities out.

Engines never see text. A completion that is decoded and encoded again need not give the ids that were sampled, and training
on other ids than were sampled is a silent off-policy bug.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from r1.records import FinishReason

if TYPE_CHECKING:
    from r1.policy.policy import Policy


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn: logits / temperature, then the `top_k` likeliest tokens (0 keeps all), then the smallest set
    that holds `top_p` of what is left, renormalised.

    `temperature=0` is greedy: the likeliest token, whatever top-k and top-p say. Its log-probabilities are those of the
    distribution at temperature 1, since those of the greedy choice itself are all 0 and say nothing.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 192

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"Sampling.temperature must be 0 (greedy) or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"Sampling.top_p must be in (0, 1], 1 keeps every token; got {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"Sampling.top_k must be 0 (every token) or more, got {self.top_k}")
        if self.max_new_tokens < 1:
            raise ValueError(f"Sampling.max_new_tokens must be at least 1, got {self.max_new_tokens}")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation.

    token_ids      [T] the end-of-sequence id included when one was sampled, nothing after it
    logps          [T] under the distribution the ids were drawn from (temperature, top-k, top-p)
    finish_reason  "stop" after an end-of-sequence id, "length" at the limit
    """

    token_ids: list[int]
    logps: list[float]
    finish_reason: FinishReason


class Engine(Protocol):
    """Anything that continues prompts."""

    weight_version: int
    """Optimiser updates that the sampling weights have seen: what the last `sync` said."""

    def generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """n completions for each of P prompts; `seeds` [P][n] keys each completion's own random stream (`repro.key`)."""

    def sync(self, policy: Policy, version: int) -> None:
        """Sample with this policy's weights from now on."""


def check_request(prompts: Sequence[Sequence[int]], n: int, seeds: Sequence[Sequence[int]]) -> None:
    """What every engine asks of `generate`'s arguments. Raises ValueError."""
    if n < 1:
        raise ValueError(f"n, the completions per prompt, must be at least 1, got {n}")
    for i, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {i} is empty: a model needs at least one token to predict the next")
    widths = {len(row) for row in seeds}
    if len(seeds) != len(prompts) or widths - {n}:
        raise ValueError(f"seeds must be [P][n] = [{len(prompts)}][{n}], got {len(seeds)} rows of lengths {sorted(widths)}")
