"""An engine that reads its completions from a trace file: the same rollouts again, without a model.

For tests, for notebooks, and for training on what somebody else sampled. The log-probabilities are the recorded ones, so an
update can weigh the samples by how likely the current policy finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from r1.records import Trace
from r1.rollout.engine import Completion, Sampling, check_request
from r1.rollout.trace_file import read_traces

if TYPE_CHECKING:
    from r1.policy.policy import Policy


class ReplayEngine:
    """Completions of a recorded prompt, in the order of the file; a completion recorded under the very seed that is asked for
    comes first, so that a run replayed with its own seeds gets its own completions.

    A prompt is found by its token ids, so tokenizer and template must be those of the recording. `weight_version` is the
    newest in the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recorded: dict[tuple[int, ...], list[Trace]] = {}
        for trace, _ in read_traces(self.path):
            self.recorded.setdefault(tuple(trace.prompt_ids), []).append(trace)
        if not self.recorded:
            raise ValueError(f"{self.path} holds no traces to replay")
        self.weight_version = max(trace.weight_version for traces in self.recorded.values() for trace in traces)

    def sync(self, policy: Policy, version: int) -> None:
        """A recording does not follow the policy: its weights stay the recorded ones."""

    def generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """Raises ValueError where the file lacks a prompt, has fewer than n samples of it, or has longer ones than asked for."""
        check_request(prompts, n, seeds)
        return [self._group(tuple(prompt), n, sampling, list(wanted)) for prompt, wanted in zip(prompts, seeds, strict=True)]

    def _group(self, prompt: tuple[int, ...], n: int, sampling: Sampling, seeds: list[int]) -> list[Completion]:
        traces = self.recorded.get(prompt)
        if traces is None:
            known = sorted({t.problem.id for recorded in self.recorded.values() for t in recorded})
            raise ValueError(
                f"{self.path} has no completion of the prompt {list(prompt[:12])}... ({len(prompt)} tokens). It records "
                f"{len(known)} problems: {', '.join(known[:5])}{' ...' if len(known) > 5 else ''}. A recorded problem is not "
                "found when tokenizer or template differ from the recording's"
            )
        if len(traces) < n:
            raise ValueError(f"{self.path} has {len(traces)} completions of problem {traces[0].problem.id!r}, {n} were asked for")
        by_seed = {trace.seed: trace for trace in reversed(traces)}
        chosen = [by_seed[seed] for seed in seeds] if all(seed in by_seed for seed in seeds) else traces[:n]
        longest = max(len(trace.token_ids) for trace in chosen)
        if longest > sampling.max_new_tokens:
            raise ValueError(
                f"{self.path} has a completion of {longest} tokens for problem {traces[0].problem.id!r}, but max_new_tokens is "
                f"{sampling.max_new_tokens}; replay with the recording's limit"
            )
        return [Completion(trace.token_ids, trace.logps, trace.finish_reason) for trace in chosen]
