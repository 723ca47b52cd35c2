from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r1.records import Problem
from r1.tasks.documents import DocumentFile


def lesson_file(folder: Path, *rows: Any) -> str:
    path = folder / "lessons.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


CHAT = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": " <think> easy </think> 2 "}]


def test_questions_with_completions_and_chats(tmp_path: Path) -> None:
    task = DocumentFile(lesson_file(tmp_path, {"id": 7, "question": "2?", "response": "two"}, {"messages": CHAT}), language="zh")
    assert task.documents[0] == (Problem("7", "2?", domain="general", language="zh"), "two")
    assert (task.documents[1].problem.question, task.documents[1].body) == ("1 + 1?", "<think> easy </think> 2")


def test_language_and_domain_of_a_row_count_before_the_argument(tmp_path: Path) -> None:
    rows = {"question": "几？", "completion": "二", "language": "zh", "domain": "math"}, {"question": "2?", "completion": "two"}
    chinese, english = (lesson.problem for lesson in DocumentFile(lesson_file(tmp_path, *rows)).documents)
    assert (chinese.language, chinese.domain) == ("zh", "math")
    assert (english.language, english.domain) == ("en", "general")


def test_columns_by_name(tmp_path: Path) -> None:
    path = lesson_file(tmp_path, {"ask": "2?", "say": "two", "question": "no", "response": "no"})
    (lesson,) = DocumentFile(path, question="ask", completion="say").documents
    assert (lesson.problem.question, lesson.body) == ("2?", "two")


@pytest.mark.parametrize(
    "row", [{"question": "2?", "response": " "}, {"question": "2?"}, {"messages": CHAT[:1]}, {"question": "", "response": "x"}]
)
def test_rows_without_a_completion_are_named(tmp_path: Path, row: dict) -> None:
    path = lesson_file(tmp_path, {"question": "1?", "response": "one"}, row)
    with pytest.raises(ValueError, match="line 2"):
        DocumentFile(path)
    with pytest.warns(UserWarning, match="1 of 2 rows left out"):
        assert len(DocumentFile(path, on_bad="skip").documents) == 1
