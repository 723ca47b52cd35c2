"""Which rows of many: no duplicates, not too many of one problem, none that gives a benchmark away, and so many of each kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from r1.pipeline.rows import Row, drop, kept
from r1.records import Problem
from r1.repro import shuffled
from r1.tasks.decontaminate import decontaminate


def without_duplicates(rows: Sequence[Row]) -> list[Row]:
    """Of rows with the same question and, white space and case aside, the same completion, the first."""
    first: dict[tuple[str, str], str] = {}
    reasons: list[str | None] = []
    for row in kept(rows):
        text = re.sub(r"\s+", " ", row.completion).strip().casefold()
        earlier = first.setdefault((row.problem.question, text), row.id)
        reasons.append(None if earlier == row.id else f"duplicate: of {earlier}")
    return drop(rows, reasons)


def capped(rows: Sequence[Row], most: int | None) -> list[Row]:
    """The first `most` rows of a problem; None: all of them."""
    if most is None:
        return list(rows)
    if most < 1:
        raise ValueError(f"at least 1 row a problem, or null for all, got {most}")
    seen: Counter[str] = Counter()
    reasons: list[str | None] = []
    for row in kept(rows):
        seen[row.problem.id] += 1
        reasons.append(None if seen[row.problem.id] <= most else f"over the cap: {most} of this problem are kept")
    return drop(rows, reasons)


def without_leaks(rows: Sequence[Row], evaluation: Sequence[Problem], n: int, share: float) -> list[Row]:
    """Rows whose question repeats no evaluation problem (see `tasks.decontaminate`)."""
    live = kept(rows)
    _, leaks = decontaminate([row.problem for row in live], evaluation, n, share)
    source = {problem.id: found.id for problem, found in leaks}
    return drop(rows, [f"contaminated: repeats {source[r.problem.id]}" if r.problem.id in source else None for r in live])


def mixed(reasoning: Sequence[Row], general: Sequence[Row], ratio: Sequence[float] | None, seed: int) -> list[Row]:
    """Both kinds, with reasoning : general as in `ratio` among the rows kept: the kind there is too much of gives rows away, chosen
    by a draw keyed by (seed, row). None keeps all."""
    if ratio is None or not kept(reasoning) or not kept(general):
        return [*reasoning, *general]
    if len(ratio) != 2 or min(ratio) <= 0:
        raise ValueError(f"ratio is two positive numbers, reasoning and general rows (the paper: [600, 200]), got {list(ratio)}")
    unit = min(len(kept(reasoning)) / ratio[0], len(kept(general)) / ratio[1])
    share = f"the mix is {ratio[0]:g} to {ratio[1]:g}"
    return [
        *_thinned(reasoning, round(unit * ratio[0]), share, seed),
        *_thinned(general, round(unit * ratio[1]), share, seed),
    ]


def copied(rows: Sequence[Row], times: int) -> list[Row]:
    """The rows with each kept one `times` times, as `id`, `id*2`, `id*3` ...; every copy is a row that was read."""
    copies = [replace(row, id=f"{row.id}*{n}") for n in range(2, times + 1) for row in kept(rows)]
    return [*rows, *copies]


def _thinned(rows: Sequence[Row], size: int, why: str, seed: int) -> list[Row]:
    names = [row.id for row in kept(rows)]
    chosen = set(shuffled(sorted(names), seed, "mix")[:size])
    return drop(rows, [None if name in chosen else f"surplus: {why}" for name in names])
