from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r1.records import Problem
from r1.tasks.base import Task
from r1.tasks.competition import Competition


def problem_file(folder: Path, *rows: Any) -> str:
    path = folder / "set.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


def test_a_benchmark_is_all_test(tmp_path: Path) -> None:
    path = problem_file(
        tmp_path,
        {"id": "I-1", "problem": " 1 + 1? ", "answer": "2", "level": "easy", "url": ""},
        {"id": "I-2", "problem": "2?", "answer": 2},
    )
    task = Competition(path, name="tiny")
    assert task.test == [Problem("tiny/I-1", "1 + 1?", "2", meta={"level": "easy"}), Problem("tiny/I-2", "2?", "2")]
    assert (task.train, task.validation) == ([], [])
    assert isinstance(task, Task)


def test_a_training_set_holds_problems_out(tmp_path: Path) -> None:
    rows = [{"question": f"{i} + {i}?", "gold": str(2 * i)} for i in range(20)]
    task = Competition(problem_file(tmp_path, *rows), part="train", validation=3, test=5)
    parts = [task.train, task.validation, task.test]
    assert [len(part) for part in parts] == [12, 3, 5]
    assert {p.id for part in parts for p in part} == {f"set/{i}" for i in range(1, 21)}
    moved = Competition(problem_file(tmp_path, *rows[::-1]), part="train", validation=3, test=5)
    assert {p.question for p in moved.test} == {p.question for p in task.test}  # by question, not by place in the file
    with pytest.raises(ValueError, match=r"part=train.* got part=test, validation=3"):
        Competition(problem_file(tmp_path, *rows), validation=3)


def test_columns_by_name_and_chat_questions(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    path = problem_file(tmp_path, {"messages": chat, "label": 2.0, "key": 7, "answer": "no"})
    task = Competition(path, question="messages", answer="label", id="key", language="zh", domain="logic")
    assert task.test == [Problem("set/7", "1 + 1?", "2", "logic", "zh")]
    with pytest.raises(ValueError, match="line 1: it lacks column 'text'; it has messages, label, key, answer"):
        Competition(path, question="text")
    with pytest.raises(ValueError, match="line 1: it lacks any of the columns problem, question"):
        Competition(path)


def test_how_answers_are_compared_travels_with_the_problem(tmp_path: Path) -> None:
    path = problem_file(tmp_path, {"problem": "a", "answer": "80", "accept": ["81"]})
    assert Competition(path).test[0].meta == {"accept": ["81"]}
    assert Competition(path, verifier="choice").test[0].meta == {"accept": ["81"], "verifier": "choice"}


def test_gsm8k_answers_stand_behind_a_mark(tmp_path: Path) -> None:
    path = problem_file(tmp_path, {"question": "a", "answer": "6 * 12 = 72 #### no\n#### 72"}, {"question": "b", "answer": "72"})
    assert Competition(path, answer_after="####", limit=1).test[0].answer == "72"
    with pytest.raises(ValueError, match="line 2: the answer lacks the mark '####'"):
        Competition(path, answer_after="####")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 2, "problem": "  ", "answer": "1"}, "the question is empty"),
        ({"id": 2, "problem": None, "answer": "1"}, "the question is empty or no text: None"),
        ({"id": 2, "problem": "b", "answer": ""}, "the answer is empty"),
        ({"id": 2, "problem": "b", "answer": None}, "the answer is no text or number: None"),
        ({"id": 2, "problem": "b", "answer": True}, "the answer is no text or number: True"),
        ({"id": 1, "problem": "b", "answer": "1"}, "the id '1' occurs twice"),
        ({"id": 2, "problem": "a", "answer": "1"}, "the question occurs twice: 'a'"),
        ({"id": 2, "problem": [{"role": "system", "content": "hi"}], "answer": "1"}, "the question is empty"),
    ],
)
def test_unusable_rows_are_named_or_counted(tmp_path: Path, row: dict, message: str) -> None:
    path = problem_file(tmp_path, {"id": 1, "problem": "a", "answer": "1"}, row, {"id": 3, "problem": "c", "answer": "3"})
    with pytest.raises(ValueError, match=f"line 2: {message}"):
        Competition(path)
    with pytest.warns(UserWarning, match="1 of 3 rows left out"):
        task = Competition(path, on_bad="skip")
    assert [p.id for p in task.test] == ["set/1", "set/3"]
    assert len(task.bad) == 1


def test_a_local_copy_comes_first(tmp_path: Path) -> None:
    path = problem_file(tmp_path, {"id": 1, "problem": "a", "answer": "1"})
    assert len(Competition("owner/never-asked", file=path, name="aime24").test) == 1
    with pytest.raises(ValueError, match="is no file here"):
        Competition("owner/not-on-this-machine", file=str(tmp_path / "gone.jsonl"))
    with pytest.raises(ValueError, match="part must be"):
        Competition(path, part="validation")  # type: ignore[arg-type]


REAL = {
    "aime2024": (30, "204"), "aime2025": (30, "70"), "aime2026": (30, "277"), "aime1983_2023": (975, "60"), "amc2023": (40, "27"),
    "math500": (500, r"\left( 3, \frac{\pi}{2} \right)"), "gsm8k_test": (1319, "18"), "cmath_dev_zh": (600, "9"),
    "olymmath_en_hard": (100, "2625"), "olymmath_zh_easy": (100, "948"),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_problem_sets(data_dir: Path, name: str) -> None:
    task = Competition(str(data_dir / f"{name}.jsonl"), language="zh" if "zh" in name else "en")
    count, first = REAL[name]
    assert len(task.test) == count
    assert task.test[0].answer == first
    assert task.bad == []
    if name.startswith("aime"):
        assert all(p.answer.isdigit() and 0 <= int(p.answer) <= 999 for p in task.test)
