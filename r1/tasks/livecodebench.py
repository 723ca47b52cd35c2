"""Rows of LiveCodeBench (Jain et al. 2024): contest problems by date, with public and packed private tests.

A row has `question_content`, `starter_code` (empty for programs that read stdin), `public_test_cases` and `private_test_cases`,
each a JSON list of {input, output, testtype: "stdin" | "functional"}; the private ones are zlib-compressed, pickled and in base64.
`metadata` names the function that functional tests call, with one JSON argument a line.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from datetime import date
from typing import Any

from r1.tasks.rows import BadRow, Row

METHOD = "{question}\nComplete this Python code. Write all of it in one code block.\n```python\n{starter}\n```"
MAX_TESTS = 256 * 2**20  # unpacked characters of one problem's tests; a row beyond it is damage or an attack


def read_tests(row: Row) -> tuple[list[dict[str, str]], str | None]:
    """(cases as the sandbox takes them, the name of the function to call or None). Public tests first. Raises BadRow."""
    found = [*_listed(row.get("public_test_cases")), *_listed(row.get("private_test_cases"))]
    if not found:
        raise BadRow("it has neither public nor private test cases")
    kinds = {case.get("testtype") if isinstance(case, dict) else None for case in found}
    if kinds - {"stdin", "functional"} or len(kinds) != 1:
        raise BadRow(f"its tests must all be stdin or all functional, got {sorted(map(str, kinds))}")
    if not all(isinstance(case.get(side), str) for case in found for side in ("input", "output")):
        raise BadRow("a test case needs input and output as text")
    name = None
    if kinds == {"functional"}:
        name = (_json(row.get("metadata") or "{}", "metadata") or {}).get("func_name")
        if not name:
            raise BadRow("its tests call a function that metadata.func_name does not name")
    kind = "function_call" if name else "stdin_stdout"
    return [{"type": kind, "input": case["input"], "output": case["output"]} for case in found], name


def within(row: Row, after: str | None, before: str | None) -> bool:
    """Whether the contest lies in [after, before), both ISO dates or None. Raises BadRow where a date is asked for and the row
    has none: a window is what keeps problems out that a model was trained on."""
    if after is None and before is None:
        return True
    try:
        day = date.fromisoformat(str(row.get("contest_date"))[:10])
    except ValueError as error:
        raise BadRow(f"its contest_date is no date: {row.get('contest_date')!r}") from error
    return (after is None or day >= date.fromisoformat(after)) and (before is None or day < date.fromisoformat(before))


def _listed(value: Any) -> list[Any]:
    if value in (None, ""):
        return []
    if isinstance(value, str):
        value = _json(value, "test cases") if value.lstrip().startswith("[") else _unpacked(value)
    if not isinstance(value, list):
        raise BadRow(f"its test cases are no list: {value!r:.60}")
    return value


def _unpacked(text: str) -> Any:
    """base64 of zlib of a pickle of a JSON text. The pickle may hold a text and nothing else: it is data from elsewhere."""
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(base64.b64decode(text, validate=True), MAX_TESTS)
        if inflate.unconsumed_tail:
            raise BadRow(f"its private tests unpack to more than {MAX_TESTS:,} bytes")
        packed = _TextOnly(io.BytesIO(raw)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, UnicodeDecodeError, IndexError, ValueError) as error:
        if isinstance(error, BadRow):
            raise
        raise BadRow(f"its private tests cannot be unpacked: {error}") from error
    return _json(packed, "private tests") if isinstance(packed, str) else packed


class _TextOnly(pickle.Unpickler):
    """A pickle of plain values. Naming any class or function, which is how a pickle runs code, is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and tests are text")


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, json.JSONDecodeError) as error:
        raise BadRow(f"its {what} are not JSON: {error}") from error
