"""Preferences: which of two responses is better (helpfulness), or whether one is safe (harmlessness).

`r1 generate data=preferences` makes the pairs as the paper made those of its helpfulness model.
"""

from __future__ import annotations

from typing import NamedTuple

from r1.records import Problem
from r1.tasks.base import split
from r1.tasks.columns import QUESTION_COLUMNS, column, question_text
from r1.tasks.documents import completion_text
from r1.tasks.rows import BadRow, OnBad, Row, collect, read_rows


class Pair(NamedTuple):
    """Two responses to a problem, the better one first."""

    problem: Problem
    chosen: str
    rejected: str


class Labelled(NamedTuple):
    """One response and whether it is good (safe)."""

    problem: Problem
    response: str
    good: bool


class Preferences:
    """Pairs (columns chosen, rejected) or labelled responses (columns response, label) from a file or hub dataset.

    validation  this many questions are held out, chosen by question and `seed`
    on_bad      "error" names the line of a row that cannot be used, "skip" leaves it out and counts it
    """

    def __init__(
        self,
        path: str,
        name: str = "preferences",
        validation: int = 0,
        hub_split: str = "train",
        hub_subset: str | None = None,
        language: str = "en",
        on_bad: OnBad = "error",
        seed: int = 0,
    ) -> None:
        self.name, self.language = name, language
        rows, self.bad = collect(path, read_rows(path, hub_split, hub_subset), self._row, on_bad)
        if len({type(row) for row in rows}) > 1:
            raise ValueError(
                f"{path} mixes pairs (chosen, rejected) with labelled responses (response, label); give one kind a file"
            )
        parts = split(rows, validation, 0, seed, by=lambda row: row.problem.question)
        self.train, self.validation, self.test = parts.train, parts.validation, parts.test

    def _row(self, row: Row) -> Pair | Labelled:
        question = question_text(column(row, None, QUESTION_COLUMNS))
        problem = Problem(str(row.get("id", question[:40])), question, domain="general", language=self.language)
        if "chosen" in row and "rejected" in row:
            return Pair(problem, completion_text(row["chosen"]), completion_text(row["rejected"]))
        label = row.get("label")
        if "response" not in row or not isinstance(label, bool | int) or label not in (0, 1):
            raise BadRow(
                "expected columns chosen and rejected (two texts), or response (a text) and label (true for good, false for bad)"
            )
        return Labelled(problem, completion_text(row["response"]), bool(label))
