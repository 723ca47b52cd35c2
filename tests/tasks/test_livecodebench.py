"""Rows in LiveCodeBench's layout, packed as it packs them, and rows that try something else."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from r1.rewards.code import cases_of
from r1.sandbox import Case
from r1.tasks.livecodebench import read_tests
from r1.tasks.programming import Programming
from r1.tasks.rows import BadRow


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def stdin(**changes: Any) -> dict[str, Any]:
    row = {"question_content": "Print twice n.", "question_id": "abc_1", "contest_date": "2024-09-14T00:00:00", "starter_code": "",
           "difficulty": "easy", "metadata": "{}",
           "public_test_cases": json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}]),
           "private_test_cases": packed(json.dumps([{"input": "21\n", "output": "42\n", "testtype": "stdin"}]))}  # fmt: skip
    return row | changes


def functional() -> dict[str, Any]:
    tests = [{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]
    return stdin(question_id="lc_1", starter_code="class Solution:\n    def add(self, xs, n):", metadata=json.dumps({"func_name": "add"}),
                 public_test_cases=json.dumps(tests), private_test_cases="")  # fmt: skip


def load(folder: Path, *rows: dict[str, Any], **options: Any) -> Programming:
    path = folder / "lcb.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Programming(str(path), **options)


def test_both_kinds_of_tests_become_what_the_sandbox_runs(tmp_path: Path) -> None:
    program, method = load(tmp_path, stdin(), functional()).test
    assert program.id == "lcb/abc_1"
    assert program.meta["difficulty"] == "easy"
    assert "reads standard input" in program.question
    assert cases_of(program) == [Case("stdin_stdout", "1\n", "2\n"), Case("stdin_stdout", "21\n", "42\n")]
    assert "class Solution:\n    def add(self, xs, n):\n```" in method.question
    assert cases_of(method) == [Case("function_call", [[1, 2], 3], [4, 5], ("add",))]


def test_the_window_is_half_open(tmp_path: Path) -> None:
    rows = [stdin(question_id=day, contest_date=day) for day in ("2024-07-31", "2024-08-01", "2025-01-31", "2025-02-01")]
    kept = load(tmp_path, *rows, after="2024-08-01", before="2025-02-01").test
    assert [p.id for p in kept] == ["lcb/2024-08-01", "lcb/2025-01-31"]
    with pytest.raises(ValueError, match="its contest_date is no date: None"):
        load(tmp_path, stdin(contest_date=None), after="2024-08-01")
    with pytest.raises(ValueError, match="ISO dates such as 2024-08-01, got 'August'"):
        load(tmp_path, stdin(), after="August")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo hacked > /dev/null",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"private_test_cases": packed(Evil())}, "tests are text"),
        ({"private_test_cases": "no base64!"}, "cannot be unpacked"),
        ({"private_test_cases": packed("not json")}, "private tests are not JSON"),
        ({"public_test_cases": "", "private_test_cases": ""}, "neither public nor private"),
        ({"public_test_cases": json.dumps([{"input": "1", "output": "2", "testtype": "functional"}])}, "all be stdin or all functional"),
        ({"public_test_cases": json.dumps([{"input": 1, "output": "2", "testtype": "stdin"}])}, "input and output as text"),
    ],
)  # fmt: skip
def test_rows_that_are_damaged_or_hostile_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRow, match=said):
        read_tests(stdin(**change))


def test_a_function_without_a_name_is_refused() -> None:
    with pytest.raises(BadRow, match=r"metadata\.func_name"):
        read_tests(functional() | {"metadata": "{}"})
