"""Competition problems with a gold answer: AIME, MATH-500, GSM8K, or any file of question and answer columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from r1.records import Problem
from r1.tasks.base import Split, split
from r1.tasks.rows import BadRow, OnBad, Row, collect, read_rows

QUESTION_COLUMNS = ("problem", "question", "prompt", "Problem", "Question")
ANSWER_COLUMNS = ("answer", "gold", "golden", "Answer", "solution")
ID_COLUMNS = ("id", "unique_id", "task_id", "problem_idx", "ID")
KEPT_COLUMNS = ("source", "url", "level", "subject", "accept")  # accept: further right answers, a list


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
        if part not in ("train", "test"):
            raise ValueError(f"part must be 'train' or 'test', got {part!r}")
        if part == "test" and (validation or test):
            raise ValueError(
                f"only a training set (part=train) holds problems out, got part=test, validation={validation}, test={test}"
            )
        self.path = str(file) if file and Path(file).is_file() else str(path)
        self.name = name or Path(self.path).stem
        rows = read_rows(self.path, hub_split, hub_subset)
        if limit is not None:
            rows = islice(rows, limit)
        reader = _Reader(self.name, question, answer, id, answer_after, language, domain, verifier)
        problems, self.bad = collect(self.path, rows, reader, on_bad)
        parts = split(problems, validation, test, seed, by=lambda p: p.question) if part == "train" else Split([], [], problems)
        self.train: list[Problem] = parts.train
        self.validation: list[Problem] = parts.validation
        self.test: list[Problem] = parts.test


@dataclass
class _Reader:
    """Row -> Problem, remembering what it has seen. Raises BadRow."""

    name: str
    question: str | None
    answer: str | None
    id: str | None
    answer_after: str | None
    language: str
    domain: str
    verifier: str | None
    count: int = 0
    ids: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)

    def __call__(self, row: Row) -> Problem:
        self.count += 1
        question = question_text(column(row, self.question, QUESTION_COLUMNS))
        answer = answer_text(column(row, self.answer, ANSWER_COLUMNS), self.answer_after)
        known = self.id or any(name in row for name in ID_COLUMNS)
        label = str(column(row, self.id, ID_COLUMNS)) if known else str(self.count)
        if label in self.ids:
            raise BadRow(f"the id {label!r} occurs twice")
        if question in self.questions:
            raise BadRow(f"the question occurs twice: {question[:60]!r}")
        self.ids.add(label)
        self.questions.add(question)
        meta = {name: row[name] for name in KEPT_COLUMNS if row.get(name) not in (None, "")}
        if self.verifier is not None:
            meta["verifier"] = self.verifier
        return Problem(f"{self.name}/{label}", question, answer, self.domain, self.language, meta=meta)


def column(row: Row, name: str | None, usual: Sequence[str]) -> Any:
    """The value of column `name`, or of the first usual one that the row has."""
    found = name if name in row else next((usual_name for usual_name in usual if name is None and usual_name in row), None)
    if found is None:
        wanted = f"column {name!r}" if name else f"any of the columns {', '.join(usual)}"
        raise BadRow(f"it lacks {wanted}; it has {', '.join(map(str, row)) or 'none'}")
    return row[found]


def question_text(value: Any) -> str:
    """The question: text, or the last user message of a chat."""
    if isinstance(value, list):
        said = [message.get("content") for message in value if isinstance(message, dict) and message.get("role") == "user"]
        value = said[-1] if said else None
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"the question is empty or no text: {value!r}")
    return value.strip()


def answer_text(value: Any, after: str | None = None) -> str:
    """The gold answer as text; 72.0, as tables store integers, is "72"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"the answer is no text or number: {value!r}")
    text = str(value)
    if after is not None:
        if after not in text:
            raise BadRow(f"the answer lacks the mark {after!r}: {text[-60:]!r}")
        text = text.rpartition(after)[2]
    if not text.strip():
        raise BadRow("the answer is empty")
    return text.strip()
