"""Preferences: which of two responses is better (helpfulness), or whether one is safe (harmlessness).

The pairs of the paper's helpfulness model (v2 2.2, 3.1) come from a judge that sees each pair four times, with the two responses
swapped; pairs whose mean scores differ by no more than 1 are dropped, and the chosen and rejected ones are matched in length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from r1.records import Problem
from r1.tasks.base import split
from r1.tasks.competition import QUESTION_COLUMNS, column, question_text
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


@dataclass(frozen=True)
class Judgement:
    """One look of a judge at two responses. `first` and `second` are its scores for what it saw first and second; `swapped`
    says that it saw B before A."""

    first: float
    second: float
    swapped: bool

    @property
    def gap(self) -> float:
        """Score of A minus score of B."""
        return self.second - self.first if self.swapped else self.first - self.second


def judged_pair(
    problem: Problem, a: str, b: str, judgements: Sequence[Judgement], min_gap: float = 1.0, max_length_ratio: float | None = 2.0
) -> Pair | None:
    """The pair that these judgements support, or None: too close, or too different in length (a reward model would learn length).

    Raises ValueError when the two orders were not seen equally often: a judge favours what it reads first.
    """
    swapped = sum(j.swapped for j in judgements)
    if not judgements or 2 * swapped != len(judgements):
        raise ValueError(
            f"each order must be judged equally often (the paper: twice each), got {len(judgements) - swapped} and {swapped}"
        )
    gap = sum(j.gap for j in judgements) / len(judgements)
    longer, shorter = max(len(a), len(b)), min(len(a), len(b))
    if abs(gap) <= min_gap or (max_length_ratio is not None and longer > max_length_ratio * shorter):
        return None
    return Pair(problem, a, b) if gap > 0 else Pair(problem, b, a)


def lengths_matched(pairs: Iterable[Pair], tolerance: float = 0.05) -> list[Pair]:
    """The largest prefix-greedy selection whose chosen and rejected responses are equally long in total, within `tolerance`.

    Pairs are taken in order; one that would push the ratio of totals beyond 1 +- tolerance further away is left out.
    """
    kept: list[Pair] = []
    chosen = rejected = 0
    for pair in sorted(pairs, key=lambda p: abs(len(p.chosen) - len(p.rejected))):
        c, r = chosen + len(pair.chosen), rejected + len(pair.rejected)
        if abs(c - r) <= tolerance * max(c, r) or abs(c - r) <= abs(chosen - rejected):
            kept.append(pair)
            chosen, rejected = c, r
    return kept


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
