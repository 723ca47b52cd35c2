"""An experiment: make the policy reconsider ("wait ,") where it is unsure, where it is sure, or anywhere. Does it help, and where?

2601.00514 finds that shifts which models make by themselves seldom help, and that shifts triggered from outside help where entropy
is high. Here the trigger is put at the end of a sentence of the thought, chosen by the entropy of the next token, and the policy goes
on from there with it and, as the control, without it.

    for arm in reconsider(policy, HFEngine(policy), Sampling(max_new_tokens=192), traces):
        arm.where, arm.entropy, arm.with_cue, arm.without, arm.comparison.difference, arm.comparison.problems
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from r1 import repro
from r1.analysis.resampling import Prefix, Resampler, Rollout, tokens_within
from r1.evaluation.intervals import Comparison, Tally, compare
from r1.records import Trace
from r1.rollout.collate import collate, microbatches, narrow
from r1.rollout.engine import Engine, Sampling

if TYPE_CHECKING:
    from r1.policy import Policy

Where = Literal["high", "low", "random"]
_BREAK = re.compile(r"[.!?。！？]+(?=\s|$|[^\x00-\x7f])|\n")


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of choosing the place. entropy: mean over traces, in nats, of the next token there; with_cue, without: share of right
    rollouts, problems weighing the same; comparison: with minus without over problems, with intervals and p."""

    where: Where
    traces: int
    entropy: float
    with_cue: float
    without: float
    comparison: Comparison


def reconsider(
    policy: Policy,
    engine: Engine,
    sampling: Sampling,
    traces: Sequence[Trace],
    where: Sequence[Where] = ("high", "low", "random"),
    cue: str = "wait ,",
    n: int = 8,
    seed: int = 0,
) -> list[Arm]:
    """One arm for each way of choosing; n rollouts with the cue and n without, for every trace.

    Traces whose thought has no sentence end before its last token are left out. ValueError where none is left, for an empty cue,
    and for an unknown way of choosing.
    """
    unknown = set(where) - set(get_args(Where))
    if unknown or not where:
        raise ValueError(f"where lists some of {', '.join(get_args(Where))}, got {list(where)}")
    added = tuple(policy.tokenizer(cue, add_special_tokens=False)["input_ids"])
    if not added:
        raise ValueError(f"the cue {cue!r} is no token of this tokenizer")
    options = [(trace, places(trace, policy)) for trace in traces]
    options = [(trace, found) for trace, found in options if found]
    if not options:
        raise ValueError(
            f"none of the {len(traces)} traces has a finished sentence in its thought: there is no place to intervene"
        )
    uncertain = entropies(policy, [trace for trace, _ in options], sampling.temperature)
    sampler = Resampler(policy, engine, sampling, seed)
    arms = []
    for way in where:
        chosen = [_choose(trace, found, entropy, way, seed) for (trace, found), entropy in zip(options, uncertain)]
        prefixes = [Prefix(t, kept, ids) for (t, _), kept in zip(options, chosen) for ids in (added, ())]
        rollouts = sampler(prefixes, n)
        at = [entropy[kept] for entropy, kept in zip(uncertain, chosen)]
        arms.append(_arm(way, [trace for trace, _ in options], at, rollouts[::2], rollouts[1::2]))
    return arms


def places(trace: Trace, policy: Policy) -> list[int]:
    """Where a sentence of the thought has just ended, as numbers of completion tokens; the end of the completion is no place."""
    close = trace.text.rfind("</think")
    thought = trace.text if close < 0 else trace.text[:close]
    if close < 0 and "<answer" in thought:
        thought = thought[: thought.index("<answer")]
    found = {tokens_within(policy, trace.token_ids, match.end()) for match in _BREAK.finditer(thought)}
    return sorted(t for t in found if 0 < t < len(trace.token_ids))


def entropies(policy: Policy, traces: Sequence[Trace], temperature: float = 1.0, tokens: int = 8192) -> list[list[float]]:
    """[T] for each trace: entropy in nats of the distribution that each of its tokens was drawn from, top-k and top-p aside.

    `tokens` bounds the size of one forward pass, padding included.
    """
    batch = collate(traces, policy.pad_id)
    out: list[list[float]] = [[] for _ in traces]
    for rows in microbatches(batch, range(len(traces)), tokens):
        part = narrow(batch, rows).to(policy.device)
        _, entropy = policy.logps(part, temperature)
        for row, values, mask in zip(rows, entropy.cpu(), part.mask.cpu()):
            out[row] = values[mask].tolist()
    return out


def _choose(trace: Trace, found: Sequence[int], entropy: Sequence[float], way: Where, seed: int) -> int:
    if way == "random":
        return Random(repro.key(seed, "reconsider", trace.problem.id, trace.seed)).choice(list(found))
    return (max if way == "high" else min)(found, key=lambda t: entropy[t])


def _arm(
    way: Where, traces: Sequence[Trace], at: Sequence[float], cued: Sequence[list[Rollout]], plain: Sequence[list[Rollout]]
) -> Arm:
    by_problem: dict[str, tuple[list[bool], list[bool]]] = {}
    for trace, first, second in zip(traces, plain, cued):
        sides = by_problem.setdefault(trace.problem.id, ([], []))
        sides[0].extend(r.right for r in first)
        sides[1].extend(r.right for r in second)
    without, with_cue = ([Tally.of(sides[i]) for sides in by_problem.values()] for i in (0, 1))
    means = [sum(tally.pass_at(1) for tally in tallies) / len(tallies) for tallies in (with_cue, without)]
    return Arm(way, len(traces), sum(at) / len(at), means[0], means[1], compare(without, with_cue))
