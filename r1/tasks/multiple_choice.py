"""Multiple choice in the shape of GPQA (Rein et al. 2023): a right answer and wrong ones, shown in a keyed order; a letter answers.

The order is drawn by (seed, question), not from a running generator: a problem shows the same choices in every run, however
many rows were read before it, and the right letter is spread evenly over the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import ascii_uppercase

from r1.records import Problem
from r1.repro import shuffled
from r1.tasks.columns import QUESTION_COLUMNS, Labels, column, question_text
from r1.tasks.rows import BadRow, OnBad, Row, collect, local, read_rows

ASK = "{question}\n\n{choices}\n\nAnswer with the letter of the right choice."
IDS = ("Record ID", "id", "ID", "question_id")


class MultipleChoice:
    """A benchmark of a .jsonl, .csv or .parquet file or a hub dataset: all problems are the test.

    right, wrong   columns of the right answer and of the wrong ones
    seed           of the order in which choices are shown
    The other arguments are those of `competition.Competition`.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        right: str = "Correct Answer",
        wrong: Sequence[str] = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
        file: str | None = None,
        domain: str = "science",
        hub_split: str = "train",
        hub_subset: str | None = None,
        limit: int | None = None,
        on_bad: OnBad = "error",
        seed: int = 0,
    ) -> None:
        if not 1 <= len(wrong) < len(ascii_uppercase):
            raise ValueError(f"a choice needs 1 to {len(ascii_uppercase) - 1} wrong answers, got {len(wrong)}")
        self.path = local(path, file)
        self.name = name or Path(self.path).stem
        rows = islice(read_rows(self.path, hub_split, hub_subset), limit)
        problems, self.bad = collect(self.path, rows, _Reader(self.name, right, tuple(wrong), domain, seed), on_bad)
        self.train: list[Problem] = []
        self.validation: list[Problem] = []
        self.test: list[Problem] = problems


@dataclass
class _Reader:
    """Row -> Problem, remembering the ids it has seen. Raises BadRow."""

    name: str
    right: str
    wrong: tuple[str, ...]
    domain: str
    seed: int
    label: Labels = field(default_factory=lambda: Labels(usual=IDS))

    def __call__(self, row: Row) -> Problem:
        label = self.label(row)
        question = question_text(column(row, None, QUESTION_COLUMNS))
        choices = [str(column(row, name, ()) or "").strip() for name in (self.right, *self.wrong)]
        if not all(choices) or len(set(choices)) < len(choices):
            raise BadRow(f"its {len(choices)} choices are not all there and different: {choices!r:.100}")
        order = shuffled(list(range(len(choices))), self.seed, "choices", question)
        shown = "\n".join(f"({letter}) {choices[i]}" for letter, i in zip(ascii_uppercase, order))
        meta = {"verifier": "choice", "choices": [choices[i] for i in order]}
        answer = ascii_uppercase[order.index(0)]
        return Problem(f"{self.name}/{label}", ASK.format(question=question, choices=shown), answer, self.domain, meta=meta)
