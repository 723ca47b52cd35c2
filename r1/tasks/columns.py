"""What a row of somebody's data set means: its question, its answer, its id, under the names that such columns usually have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1.tasks.rows import BadRow, Row

QUESTION_COLUMNS = ("problem", "question", "prompt", "Problem", "Question")
ANSWER_COLUMNS = ("answer", "gold", "golden", "Answer", "solution")
ID_COLUMNS = ("id", "unique_id", "task_id", "problem_idx", "ID")
KEPT_COLUMNS = ("source", "url", "level", "subject", "accept")  # accept: further right answers, a list


def column(row: Row, name: str | None, usual: Sequence[str]) -> Any:
    """The value of column `name`, or of the first usual one that the row has. Raises BadRow where it has none."""
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


def kept(row: Row, names: Sequence[str] = KEPT_COLUMNS) -> Row:
    """Those of the columns that the row has and that are not empty."""
    return {name: row[name] for name in names if row.get(name) not in (None, "")}


class Labels:
    """The id of each row of a file in turn: column `name`, or the first usual one that is not empty, or else the row's number.
    Rows that turn out to be of no use have their ids too."""

    def __init__(self, name: str | None = None, usual: Sequence[str] = ID_COLUMNS) -> None:
        self.name, self.usual = name, usual
        self._rows = 0
        self._seen: set[str] = set()

    def __call__(self, row: Row) -> str:
        """Raises BadRow where column `name` is missing, or the id has been there before."""
        self._rows += 1
        found = column(row, self.name, ()) if self.name else next(iter(kept(row, self.usual).values()), self._rows)
        label = str(found)
        if label in self._seen:
            raise BadRow(f"the id {label!r} occurs twice")
        self._seen.add(label)
        return label
