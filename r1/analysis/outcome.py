"""Did it matter? The answer before each reflection against the answer in the end, and reflecting against plain samples.

    turns(trace)          every reflection of one completion: the draft before it, the final answer, what became of the verdict
    outcomes(groups)      how often a reflection turned wrong into right, right into wrong, or changed nothing, with intervals
    pays(groups)          accuracy of reflecting minus plain samples *of the same problems*, with intervals and p

The draft is read off the text (`grading.draft`), so that any trace file will do. A draft is what the thought had reached, not
what the policy believed: `analysis.importance` asks the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from r1.analysis.reflection import REFLECTIVE, find_reflections, reflects
from r1.analysis.trace_view import correct as judged
from r1.evaluation.intervals import Comparison, Tally, compare, problems_interval
from r1.grading import canonical, correct, draft, parse
from r1.records import Group, Problem, Trace

Outcome = Literal["wrong to right", "right to wrong", "unchanged", "still wrong", "no answer yet"]
OUTCOMES: tuple[Outcome, ...] = ("wrong to right", "right to wrong", "unchanged", "still wrong", "no answer yet")


@dataclass(frozen=True, slots=True)
class Turn:
    """One reflection. start, end, kind: its span in the text; before: the draft in front of it, None where there was none;
    after: the final answer, None where there is none; right_before, right: the verdicts on both."""

    start: int
    end: int
    kind: str
    before: str | None
    after: str | None
    right_before: bool
    right: bool
    same: bool

    @property
    def outcome(self) -> Outcome:
        """`unchanged`: the same answer, or another right one. `still wrong`: from one wrong answer to another, or to none."""
        if self.before is None:
            return "no answer yet"
        if self.right != self.right_before:
            return "wrong to right" if self.right else "right to wrong"
        return "unchanged" if self.right or self.same else "still wrong"


def turns(trace: Trace) -> list[Turn]:
    """Every reflection of a completion (verification, backtracking, aha remark) before its final answer, in order."""
    final = parse(trace.text, truncated=trace.truncated).answer
    right = is_right(trace)
    problem, found = trace.problem, []
    for r in find_reflections(trace.text, REFLECTIVE):
        start = int(r["start"])
        before = draft(trace.text[:start], problem)
        same = before is not None and final is not None and canonical(problem, before) == canonical(problem, final)
        right_before = right if same else before is not None and correct(problem, before)
        found.append(Turn(start, int(r["end"]), str(r["kind"]), before, final, right_before, right, same))
    return found


def is_right(trace: Trace) -> bool:
    """The verdict a trace was scored with; where it has none, that of its problem's verifier."""
    verdict = judged(trace)
    return correct(trace.problem, parse(trace.text, truncated=trace.truncated)) if verdict is None else verdict


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval over problems."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What reflections came to. reflections: how many; samples: completions with one; problems: problems with one.

    shares      of each outcome: mean over problems of the share among the problem's reflections
    first_draft share of reflecting samples whose draft before their first reflection was right: had they stopped there
    final       share of the same samples that are right in the end
    """

    reflections: int
    samples: int
    problems: int
    shares: dict[Outcome, Share]
    first_draft: Share
    final: Share


def outcomes(groups: Sequence[Group]) -> Outcomes | None:
    """The outcomes over the completions of these groups; None where nothing reflects. Every problem weighs the same."""
    by_problem = [[found for trace in group.traces if (found := turns(trace))] for group in groups]
    by_problem = [samples for samples in by_problem if samples]
    if not by_problem:
        return None
    flat = [[turn for sample in samples for turn in sample] for samples in by_problem]
    shares = {name: _share([_mean([turn.outcome == name for turn in found]) for found in flat]) for name in OUTCOMES}
    return Outcomes(
        reflections=sum(map(len, flat)),
        samples=sum(map(len, by_problem)),
        problems=len(by_problem),
        shares=shares,
        first_draft=_share([_mean([sample[0].right_before for sample in samples]) for samples in by_problem]),
        final=_share([_mean([sample[0].right for sample in samples]) for samples in by_problem]),
    )


def pays(groups: Sequence[Group], seed: int = 0) -> Comparison | None:
    """Accuracy of reflecting minus plain samples over the problems that have both sorts; None where no problem has.

    Within problems, because hard problems make models reflect: pooled, reflecting looks harmful even where it helps. It is
    still a comparison of samples that chose to reflect with samples that chose not to; what a reflection *does* takes an
    intervention (`analysis.importance`).
    """
    plain, reflecting = [], []
    for group in groups:
        sorts: dict[bool, list[bool]] = {True: [], False: []}
        for trace in group.traces:
            sorts[reflects(trace.text)].append(is_right(trace))
        if sorts[True] and sorts[False]:
            reflecting.append(Tally.of(sorts[True]))
            plain.append(Tally.of(sorts[False]))
    return compare(plain, reflecting, seed) if plain else None


def grouped(traces: Sequence[Trace]) -> list[Group]:
    """Groups by problem, in the order the problems first appear."""
    found: dict[str, tuple[Problem, list[Trace]]] = {}
    for trace in traces:
        found.setdefault(trace.problem.id, (trace.problem, []))[1].append(trace)
    return [Group(problem, tuple(members)) for problem, members in found.values()]


def _share(values: Sequence[float]) -> Share:
    return Share(_mean(values), *problems_interval(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
