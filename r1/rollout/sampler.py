"""Problem -> Trace: the first arrow of the line that data takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from r1 import repro
from r1.records import Group, Problem, Trace
from r1.rollout.engine import Engine, Sampling

if TYPE_CHECKING:
    from r1.policy.policy import Policy


def sample(
    engine: Engine, policy: Policy, problems: Sequence[Problem], n: int, sampling: Sampling, keys: tuple[int | str, ...]
) -> list[Group]:
    """n completions of each problem, as one Group a problem in the problems' order.

    `keys` is (seed, stage, step); completion i of a problem draws from the stream `repro.key(*keys, problem.id, i)`, wherever
    it stands in whatever batch. A problem that comes twice continues its own numbering: n more completions, not the same ones.
    """
    prompts = [policy.encode(problem) for problem in problems]
    earlier: Counter[str] = Counter()
    seeds = []
    for problem in problems:
        start = n * earlier[problem.id]
        seeds.append([repro.key(*keys, problem.id, i) for i in range(start, start + n)])
        earlier[problem.id] += 1
    completions = engine.generate(prompts, n, sampling, seeds)
    return [
        Group(problem, tuple(
            Trace(
                problem=problem, prompt_ids=prompt, token_ids=c.token_ids, logps=c.logps, text=policy.decode(c.token_ids),
                finish_reason=c.finish_reason, weight_version=engine.weight_version, seed=seed,
            )
            for c, seed in zip(row, row_seeds, strict=True)
        ))
        for problem, prompt, row, row_seeds in zip(problems, prompts, completions, seeds, strict=True)
    ]  # fmt: skip
