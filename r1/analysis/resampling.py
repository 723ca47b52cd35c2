"""Go on from inside a trace: prefixes of the sampled token ids, continued by any rollout engine, graded as whole completions.

    places = spans(trace, policy)                              # where its reflections are, in tokens
    prefix = Prefix(trace, places[0].before)                   # the thought up to there, to be continued
    sampler = Resampler(policy, HFEngine(policy), Sampling(max_new_tokens=192))
    [rollouts] = sampler([prefix], n=8)                        # asked again, it draws new ones

Prefixes are real token ids and are never decoded and encoded again: another spelling of the same text may be a place where the
policy has never been.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from r1 import repro
from r1.analysis.reflection import REFLECTIVE, find_reflections
from r1.grading import canonical, correct, parse
from r1.records import Trace
from r1.rollout.engine import Completion, Engine, Sampling

if TYPE_CHECKING:
    from r1.policy import Policy

_SENTENCE_END = re.compile(r"[.!?。！？]+[\"')\]]*(?=\s|$|[^\x00-\x7f])|\n|(?=\s*</think)")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a completion: `text`, and how many of the completion's tokens lie before it and up to its end."""

    trace: Trace
    before: int
    after: int
    text: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first `kept` tokens of a trace's completion, then tokens of our own (`added`), to be continued.

    room  tokens the continuation may have; None: what the sampling's limit leaves of the whole completion
    """

    trace: Trace
    kept: int
    added: tuple[int, ...] = ()
    room: int | None = None

    @property
    def completion(self) -> list[int]:
        return [*self.trace.token_ids[: self.kept], *self.added]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One continuation: its own text, the answer of the whole completion by its canonical name (None: no answer), the verdict."""

    text: str
    answer: str | None
    right: bool


def spans(trace: Trace, policy: Policy, until: Literal["sentence", "cue"] = "sentence") -> list[Span]:
    """The reflections in a completion's thought, each from its cue to the end of its sentence, or the cue alone.

    A sentence that holds several cues is one span. Reflections after the thought are left out: the answer is settled there.
    ValueError where the policy's tokenizer is not the trace's.
    """
    if policy.decode(trace.token_ids) != trace.text:
        raise ValueError(
            f"the trace of {trace.problem.id!r} decodes to another text with this policy's tokenizer and template; use those it was sampled with"
        )
    close = trace.text.rfind("</think")
    found: list[tuple[int, int]] = []
    for r in find_reflections(trace.text, REFLECTIVE):
        start, end = int(r["start"]), int(r["end"])
        if 0 <= close < start:
            break
        if until == "sentence":
            sentence = _SENTENCE_END.search(trace.text, end)
            end = sentence.end() if sentence else len(trace.text)
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return [span for start, end in found if (span := _span(trace, policy, start, end)).after > span.before]


def _span(trace: Trace, policy: Policy, start: int, end: int) -> Span:
    before = tokens_within(policy, trace.token_ids, start)
    after = tokens_within(policy, trace.token_ids, end)
    if len(policy.decode(trace.token_ids[:after])) < len(trace.text[:end].rstrip()):
        after += 1  # a token that reaches over the end belongs to the span
    return Span(trace, before, min(after, len(trace.token_ids)), trace.text[start:end])


def tokens_within(policy: Policy, token_ids: Sequence[int], characters: int) -> int:
    """The most tokens whose text is no longer than so many characters of the decoded completion."""
    low, high = 0, len(token_ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(policy.decode(list(token_ids[:middle])).rstrip()) <= characters:
            low = middle
        else:
            high = middle - 1
    return low


class Resampler:
    """Continues prefixes, many in one batch. Every draw is keyed by (seed, trace, prefix, sample): the same question gets the same
    answer whatever else is asked, and asking a prefix again continues its numbering.

    judge  whole completion as a Trace -> right?; None: the problem's verifier
    """

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        sampling: Sampling,
        seed: int = 0,
        judge: Callable[[Trace], bool] | None = None,
    ) -> None:
        if sampling.greedy:
            raise ValueError("resampling draws many continuations of one prefix: temperature must be above 0, got 0 (greedy)")
        self.policy, self.engine, self.sampling, self.seed, self.judge = policy, engine, sampling, seed, judge
        self._drawn: Counter[tuple[int | str, ...]] = Counter()

    def __call__(self, prefixes: Sequence[Prefix], n: int) -> list[list[Rollout]]:
        """n rollouts of each prefix, new ones at every call."""
        if not prefixes:
            return []
        seeds = []
        for prefix in prefixes:
            key: tuple[int | str, ...] = (prefix.trace.problem.id, prefix.trace.seed, *prefix.completion)
            seeds.append([repro.key(self.seed, "resample", *key, i) for i in range(self._drawn[key], self._drawn[key] + n)])
            self._drawn[key] += n
        prompts = [[*prefix.trace.prompt_ids, *prefix.completion] for prefix in prefixes]
        longest = max(map(self._room, prefixes))
        completions = self.engine.generate(prompts, n, replace(self.sampling, max_new_tokens=longest), seeds)
        return [[self._grade(prefix, c) for c in row] for prefix, row in zip(prefixes, completions, strict=True)]

    def _room(self, prefix: Prefix) -> int:
        limit = self.sampling.max_new_tokens
        return prefix.room or max(1, limit - len(prefix.completion))

    def _grade(self, prefix: Prefix, completion: Completion) -> Rollout:
        """Cut to the prefix's own room first: a batch has one limit, and tokens are drawn one by one, so a cut changes nothing."""
        room = self._room(prefix)
        ids, reason = completion.token_ids[:room], completion.finish_reason
        if len(completion.token_ids) > room:
            reason = "length"
        whole = [*prefix.completion, *ids]
        text, problem = self.policy.decode(whole), prefix.trace.problem
        answer = parse(text, truncated=reason == "length").answer
        if self.judge is None:
            right = correct(problem, answer)
        else:
            logps = [0.0] * len(prefix.completion) + completion.logps[:room]
            right = self.judge(Trace(problem, prefix.trace.prompt_ids, whole, logps, text, reason))
        own = text[len(self.policy.decode(prefix.completion)) :]
        return Rollout(own, None if answer is None else canonical(problem, answer), right)


def forced(policy: Policy, trace: Trace, kept: int, room: int = 32) -> Prefix:
    """The prefix that makes the policy answer now: its open thought is closed and the answer begun, `</think> <answer>`."""
    text = policy.decode(trace.token_ids[:kept])
    words = "<answer>" if parse(text).closed else "</think> <answer>"
    added = policy.tokenizer(words, add_special_tokens=False)["input_ids"]
    return Prefix(trace, kept, tuple(added), room)
