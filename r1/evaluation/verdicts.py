"""One problem's samples, judged: which are right, who votes with whom, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from r1.analysis.reflection import mixes_languages, reflects, repetition
from r1.evaluation.intervals import Tally
from r1.evaluation.rates import Look, mean_consistency
from r1.grading import cluster, correct, parse, r1_format, r1_zero_format
from r1.records import Group, Trace
from r1.repro import key
from r1.rewards.code import last_block
from r1.rewards.language import Language

Judge = Callable[[Sequence[Trace]], Sequence[float | None]]


@dataclass(frozen=True)
class Assessed:
    """A group with its verdicts. `group` holds the samples that could be judged, `unjudged` counts the others (an outage)."""

    group: Group
    answers: list[str]  # one a class, as its first member wrote it
    tally: Tally
    looks: list[Look]
    unjudged: int = 0

    def row(self) -> dict[str, Any]:
        """JSON for `EvalReport.problems`: enough to vote, count and compare again without the traces."""
        classes: list[dict[str, Any]] = [
            {"answer": answer, "count": size, "correct": right}
            for answer, size, right in zip(self.answers, self.tally.sizes, self.tally.right)
        ]
        row = {
            "id": self.group.problem.id,
            "n": self.tally.n,
            "correct": self.tally.correct,
            "unparsed": self.tally.unparsed,
            "answers": sorted(classes, key=lambda c: -c["count"]),
            "reflecting": sum(look.reflects for look in self.looks),
            "mixed": sum(look.mixed for look in self.looks),
            "consistency": mean_consistency(self.looks),
            "mean_length": sum(len(t.token_ids) for t in self.group.traces) / max(1, len(self.group)),
        }
        return row | {"unjudged": self.unjudged} if self.unjudged else row


def assess_group(group: Group, judge: Judge | None = None) -> Assessed:
    """Verdicts by `judge`, or by `grading.correct` against the gold answer.

    A judge's value is 1 where the sample is right; NaN (an outage) leaves the sample out, since that says nothing about the
    policy. Raises ValueError where the judge has no opinion at all (None): the benchmark holds a problem it cannot judge.
    """
    if judge is None:
        parsed = [parse(trace.text, truncated=trace.truncated) for trace in group.traces]
        verdicts: list[bool | None] = [correct(group.problem, one) for one in parsed]
    else:
        verdicts = [_verdict(value, group) for value in judge(group.traces)]
    known = group.with_traces([trace for trace, verdict in zip(group.traces, verdicts) if verdict is not None])
    right = [verdict for verdict in verdicts if verdict is not None]
    answers = [answer_of(trace) for trace in known.traces]
    classes = _classes(answers, right, known)
    voters = sum(map(len, classes))
    # A judge may call a sample right that has no answer to vote with: it counts, and stands for itself.
    voted = {i for members in classes for i in members}
    classes += [[i] for i in range(len(right)) if right[i] and i not in voted]
    alone = sum(map(len, classes)) - voters
    tally = Tally(tuple(len(c) for c in classes), tuple(right[c[0]] for c in classes), len(right) - voters - alone)
    looks = [_look(trace, verdict) for trace, verdict in zip(known.traces, right)]
    return Assessed(known, [answers[c[0]] or "" for c in classes], tally, looks, len(group) - len(known))


def answer_of(trace: Trace) -> str | None:
    """What a sample votes with: its parsed answer; of code a name for its program, the same for equal programs."""
    parsed = parse(trace.text, truncated=trace.truncated)
    if trace.problem.domain != "code":
        return parsed.answer
    program = last_block(parsed.summary, truncated=trace.truncated)
    return f"program {key(program.strip()):016x}" if program is not None else None


def _verdict(value: float | None, group: Group) -> bool | None:
    if value is None:
        raise ValueError(
            f"the judge has nothing to say about problem {group.problem.id!r} (a program is judged by tests, and it has "
            f"{'some' if group.problem.tests else 'none'}); leave the problem out or choose another judge"
        )
    return None if math.isnan(value) else value >= 1


def _classes(answers: Sequence[str | None], right: Sequence[bool], group: Group) -> list[list[int]]:
    """Samples that vote together: their answers are equal and so are their verdicts. A bare "54" where an expression was asked
    equals "6 * 9" in value, and still is not an answer to the question."""
    if group.problem.domain == "code":
        same: dict[str, list[int]] = {}
        for i, answer in enumerate(answers):
            if answer is not None:
                same.setdefault(answer, []).append(i)
        clusters = list(same.values())
    else:
        clusters = cluster(answers, group.problem)
    classes = [[i for i in members if right[i] is verdict] for members in clusters for verdict in (True, False)]
    return [members for members in classes if members]


def _look(trace: Trace, right: bool) -> Look:
    text = trace.text
    structured = r1_zero_format(text) or r1_format(text)
    return Look(right, reflects(text), mixes_languages(text), structured, repetition(text), _consistency(trace))


def _consistency(trace: Trace) -> float | None:
    """The language reward's figure (v2 eq. 7); None for thoughts without words and for languages it cannot tell apart."""
    return Language()([trace])[0] if trace.problem.language in ("en", "zh") else None
