"""Supervised data from a file: questions with the completion to learn."""

from __future__ import annotations

from typing import Any, NamedTuple

from r1.records import Problem
from r1.tasks.columns import QUESTION_COLUMNS, column, question_text
from r1.tasks.rows import BadRow, OnBad, Row, collect, read_rows

COMPLETION_COLUMNS = ("completion", "response", "output", "messages")


class Lesson(NamedTuple):
    """A problem, which the policy's template turns into the prompt, and the body that is learned after it."""

    problem: Problem
    body: str


class DocumentFile:
    """Lessons from a .jsonl or .parquet file or a hub dataset, for `stage=sft`.

    question, completion   column names; None: the usual ones (problem, question, prompt; completion, response, output). A column
                           of chat messages gives its last user message as the question and its last assistant message as the body
    language               of the rows that have no column `language`; their domain is general where they have no column `domain`
    on_bad                 "error" names the line of a row that cannot be used, "skip" leaves it out and counts it
    """

    def __init__(
        self,
        path: str,
        question: str | None = None,
        completion: str | None = None,
        language: str = "en",
        hub_split: str = "train",
        hub_subset: str | None = None,
        on_bad: OnBad = "error",
    ) -> None:
        self.question, self.completion, self.language = question, completion, language
        self.documents, self.bad = collect(path, read_rows(path, hub_split, hub_subset), self._lesson, on_bad)

    def _lesson(self, row: Row) -> Lesson:
        asked = column(row, self.question, (*QUESTION_COLUMNS, "messages"))
        learned = completion_text(column(row, self.completion, COMPLETION_COLUMNS))
        language, domain = str(row.get("language") or self.language), str(row.get("domain") or "general")
        return Lesson(Problem(str(row.get("id", "")), question_text(asked), domain=domain, language=language), learned)


def completion_text(value: Any) -> str:
    """The text to learn: a column of text, or the last assistant message of a chat."""
    if isinstance(value, list):
        said = [message.get("content") for message in value if isinstance(message, dict) and message.get("role") == "assistant"]
        value = said[-1] if said else None
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"the completion is empty or no text: {value!r}")
    return value.strip()
