from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r1.records import Problem
from r1.tasks.programming import Programming


def problem_file(folder: Path, *rows: Any) -> str:
    path = folder / "code.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


HUMANEVAL = {"task_id": "HumanEval/0", "prompt": 'def inc(x):\n    """x + 1"""\n', "entry_point": "inc", "canonical_solution": "    return x + 1\n",
             "test": "def check(candidate):\n    assert candidate(1) == 2\n"}  # fmt: skip
MBPP = {"id": "mbpp-2", "problem": "Add one.", "answer": "def inc(x): return x + 1", "test_imports": ["import math"],
        "tests": ["assert inc(1) == 2", "assert inc(2) == 3"]}  # fmt: skip
CASES = {
    "id": 9,
    "question": "Print n + 1.",
    "verification_info": {"language": "cpp", "test_cases": [{"input": "1\n", "output": "2\n", "type": "stdin_stdout"}]},
}


def passes(problem: Problem, program: str) -> bool:
    """Run our own tests on a program of ours, in this process."""
    space: dict[str, Any] = {}
    try:
        exec("\n".join([program, problem.tests["setup"], *(case["code"] for case in problem.tests["test_cases"])]), space)
    except AssertionError:
        return False
    return True


def test_three_layouts(tmp_path: Path) -> None:
    human, mbpp, stdio = Programming(problem_file(tmp_path, HUMANEVAL, MBPP, CASES)).test
    assert [p.id for p in (human, mbpp, stdio)] == ["code/HumanEval/0", "code/mbpp-2", "code/9"]
    assert {p.domain for p in (human, mbpp, stdio)} == {"code"}
    assert 'def inc(x):\n    """x + 1"""\n```' in human.question
    assert human.meta["entry_point"] == "inc"
    assert passes(human, human.meta["header"] + "\n" + human.answer)
    assert not passes(human, "def inc(x): return x")
    assert "assert inc(1) == 2" in mbpp.question
    assert "assert inc(2) == 3" not in mbpp.question
    assert mbpp.tests["setup"] == "import math"
    assert passes(mbpp, mbpp.answer)
    assert not passes(mbpp, "def inc(x): return 2")  # the first assert alone would not notice
    assert stdio.tests == {
        "language": "cpp",
        "setup": "",
        "test_cases": [{"type": "stdin_stdout", "input": "1\n", "output": "2\n"}],
    }
    assert stdio.answer is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**HUMANEVAL, "test": "assert inc(1) == 2"}, r"defines no check\(candidate\)"),
        ({**MBPP, "tests": []}, "no list of assert lines"),
        ({"id": 1, "problem": "x"}, "it has no tests"),
        ({**CASES, "verification_info": {"test_cases": []}}, "no list of {input, output}"),
        ({**CASES, "verification_info": {"test_cases": [{"input": "1"}]}}, "needs input and output"),
        (
            {**CASES, "verification_info": {"test_cases": [{"input": "", "output": "", "type": "function_call"}]}},
            "type 'function_call'",
        ),
        ({**MBPP, "problem": ""}, "the question is empty"),
    ],
)
def test_unusable_rows_are_named(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"line 1: .*{message}"):
        Programming(problem_file(tmp_path, row))


def test_ids_are_unique_and_training_sets_hold_problems_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2: the id 'mbpp-2' occurs twice"):
        Programming(problem_file(tmp_path, MBPP, MBPP))
    rows = [{**MBPP, "id": i, "problem": f"Add {i}."} for i in range(10)]
    task = Programming(problem_file(tmp_path, *rows), part="train", validation=2, test=3)
    assert [len(task.train), len(task.validation), len(task.test)] == [5, 2, 3]
    with pytest.raises(ValueError, match="only a training set"):
        Programming(problem_file(tmp_path, *rows), test=3)


@pytest.mark.parametrize(("name", "count"), [("humaneval", 164), ("mbpp_sanitized", 427)])
def test_real_problem_sets(data_dir: Path, name: str, count: int) -> None:
    task = Programming(str(data_dir / f"{name}.jsonl"))
    assert len(task.test) == count
    assert all(p.tests["test_cases"] and p.answer for p in task.test)
    for problem in task.test[:5]:
        assert passes(problem, problem.meta.get("header", "") + "\n" + problem.answer)
