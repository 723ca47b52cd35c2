"""How the way of writing changes over training, from trace files alone: languages, repetition, truncation, template.

    found = behaviour(run.traces(), phase="rollout")
    found["language/zh"].y, found["two languages"].y, found["repetition"].y, found["truncated"].y, found["template drift"].y

`template drift` is the total variation distance between the templates that completions follow at a step and at the first one: 0
where they are mixed as before, 1 where none of the old ones is left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from r1.analysis.reading import Curve
from r1.analysis.reflection import mixes_languages, reflects, repetition
from r1.grading import language_share, r1_format, r1_zero_format
from r1.records import Trace

TEMPLATES = ("think and answer tags", "thought and summary", "answer tag alone", "unfinished", "no tags", "broken")
_TAG = re.compile(r"</?(?:think|answer)>")


def template_of(trace: Trace) -> str:
    """Which of TEMPLATES a completion follows: the strict R1-Zero one, the strict R1 one, an answer without a thought, cut off by
    the token limit, plain text, or tags in any other arrangement."""
    text = trace.text
    if r1_zero_format(text):
        return "think and answer tags"
    if r1_format(text):
        return "thought and summary"
    tags = _TAG.findall(text)
    if trace.truncated:
        return "unfinished"
    if not tags:
        return "no tags"
    return "answer tag alone" if tags == ["<answer>", "</answer>"] else "broken"


def behaviour(rows: Iterable[tuple[Trace, Mapping[str, Any]]], phase: str = "rollout") -> dict[str, Curve]:
    """Name -> curve over the steps of this phase, read in one pass; empty where the phase has no traces.

    "reflects", "two languages", "truncated": shares of completions; "language/<code>": share of words, averaged over completions;
    "repetition": see `reflection.repetition`; "template/<name>": shares; "template drift"; "length": tokens.
    """
    sums: dict[float, Counter[str]] = {}
    for trace, row in rows:
        if str(row.get("phase") or "") != phase:
            continue
        found = sums.setdefault(float(row.get("step") or 0), Counter())
        found["n"] += 1
        for name, value in _figures(trace).items():
            found[name] += value  # type: ignore[assignment]
    steps = sorted(sums)
    names = sorted({name for found in sums.values() for name in found} - {"n"})
    curves = {name: Curve(steps, [sums[s][name] / sums[s]["n"] for s in steps]) for name in names}
    if steps:
        curves["template drift"] = Curve(steps, [_distance(sums[steps[0]], sums[s]) for s in steps])
    return curves


def _figures(trace: Trace) -> dict[str, float]:
    text = trace.text
    figures = {
        "reflects": float(reflects(text)),
        "two languages": float(mixes_languages(text)),
        "repetition": repetition(text),
        "truncated": float(trace.truncated),
        "length": float(len(trace.token_ids)),
        f"template/{template_of(trace)}": 1.0,
    }
    return figures | {f"language/{code}": share for code, share in language_share(text).items() if share}


def _distance(first: Counter[str], now: Counter[str]) -> float:
    """Total variation distance of the templates at two steps."""
    return sum(abs(first[f"template/{t}"] / first["n"] - now[f"template/{t}"] / now["n"]) for t in TEMPLATES) / 2
