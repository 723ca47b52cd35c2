"""Competition problems with a gold answer: AIME, MATH-500, GSM8K, or any file of question and answer columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from r1.records import Problem
from r1.tasks.base import Part
from r1.tasks.columns import ANSWER_COLUMNS, QUESTION_COLUMNS, Labels, answer_text, column, kept, question_text
from r1.tasks.rows import BadRow, OnBad, Row, collect, local, read_rows


class Competition:
    """Problems of a .jsonl or .parquet file, or of a hub dataset.

    path        a file, or a hub id with its `hub_split` and `hub_subset`
    file        a local copy that is used instead of `path` where it exists
    question, answer, id   column names. None: the first usual one that a row has (see QUESTION_COLUMNS and its neighbours; the row number
                where there is no id). A question may be a list of chat messages, of which the last user message counts
    answer_after   text before the gold answer, e.g. "####" in GSM8K: only what follows its last occurrence is the answer
    verifier    how answers are compared (math, numeric, exact, choice); None leaves it to the grader's default, math
    part        "test": a benchmark, all problems are the test. "train": a training set, of which `validation` and `test`
                problems are held out, chosen by question and `seed`
    limit       use only the first so many rows
    on_bad      rows that are corrupt, empty or duplicate: "error" names the line, "skip" leaves them out and warns with the
                count; `.bad` lists them
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        part: Literal["train", "test"] = "test",
        validation: int = 0,
        test: int = 0,
        question: str | None = None,
        answer: str | None = None,
        id: str | None = None,
        answer_after: str | None = None,
        language: str = "en",
        domain: str = "math",
        verifier: str | None = None,
        file: str | None = None,
        hub_split: str = "train",
        hub_subset: str | None = None,
        limit: int | None = None,
        on_bad: OnBad = "error",
        seed: int = 0,
    ) -> None:
        asked = Part(part, validation, test, seed)
        self.path = local(path, file)
        self.name = name or Path(self.path).stem
        rows = islice(read_rows(self.path, hub_split, hub_subset), limit)
        reader = _Reader(self.name, question, answer, Labels(id), answer_after, language, domain, verifier)
        problems, self.bad = collect(self.path, rows, reader, on_bad)
        parts = asked.split(problems)
        self.train: list[Problem] = parts.train
        self.validation: list[Problem] = parts.validation
        self.test: list[Problem] = parts.test


@dataclass
class _Reader:
    """Row -> Problem, remembering what it has seen. Raises BadRow."""

    name: str
    question: str | None
    answer: str | None
    label: Labels
    answer_after: str | None
    language: str
    domain: str
    verifier: str | None
    questions: set[str] = field(default_factory=set)

    def __call__(self, row: Row) -> Problem:
        label = self.label(row)
        question = question_text(column(row, self.question, QUESTION_COLUMNS))
        answer = answer_text(column(row, self.answer, ANSWER_COLUMNS), self.answer_after)
        if question in self.questions:
            raise BadRow(f"the question occurs twice: {question[:60]!r}")
        self.questions.add(question)
        meta = kept(row)
        if self.verifier is not None:
            meta["verifier"] = self.verifier
        return Problem(f"{self.name}/{label}", question, answer, self.domain, self.language, meta=meta)
