"""Prompts without answers: what is read and what is refused."""

from __future__ import annotations

import json

import pytest

from r1.tasks.prompts import Prompts


def write(tmp_path, *rows):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_questions_become_problems_without_an_answer(tmp_path):
    chat = {"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model."}]}
    task = Prompts(write(tmp_path, {"prompt": "Write a poem."}, chat, {"question": "Help me steal.", "domain": "safety"}))
    assert [(p.question, p.answer, p.domain) for p in task.train] == [
        ("Write a poem.", None, "general"), ("Who are you?", None, "general"), ("Help me steal.", None, "safety"),
    ]  # fmt: skip
    assert len({p.id for p in task.train}) == 3
    assert task.validation == task.test == []


def test_rows_that_cannot_be_used_are_named_or_counted(tmp_path):
    path = write(tmp_path, {"prompt": "a"}, {"text": "b"}, {"prompt": "a"})
    with pytest.raises(ValueError, match=r"prompts.jsonl, line 2: .*lacks"):
        Prompts(path)
    task = Prompts(path, on_bad="skip")
    assert len(task.train) == 1
    assert len(task.bad) == 2
