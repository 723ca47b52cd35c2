"""Verdicts. Programs run in boxes; what a test expects stays here, or, for test code, in a box without the program.

stdin_stdout   text out of the box               compared here
function_call  JSON out of the box               compared here
assert         the test's code in a second box   calls the program's functions through here, sees plain data
"""

from __future__ import annotations

import ast
import builtins
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from r1.sandbox.box import GRACE, Box, closing
from r1.sandbox.compare import same_text, same_value
from r1.sandbox.pool import Boxes, Isolation, LocalBoxes
from r1.sandbox.records import Case, Limits, Outcome, Program, SandboxError, State, Verdict

_MOST_LINE = 8 << 20  # bytes of one call or answer
Job = tuple[Program, Sequence[Case]]


class Sandbox:
    """Judges programs by their tests. `Sandbox()` for boxes of this machine, `Sandbox(boxes)` for others.

    workers    programs at a time
    tolerance  of numbers that are not whole, see compare.py; 0 compares exactly

    `unsafe` says whether programs run without isolation, `counts` what has happened: programs, tests, one count per state,
    retries. Raises SandboxUnavailable.
    """

    def __init__(
        self,
        boxes: Boxes | Isolation = "bubblewrap",
        limits: Limits | None = None,
        workers: int = 2,
        warm: int = 4,
        tolerance: float = 0.0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"the sandbox needs at least one worker, got {workers}")
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance must be at least 0 and below 1, got {tolerance}")
        self.boxes: Boxes = LocalBoxes(boxes, limits, warm) if isinstance(boxes, str) else boxes
        self.workers, self.tolerance = workers, tolerance
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def unsafe(self) -> bool:
        return self.boxes.unsafe

    def close(self) -> None:
        self.boxes.close()

    def judge_all(self, jobs: Sequence[Job], stop: bool = False) -> list[list[Verdict]]:
        """Verdicts of many programs, in their order, several at a time."""
        if len(jobs) < 2 or self.workers == 1:
            return [self.judge(program, cases, stop) for program, cases in jobs]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(lambda job: self.judge(job[0], job[1], stop), jobs))

    def judge(self, program: Program, cases: Sequence[Case], stop: bool = False) -> list[Verdict]:
        """One verdict a case; `stop`: none after the first that is not ok. A box that fails is replaced once, then every verdict is
        sandbox_error. Raises ValueError for cases that the language cannot have."""
        if program.language != "python" and any(case.type != "stdin_stdout" for case in cases):
            raise ValueError(
                f"only Python programs can be called by tests; a {program.language} program needs stdin_stdout cases"
            )
        try:
            verdicts = self._once(program, cases, stop)
        except SandboxError:
            self._count("retries")
            try:
                verdicts = self._once(program, cases, stop)
            except SandboxError as error:
                verdicts = [Verdict("sandbox_error", str(error))] * len(cases)
        self._count("programs")
        for verdict in verdicts:
            self._count("tests")
            self._count(verdict.state)
        return verdicts

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def _once(self, program: Program, cases: Sequence[Case], stop: bool) -> list[Verdict]:
        verdicts: list[Verdict] = []
        with closing(self.boxes.take()) as box:
            compiled = box.compile(program)
            if compiled is not None and (compiled.reason or compiled.exit):
                why = "the compiler used up its limit" if compiled.reason else _last_line(compiled.stderr, "error:")
                return [Verdict("compile_error", why, compiled.cpu, compiled.peak)] * len(cases)
            judge_box: Box | None = None
            try:
                for case in cases:
                    if case.type == "stdin_stdout":
                        verdict = self._stdin(box, program, case)
                    elif case.type == "function_call":
                        verdict = self._call(box, program, case)
                    else:
                        judge_box = judge_box or self.boxes.take()
                        verdict = self._assert(box, judge_box, program, case)
                    verdicts.append(verdict)
                    if verdict.state == "compile_error":
                        return [verdict] * len(cases)
                    if stop and verdict.state != "ok":
                        break
            finally:
                if judge_box is not None:
                    judge_box.close()
        return verdicts

    def _stdin(self, box: Box, program: Program, case: Case) -> Verdict:
        outcome = box.run(program, case.given.encode("utf-8", "surrogatepass"))
        failed = failure(outcome)
        if failed:
            return failed
        right = same_text(outcome.stdout.decode("utf-8", "replace"), case.expected, self.tolerance)
        return Verdict("ok" if right else "wrong", "", outcome.cpu, outcome.peak)

    def _call(self, box: Box, program: Program, case: Case) -> Verdict:
        line = Channel(box, self.boxes.limits.wall)
        nonce = secrets.token_hex(8)
        box.serve(program)
        box.say(json.dumps([nonce, case.names[0], "", [_tagged(a) for a in case.given], {}]).encode() + b"\n")
        answer = line.read()
        outcome = line.finish()
        if not isinstance(answer, bytes):
            return failure(outcome, unfinished=True) or Verdict("output_limit", "the returned value is too long", outcome.cpu)
        if outcome.reason:
            return _verdict(failure(outcome))
        try:
            said, kind, *content = json.loads(answer)
            if said != nonce:
                return Verdict("crash", "the answer is not to this test's call", outcome.cpu, outcome.peak)
            if kind == "raised":
                state: State = "memory" if content[0] == "MemoryError" else "crash"
                return Verdict(state, f"{content[0]}: {content[1]}"[:300], outcome.cpu, outcome.peak)
            right = same_value(content[0], case.expected, self.tolerance)
        except (ValueError, TypeError, RecursionError, IndexError) as error:  # a program that writes to the channel itself
            if isinstance(error, ValueError) and "expects JSON data" in str(error):
                raise
            return Verdict("crash", "the answer cannot be read", outcome.cpu, outcome.peak)
        return Verdict("ok" if right else "wrong", "", outcome.cpu, outcome.peak)

    def _assert(self, box: Box, judge_box: Box, program: Program, case: Case) -> Verdict:
        """Relay calls from the test to the program and answers back, until the test is done or one of the two has ended."""
        setup, code = case.expected or "", case.given
        nonce, wall = secrets.token_hex(8), self.boxes.limits.wall
        asker, server = Channel(judge_box, wall), Channel(box, wall)
        judge_box.judge(nonce, setup, code, called_names(setup, code, case.names))
        box.serve(program)
        done = json.dumps([nonce, "done"]).encode()
        passed, answer = False, b""
        while answer is not None:
            request = asker.read()
            passed = request == done
            if request is None or passed:
                break
            box.say(request + b"\n")
            answer = server.read()
            if answer is not None:
                judge_box.say(answer + b"\n")
        test, outcome = asker.finish(), server.finish()
        unfinished = answer is None
        failed = failure(outcome, unfinished)
        if failed or unfinished:
            return failed or Verdict("output_limit", "a returned value is too long", outcome.cpu, outcome.peak)
        if passed:
            return Verdict("ok", "", outcome.cpu, outcome.peak)
        if test.reason in ("cpu", "wall"):
            return Verdict("timeout", "the test's own code, on what the program returned", outcome.cpu, outcome.peak)
        return Verdict("wrong", _last_line(test.stderr), outcome.cpu, outcome.peak)


class Channel:
    """Lines from a box's channel."""

    def __init__(self, box: Box, wall: float) -> None:
        self.box, self.data = box, bytearray()
        self.outcome: Outcome | None = None
        self.deadline = time.monotonic() + wall + GRACE

    def read(self) -> bytes | None:
        """The next line without its end; None when the other side has ended, or speaks without end."""
        while self.outcome is None and len(self.data) < _MOST_LINE:
            end = self.data.find(b"\n")
            if end >= 0:
                line = bytes(self.data[:end])
                del self.data[: end + 1]
                return line
            self._hear()
        return None

    def finish(self) -> Outcome:
        """Ask for the end and wait for it."""
        if self.outcome is None:
            self.box.say(b"")
        while self.outcome is None:
            self._hear()
            self.data.clear()
        return self.outcome

    def _hear(self) -> None:
        heard = self.box.hear(max(0.0, self.deadline - time.monotonic()))
        if heard is None:
            raise SandboxError("the box did not end its test in time")
        if isinstance(heard, Outcome):
            self.outcome = heard
        else:
            self.data += heard


def failure(outcome: Outcome, unfinished: bool = False) -> Verdict | None:
    """The verdict on a program that did not end well; None when it did. `unfinished`: there was more to do when it ended."""
    last = _last_line(outcome.stderr)
    state: State
    if outcome.reason in ("cpu", "wall", "idle"):
        state, detail = "timeout", {"cpu": "CPU time", "wall": "the clock", "idle": "it waits for ever"}[outcome.reason]
    elif outcome.reason == "output":
        state, detail = "output_limit", "it prints too much"
    elif outcome.note == "syntax":
        state, detail = "compile_error", last
    elif outcome.note == "memory" or (outcome.exit and ("MemoryError" in last or b"std::bad_alloc" in outcome.stderr)):
        state, detail = "memory", last
    elif outcome.exit:
        state, detail = "crash", last or f"exit {outcome.exit}"
    elif unfinished:
        state, detail = "crash", "it ended before its tests did"
    else:
        return None
    return Verdict(state, detail, outcome.cpu, outcome.peak)


def called_names(setup: str, code: str, names: Sequence[str] = ()) -> list[str]:
    """What test code uses and nobody defines, the program's functions, and `names`. Raises ValueError for test code that is no Python."""
    try:
        trees = {"setup": ast.parse(setup), "code": ast.parse(code)}
    except SyntaxError as error:
        raise ValueError(f"a test of type assert is not valid Python ({error}): {code[:80]!r}") from error
    used, bound = set(), set(dir(builtins))
    for part, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                if not isinstance(node.ctx, ast.Load):
                    bound.add(node.id)
                elif part == "code":
                    used.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.alias):
                bound.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.ExceptHandler) and node.name:
                bound.add(node.name)
    return sorted((used - bound) | set(names))


def _tagged(value: Any) -> Any:
    """JSON data in the encoding of inside/calls.py."""
    if isinstance(value, dict):
        return {"t": "dict", "v": [[key, _tagged(item)] for key, item in value.items()]}
    return [_tagged(item) for item in value] if isinstance(value, list | tuple) else value


def _verdict(verdict: Verdict | None) -> Verdict:
    assert verdict is not None
    return verdict


def _last_line(text: bytes, mark: str = "") -> str:
    """The last line of an error message, or the first that has `mark`."""
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    marked = [line for line in lines if mark in line] if mark else lines[-1:]
    return (marked or lines or [""])[0][:300]
