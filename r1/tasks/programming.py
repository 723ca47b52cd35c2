"""Programming problems with their tests: HumanEval, MBPP, LiveCodeBench, or rows of stdin/stdout cases.

Every problem carries `tests = {"language", "setup", "test_cases"}`, the schema of open code-RL data sets: a case of type
"stdin_stdout" has `input` and `output`; one of type "function_call" has arguments and result instead, for `tests["fn_name"]`; one
of type "assert" has `code`, run after the candidate program and right when it ends without an exception. The tests are the judge; `answer` is a reference program where the row has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from r1.records import Problem
from r1.tasks.base import Part
from r1.tasks.columns import ID_COLUMNS, KEPT_COLUMNS, QUESTION_COLUMNS, Labels, column, kept, question_text
from r1.tasks.livecodebench import METHOD, read_tests, within
from r1.tasks.rows import BadRow, OnBad, Row, collect, local, read_rows

COMPLETE = "Complete this Python function. Write the whole function in one code block.\n```python\n{header}\n```"
PROGRAM = "{question}\nWrite a program that reads standard input and prints to standard output, in one code block."
FUNCTION = "{question}\nWrite the Python code in one code block. It must pass tests such as:\n```python\n{example}\n```"


class Programming:
    """Problems of a .jsonl or .parquet file or a hub dataset, in one of four layouts that are told apart by row:

    humaneval   `entry_point` and a test program (`tests` or `test`) that defines check(candidate); the question is a function
                header, which is kept in meta["header"] with meta["entry_point"]
    mbpp        a list of assert lines (`tests`, `test_list`), with imports (`test_imports`, `test_setup_code`); the question
                shows the first of them, since nothing else names the function
    livecodebench   `public_test_cases` and `private_test_cases`; with `starter_code` the tests call a function (livecodebench.py)
    cases       `test_cases` (or within `verification_info`): a list of {input, output}, and `language` (python where absent)

    after, before   keep contests of [after, before), ISO dates, of rows with a `contest_date`
    The other arguments are those of `competition.Competition`.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        part: Literal["train", "test"] = "test",
        validation: int = 0,
        test: int = 0,
        file: str | None = None,
        hub_split: str = "test",
        hub_subset: str | None = None,
        limit: int | None = None,
        on_bad: OnBad = "error",
        seed: int = 0,
        after: str | None = None,
        before: str | None = None,
    ) -> None:
        for day in (after, before):
            if day is not None and not _is_date(day):
                raise ValueError(f"after and before are ISO dates such as 2024-08-01, got {day!r}")
        asked = Part(part, validation, test, seed)
        self.path = local(path, file)
        self.name = name or Path(self.path).stem
        rows = islice(_in_window(read_rows(self.path, hub_split, hub_subset), after, before), limit)
        problems, self.bad = collect(self.path, rows, _Reader(self.name), on_bad)
        parts = asked.split(problems)
        self.train: list[Problem] = parts.train
        self.validation: list[Problem] = parts.validation
        self.test: list[Problem] = parts.test


@dataclass
class _Reader:
    """Row -> Problem, remembering the ids it has seen. Raises BadRow."""

    name: str
    label: Labels = field(default_factory=lambda: Labels(usual=(*ID_COLUMNS, "question_id")))

    def __call__(self, row: Row) -> Problem:
        label = self.label(row)
        text = question_text(column(row, None, (*QUESTION_COLUMNS, "question_content", "text")))
        question, tests, extra = layout(row)(row, text)
        reference = next(
            (row[c] for c in ("answer", "canonical_solution", "code", "solution") if isinstance(row.get(c), str)), None
        )
        meta = kept(row, (*KEPT_COLUMNS, "difficulty", "platform", "contest_date")) | extra
        return Problem(f"{self.name}/{label}", question, reference, "code", tests=tests, meta=meta)


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _in_window(
    rows: Iterator[tuple[str, Row | BadRow]], after: str | None, before: str | None
) -> Iterator[tuple[str, Row | BadRow]]:
    """The rows of the window; one without a date comes as a BadRow, for the caller to decide."""
    for place, row in rows:
        try:
            if isinstance(row, BadRow) or within(row, after, before):
                yield place, row
        except BadRow as reason:
            yield place, reason


Layout = Callable[[Row, str], tuple[str, dict[str, Any], dict[str, Any]]]


def layout(row: Row) -> Layout:
    """Which of the four layouts a row has."""
    if row.get("entry_point"):
        return humaneval
    if "public_test_cases" in row or "private_test_cases" in row:
        return contest
    if "test_cases" in row or "verification_info" in row:
        return cases
    if isinstance(row.get("tests", row.get("test_list")), Sequence):
        return mbpp
    raise BadRow(f"it has no tests: expected entry_point with test, test_list, or test_cases; it has {', '.join(map(str, row))}")


def humaneval(row: Row, text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    code = column(row, None, ("tests", "test"))
    if not isinstance(code, str) or "def check(" not in code:
        raise BadRow("its test program defines no check(candidate)")
    case = {"type": "assert", "code": f"{code.strip()}\n\ncheck({row['entry_point']})"}
    return COMPLETE.format(header=text), _tests([case]), {"entry_point": row["entry_point"], "header": text}


def mbpp(row: Row, text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    lines = row.get("tests", row.get("test_list"))
    if isinstance(lines, str) or not lines or not all(isinstance(line, str) and line.strip() for line in lines):
        raise BadRow(f"its tests are no list of assert lines: {lines!r:.60}")
    imports = row.get("test_imports") or row.get("test_setup_code") or ""
    setup = imports if isinstance(imports, str) else "\n".join(imports)
    question = FUNCTION.format(question=text, example=lines[0])
    return question, _tests([{"type": "assert", "code": line} for line in lines], setup), {}


def contest(row: Row, text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    found, name = read_tests(row)
    starter = str(row.get("starter_code") or "").strip()
    if name is None:
        return PROGRAM.format(question=text), _tests(found), {}
    return METHOD.format(question=text, starter=starter or f"def {name}(...):"), _tests(found) | {"fn_name": name}, {}


def cases(row: Row, text: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    info = row.get("verification_info", row)
    found = info.get("test_cases") if isinstance(info, dict) else None
    if not isinstance(found, Sequence) or not found:
        raise BadRow("its test_cases are no list of {input, output}")
    for case in found:
        if not isinstance(case, dict) or not all(isinstance(case.get(side), str) for side in ("input", "output")):
            raise BadRow(f"a test case needs input and output as text, got {case!r:.60}")
        if case.get("type", "stdin_stdout") != "stdin_stdout":
            raise BadRow(f"a test case of type {case['type']!r}; input and output cases are stdin_stdout")
    plain = [{"type": "stdin_stdout", "input": case["input"], "output": case["output"]} for case in found]
    return PROGRAM.format(question=text), _tests(plain, language=str(info.get("language") or "python")), {}


def _tests(test_cases: list[dict[str, str]], setup: str = "", language: str = "python") -> dict[str, Any]:
    return {"language": language, "setup": setup, "test_cases": test_cases}
