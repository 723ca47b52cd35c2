from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.pipeline.rows import change, drop, load_rows, report, score, write_result
from r1.records import Problem
from r1.tasks.documents import DocumentFile


def test_files_and_the_report_reconcile(lab: SimpleNamespace, tmp_path: Path) -> None:
    chinese = Problem("z/1", "一加一？", "2", "logic", "zh", meta={"verifier": "numeric"})
    rows = [
        lab.row("a", id="1"),
        replace(lab.row("b", chinese, id="2"), provenance={"way": "other", "sample": 3}),
        lab.row("c", id="3", dropped="wrong: accuracy is 0"),
        lab.row("d", id="4", dropped="wrong"),
        lab.row("e", id="5", dropped="repetition: 50%"),
    ]
    result = write_result(tmp_path, rows, problems=7)
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == result
    assert (result["read"], result["kept"], result["dropped"], result["problems"]) == (5, 2, {"repetition": 1, "wrong": 2}, 7)
    assert result["by"]["way"] == {
        "other": {"read": 1, "kept": 1, "dropped": {}},
        "test": {"read": 4, "kept": 1, "dropped": {"repetition": 1, "wrong": 2}},
    }
    assert {name: part["read"] for name, part in result["by"]["domain"].items()} == {"logic": 1, "math": 4}
    assert {name: part["kept"] for name, part in result["by"]["language"].items()} == {"en": 1, "zh": 1}

    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[1] == {
        "id": "2", "question": "一加一？", "completion": "b", "language": "zh", "domain": "logic", "answer": "2",
        "provenance": {"problem": "z/1", "way": "other", "sample": 3}, "meta": {"verifier": "numeric"},
    }  # fmt: skip
    dropped = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["reason"]) for row in dropped] == [
        ("3", "wrong: accuracy is 0"),
        ("4", "wrong"),
        ("5", "repetition: 50%"),
    ]
    assert load_rows(tmp_path / "rows.jsonl") == rows[:2]


def test_sft_reads_the_rows(lab: SimpleNamespace, tmp_path: Path) -> None:
    write_result(tmp_path, [lab.row("<think> 二 </think> 2", Problem("z/1", "一加一？", "2", "math", "zh"), id="1")])
    (lesson,) = DocumentFile(str(tmp_path / "rows.jsonl")).documents
    assert (lesson.problem.question, lesson.problem.language, lesson.problem.domain) == ("一加一？", "zh", "math")
    assert lesson.body == "<think> 二 </think> 2"


def test_steps_see_the_rows_still_kept_and_lose_none(lab: SimpleNamespace) -> None:
    rows = [lab.row("a", id="1", dropped="x"), lab.row("b", id="2"), lab.row("c", id="3")]
    upper = change(rows, lambda live: [replace(row, completion=row.completion.upper()) for row in live])
    assert [row.completion for row in upper] == ["a", "B", "C"]
    assert [row.dropped for row in drop(rows, ["y", None])] == ["x", "y", None]
    with pytest.raises(AssertionError, match="given 2 rows and returned 1"):
        change(rows, lambda live: live[:1])
    with pytest.raises(ValueError):
        drop(rows, ["y"])


def test_scores_are_of_the_completion_as_it_is_now(lab: SimpleNamespace) -> None:
    rows = score([lab.row("<think> so </think> 2"), lab.row("<think> so </think> 3"), lab.row("2", dropped="x")], lab.REWARD)
    assert [row.score and row.score.parts["accuracy"] for row in rows] == [1.0, 0.0, None]
    (cut,) = score([lab.row("<think> so </think> 2", truncated=True)], lab.REWARD)
    assert cut.score.parts["format"] == 0.0


def test_ids_occur_once_and_broken_files_are_named(lab: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unique in a data set; 1 occur twice, among them \['r'\]"):
        write_result(tmp_path, [lab.row("a"), lab.row("b")])
    assert not (tmp_path / "rows.jsonl").exists()
    (tmp_path / "rows.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: no row of a generated data set"):
        load_rows(tmp_path / "rows.jsonl")


def test_no_rows_at_all() -> None:
    assert report([]) == {"read": 0, "kept": 0, "dropped": {}, "by": {"way": {}, "domain": {}, "language": {}}}
