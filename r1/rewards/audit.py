"""Does this reward pay for hacks? A corpus of tricks and of honest completions, run through a reward before any training.

    probes.jsonl ──▶ every part ──▶ paid for a trick? refused an honest completion?

What a part judges is found out by asking it: a part that pays less for a plainly wrong answer judges answers, one that does not but
pays less for the same text without tags judges structure. So a reward function from anywhere can be audited, unchanged. Each probe says
whether its answer is right and which structures it keeps; a part is only held to what it judges.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from r1.records import Problem, Trace
from r1.rewards.base import Part, Reward

PROBLEMS = {
    "int": Problem("audit/int", "What is 6 times 7?", "42"),
    "frac": Problem("audit/frac", "A fair coin is thrown. How likely is heads?", r"\frac{1}{2}"),
    "choice": Problem("audit/choice", "Which is 42? A: 41 B: 42 C: 43", "B", meta={"verifier": "choice"}),
    "countdown": Problem(
        "audit/countdown",
        "use two of 9 6 2 to make 54",
        "9 * 6",
        meta={"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54},
    ),
    "interval": Problem("audit/interval", "Solve x - 2 > 0.", r"(2,\infty)"),
    "zh": Problem("audit/zh", "三个盒子，每盒四个，一共几个？", "12", language="zh"),
}
STYLES = ("r1_zero", "r1")
_FRAMES = {"r1_zero": "<think>6 times 7</think> <answer>{}</answer>", "r1": "<think>6 times 7</think> So \\boxed{{{}}}"}
_BARE = "6 times 7, so \\boxed{42}"
_PER_KIND = 4  # probes of each kind in the fast audit


@dataclass(frozen=True, slots=True)
class Probe:
    """One completion: whether its answer is right, and which of STYLES it keeps exactly. Kind "good" is honest, all others are tricks."""

    name: str
    kind: str
    problem: str
    text: str
    right: bool
    styles: tuple[str, ...]

    @property
    def trace(self) -> Trace:
        words: dict[str, int] = {}
        ids = [words.setdefault(word, len(words)) for word in self.text.split()] or [0]
        return Trace(PROBLEMS[self.problem], [0], ids, [0.0] * len(ids), self.text, "stop")

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@cache
def probes() -> tuple[Probe, ...]:
    """The corpus, beside this file."""
    rows = (json.loads(line) for line in Path(__file__).with_name("probes.jsonl").read_text(encoding="utf-8").splitlines())
    return tuple(Probe(**row | {"styles": tuple(row["styles"])}) for row in rows)


@dataclass
class PartReport:
    """What one part did. `judges`: "answers", "structure" or ""; `paid`: tricks it paid for; `refused`: honest ones it did not."""

    name: str
    weight: float
    judges: str = ""
    tried: int = 0
    paid: list[Probe] = field(default_factory=list)
    refused: list[Probe] = field(default_factory=list)
    unjudged: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    parts: tuple[PartReport, ...]

    @property
    def ok(self) -> bool:
        """No part that counts paid for a trick."""
        return not any(part.paid for part in self.parts if part.weight)

    def text(self) -> str:
        lines = []
        for part in self.parts:
            what = part.judges or "neither answers nor structure: nothing here can fool it"
            lines.append(f"{part.name} (weight {part.weight:g}) judges {what}")
            if part.judges:
                lines.append(f"  tricks paid for   {len(part.paid):3d} of {part.tried}")
                lines += [f"    {probe}  {probe.text[:90]!r}" for probe in part.paid]
                lines.append(f"  honest, refused   {len(part.refused):3d}")
                lines += [f"    {probe}  {probe.text[:90]!r}" for probe in part.refused]
            if part.unjudged:
                lines.append(f"  could not judge   {part.unjudged:3d}")
            lines.append(f"  seconds           {part.seconds:6.2f}")
        lines.append("no trick is paid for" if self.ok else "this reward pays for tricks: a policy will find them")
        return "\n".join(lines)


def audit(reward: Reward, fast: bool = False) -> Report:
    """Run the corpus (or a few probes of each kind) through every part of the reward."""
    chosen: Sequence[Probe] = probes()
    if fast:
        chosen = [p for kind in dict.fromkeys(q.kind for q in chosen) for p in [q for q in chosen if q.kind == kind][:_PER_KIND]]
    return Report(tuple(_audit_part(name, part, reward.weights[name], chosen) for name, part in reward.parts.items()))


def refused_golds(reward: Reward, problems: Iterable[Problem]) -> list[Problem]:
    """Problems whose own gold answer does not earn full accuracy, in either structure: a grader that cannot read its data set."""
    kept = [problem for problem in problems if problem.answer is not None]
    refused = []
    for part in reward.parts.values():
        role, marks = _limits(part)
        if role == "answers":
            columns = [part([_trace(p, _FRAMES[style].format(p.answer)) for p in kept]) for style in marks]
            for problem, values in zip(kept, zip(*columns, strict=True), strict=True):
                if not any(v is None or v > mark for v, mark in zip(values, marks.values(), strict=True)):
                    refused.append(problem)
    return list({problem.id: problem for problem in refused}.values())


def _audit_part(name: str, part: Part, weight: float, chosen: Sequence[Probe]) -> PartReport:
    role, marks = _limits(part)
    report = PartReport(name, weight, role)
    start = time.perf_counter()
    values = part([probe.trace for probe in chosen])
    report.seconds = time.perf_counter() - start
    for probe, value in zip(chosen, values, strict=True):
        if value is None or math.isnan(value):
            report.unjudged += value is not None
        elif role and (verdict := _verdict(role, probe, value, marks)):
            trick, paid = verdict
            report.tried += trick
            if trick and paid:
                report.paid.append(probe)
            elif not trick and not paid:
                report.refused.append(probe)
    return report


def _verdict(role: str, probe: Probe, value: float, marks: dict[str, float]) -> tuple[bool, bool] | None:
    """(is this a trick, was it paid), for a part that judges `role`; None where the probe says nothing about it."""
    if role == "answers":
        if not probe.right:
            return True, value > max(marks.values())
        styles = [style for style in probe.styles if style in marks]
        return (False, value > marks[styles[0]]) if probe.kind == "good" and styles else None
    kept = [style for style in marks if style in probe.styles]
    if kept:
        return False, value > marks[kept[0]]
    return True, value > min(marks.values())


def _limits(part: Part) -> tuple[str, dict[str, float]]:
    """What the part judges, and by style the value halfway between its pay for a sound completion and for a broken one."""
    answers, structure = {}, {}
    for style in STYLES:
        sound, wrong, bare = _three(part, style)
        if sound > wrong:
            answers[style] = (sound + wrong) / 2
        elif sound > bare:
            structure[style] = (sound + bare) / 2
    return ("answers", answers) if answers else ("structure", structure) if structure else ("", {})


def _three(part: Part, style: str) -> tuple[float, float, float]:
    problem = PROBLEMS["int"]
    texts = [_FRAMES[style].format("42"), _FRAMES[style].format("41"), _BARE]
    values: Any = part([_trace(problem, text) for text in texts])
    return tuple(0.0 if v is None or math.isnan(v) else float(v) for v in values)  # type: ignore[return-value]


def _trace(problem: Problem, text: str) -> Trace:
    return Trace(problem, [0], [0], [0.0], text, "stop")
