"""The rows of a generated data set: what was kept, what was dropped and why, and a report whose counts add up.

    rows.jsonl     {"id", "question", "completion", "language", "domain", "answer", "provenance"}, and "meta" where the problem has one
    dropped.jsonl  the same with "reason", one line for every row that was read and not kept
    report.json    read = kept + the sum over reasons, in all and for every way, domain and language

Files appear whole or not at all, and hold nothing that differs between two runs of one config: no times, no paths.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r1.records import Problem, Score, Trace
from r1.rewards import Reward
from r1.tasks.rows import read_rows


@dataclass(frozen=True, slots=True)
class Row:
    """A completion to learn, with where it came from.

    id          unique in the data set, e.g. "pair_countdown/1-2-3/6#4" for sample 4 of a problem
    provenance  how it came to be: at least "way"
    truncated   the token limit cut the completion
    score       of the shared reward, where it was asked
    dropped     None while the row is kept; else "reason: detail", where the reason is what the report counts by
    """

    id: str
    problem: Problem
    completion: str
    provenance: Mapping[str, Any]
    truncated: bool = False
    score: Score | None = None
    dropped: str | None = None

    @property
    def reason(self) -> str:
        return (self.dropped or "").partition(": ")[0]

    def trace(self) -> Trace:
        """The row as rewards read it: text without token ids."""
        return Trace(self.problem, [], [], [], self.completion, "length" if self.truncated else "stop")

    def as_json(self) -> dict[str, Any]:
        problem = self.problem
        row = {"id": self.id, "question": problem.question, "completion": self.completion, "language": problem.language,
               "domain": problem.domain, "answer": problem.answer, "provenance": {"problem": problem.id, **self.provenance}}  # fmt: skip
        return row | ({"meta": problem.meta} if problem.meta else {}) | ({"reason": self.dropped} if self.dropped else {})


def kept(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.dropped is None]


def change(rows: Sequence[Row], how: Callable[[list[Row]], Sequence[Row]]) -> list[Row]:
    """All rows in their order, with `how` applied to those still kept. `how` returns as many rows as it was given."""
    changed = list(how(kept(rows)))
    if len(changed) != len(kept(rows)):
        raise AssertionError(f"a step was given {len(kept(rows))} rows and returned {len(changed)}: rows are dropped, never lost")
    new = iter(changed)
    return [row if row.dropped is not None else next(new) for row in rows]


def drop(rows: Sequence[Row], reasons: Sequence[str | None]) -> list[Row]:
    """The rows still kept get these reasons, in order; None keeps."""
    return change(rows, lambda live: [replace(row, dropped=why) for row, why in zip(live, reasons, strict=True)])


def score(rows: Sequence[Row], reward: Reward) -> list[Row]:
    """The rows still kept with the reward's view of their completions as they are now."""
    return change(
        rows, lambda live: [replace(r, score=t.score) for r, t in zip(live, reward.score([r.trace() for r in live]), strict=True)]
    )


def report(rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Counts that reconcile. `more` adds sections of the recipe's own."""
    views: dict[str, Callable[[Row], str]] = {
        "way": lambda row: str(row.provenance["way"]),
        "domain": lambda row: row.problem.domain,
        "language": lambda row: row.problem.language,
    }
    parts = {
        name: {value: _counts([row for row in rows if view(row) == value]) for value in sorted({view(row) for row in rows})}
        for name, view in views.items()
    }
    return {**_counts(rows), "by": parts, **more}


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    dropped = Counter(row.reason for row in rows if row.dropped is not None)
    assert len(rows) == len(kept(rows)) + sum(dropped.values())
    return {"read": len(rows), "kept": len(kept(rows)), "dropped": dict(sorted(dropped.items()))}


def write_result(folder: str | Path, rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """rows.jsonl, dropped.jsonl and report.json of these rows; the report. Raises ValueError where an id occurs twice."""
    folder = Path(folder)
    twice = sorted(row for row, count in Counter(row.id for row in rows).items() if count > 1)
    if twice:
        raise ValueError(f"row ids must be unique in a data set; {len(twice)} occur twice, among them {twice[:3]}")
    result = report(rows, **more)
    write_lines(folder / "rows.jsonl", [row.as_json() for row in rows if row.dropped is None])
    write_lines(folder / "dropped.jsonl", [row.as_json() for row in rows if row.dropped is not None])
    write_text(folder / "report.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_text(path: Path, text: str) -> None:
    """The file whole or as it was: a reader never sees half of it, and neither does a run that starts again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def load_rows(path: str | Path) -> list[Row]:
    """The rows of a rows.jsonl. Raises ValueError with the line for one that is no such row."""
    rows = []
    for place, row in read_rows(str(path)):
        try:
            if isinstance(row, ValueError):
                raise row
            provenance = dict(row["provenance"])
            about = Problem(
                provenance.pop("problem"),
                row["question"],
                row["answer"],
                row["domain"],
                row["language"],
                meta=row.get("meta", {}),
            )
            rows.append(Row(row["id"], about, row["completion"], provenance))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path}, {place}: no row of a generated data set ({error})") from error
    return rows
