"""Code: the share of a problem's tests that the program passes (R1 v1 2.2.2: feedback from a compiler and predefined test cases)."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1.records import Problem, Trace
from r1.rewards.base import read
from r1.sandbox import Boxes, Case, Limits, Program, Sandbox, Verdict

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
_PYTHON, _CPP = {"python", "python3", "py"}, {"cpp", "c++", "cc", "cxx", "c"}


class Code:
    """0.0 ... 1.0; None where the problem has no tests; NaN where the sandbox failed twice, which masks the sample.

    The program is the last fenced block of the summary, that is of what follows the last closed thought; no block, no program.
    `Problem.tests` is {"language", "setup", "test_cases"}, a case being {"type", "input", "output"} (stdin_stdout, function_call) or
    {"type": "assert", "code"}. The program of a HumanEval problem may be the whole function or its body alone.

    mode       "share": passed tests / tests; "all": 1 for all of them, 0 otherwise, and no test is run after the first failure
    sandbox    "bubblewrap", "unsafe_subprocess" (no isolation), or an `r1.sandbox.Boxes` that reaches other machines
    limits     of `r1.sandbox.Limits`, such as {cpu: 2.0}: per test, CPU seconds and megabytes
    workers    programs at a time;  warm: boxes kept ready;  tolerance: of numbers with a point, 0 is exact

    Raises SandboxUnavailable when it is made, not in the middle of a run. `unsafe` and `counts` are for the run's manifest and
    metrics: programs, tests, verdicts by state, retries.
    """

    def __init__(
        self,
        mode: Literal["share", "all"] = "share",
        sandbox: Literal["bubblewrap", "unsafe_subprocess"] | Boxes = "bubblewrap",
        limits: Mapping[str, float] | None = None,
        workers: int = 2,
        warm: int = 4,
        tolerance: float = 0.0,
    ) -> None:
        if mode not in ("share", "all"):
            raise ValueError(f"code mode must be 'share' or 'all', got {mode!r}")
        self.mode = mode
        self.sandbox = Sandbox(sandbox, Limits(**dict[str, Any](limits or {})), workers, warm, tolerance)

    @property
    def unsafe(self) -> bool:
        return self.sandbox.unsafe

    @property
    def counts(self) -> Mapping[str, int]:
        return self.sandbox.counts

    def close(self) -> None:
        self.sandbox.close()

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        """One value a trace. Raises ValueError for a problem whose tests cannot be run: that is a mistake in the data."""
        values: list[float | None] = [None if t.problem.tests is None or t.problem.domain != "code" else 0.0 for t in traces]
        asked, jobs = [], []
        for i, trace in enumerate(traces):
            if values[i] is None:
                continue
            cases = cases_of(trace.problem)
            source = last_block(read(trace).summary, truncated=trace.truncated)
            if source is not None:
                asked.append(i)
                jobs.append((program_of(trace.problem, source), cases))
        for i, (_, cases), verdicts in zip(asked, jobs, self.sandbox.judge_all(jobs, stop=self.mode == "all"), strict=True):
            values[i] = self._value(verdicts, len(cases))
        return values

    def _value(self, verdicts: Sequence[Verdict], tests: int) -> float:
        if any(v.state == "sandbox_error" for v in verdicts):
            return math.nan
        passed = sum(v.state == "ok" for v in verdicts)
        return passed / tests if self.mode == "share" else float(passed == tests)


def last_block(text: str, truncated: bool = False) -> str | None:
    """The content of the last fenced block, None where there is none. A block that is cut off by the token limit is no program; one
    that merely lacks its closing fence is."""
    found, opening = None, None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[1].startswith(opening[1]) and not fence[2]:
            found, opening = text[opening.end() + 1 : fence.start()], None
    if opening is not None and not truncated:
        found = text[opening.end() + 1 :]
    return found if found is not None and found.strip() else None


def program_of(problem: Problem, source: str) -> Program:
    """A completed function gets what its question gave: the imports and helpers above it, or, for a bare body, its first lines."""
    language = _language(problem)
    header = problem.meta.get("header")
    if language != "python" or not header:
        return Program(source, language)
    if re.search(rf"^(?:async\s+)?def\s+{re.escape(problem.meta['entry_point'])}\b", source, re.MULTILINE):
        return Program(source, setup=header + "\n")
    body = source if source[:1] in " \t" else "\n".join("    " + line if line.strip() else "" for line in source.split("\n"))
    return Program(f"{header.rstrip()}\n{body}")


def cases_of(problem: Problem) -> list[Case]:
    """A problem's tests as the sandbox takes them. Raises ValueError, naming the problem, for tests that are none."""
    tests = problem.tests
    rows = tests.get("test_cases") if isinstance(tests, Mapping) else None
    if not rows:
        raise ValueError(
            f"problem {problem.id!r}: tests must be {{language, test_cases: [...]}} with at least one case, got {tests!r:.80}"
        )
    if _language(problem) == "cpp" and any(row.get("type", "stdin_stdout") != "stdin_stdout" for row in rows):
        raise ValueError(f"problem {problem.id!r}: only Python can be called by tests; cpp problems need stdin_stdout cases")
    return [_case(problem, row) for row in rows]


def _case(problem: Problem, row: Mapping[str, Any]) -> Case:
    kind, tests, meta = row.get("type", "stdin_stdout"), problem.tests, problem.meta
    try:
        if kind == "stdin_stdout":
            given, expected = row["input"], row["output"]
            if not isinstance(given, str) or not isinstance(expected, str):
                raise ValueError("a stdin_stdout case has input and output as text")
            return Case(kind, given, expected)
        if kind == "function_call":
            name = row.get("fn_name") or tests.get("fn_name") or meta.get("entry_point")
            if not name:
                raise ValueError("a function_call case needs fn_name, in the case or beside test_cases")
            given, expected = row["input"], row["output"]
            if isinstance(given, str):  # one JSON value a line, as LiveCodeBench writes arguments
                given = [json.loads(line) for line in given.split("\n") if line.strip()]
            return Case(kind, list(given), json.loads(expected) if isinstance(expected, str) else expected, (name,))
        if kind == "assert":
            setup = "\n".join(part for part in (tests.get("setup"), meta.get("header")) if part)
            names = [meta["entry_point"]] if meta.get("entry_point") else _defined(problem.answer)
            return Case(kind, row["code"], setup, tuple(names))
    except (KeyError, ValueError) as error:
        raise ValueError(f"problem {problem.id!r}: a test case cannot be read ({error!r}): {row!r:.120}") from error
    raise ValueError(f"problem {problem.id!r}: a test case is stdin_stdout, function_call or assert, got {kind!r}")


def _defined(reference: str | None) -> list[str]:
    """What a reference program defines, and so what the tests mean by a name: some answers are called `sum`."""
    try:
        body = ast.parse(reference or "").body
    except (SyntaxError, ValueError):
        return []
    return [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _language(problem: Problem) -> str:
    language = str(problem.tests.get("language") or "python").lower()
    if language in _PYTHON or language in _CPP:
        return "python" if language in _PYTHON else "cpp"
    raise ValueError(f"problem {problem.id!r}: the sandbox runs python and cpp, the tests ask for {language!r}")
