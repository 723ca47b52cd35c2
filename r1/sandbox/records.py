"""What goes into the sandbox and what comes out.

Program + Case ──box──▶ Outcome (what happened, in bytes) ──judge, outside──▶ Verdict (one of the states)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

State = Literal["ok", "wrong", "timeout", "crash", "memory", "output_limit", "compile_error", "sandbox_error"]
CaseType = Literal["stdin_stdout", "function_call", "assert"]
LANGUAGES = ("python", "cpp")


class SandboxUnavailable(RuntimeError):
    """This machine cannot isolate programs, and the message says what to install or to allow."""


class SandboxError(RuntimeError):
    """A box failed, not the program in it: to be retried, then masked, never scored 0."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one test may use. CPU time decides; the clock is a guard, as a busy machine makes honest programs slow.

    cpu      seconds of CPU time for a test, all threads together
    wall     seconds by the clock, for a program that sleeps on and off
    idle     seconds without any CPU time at all, after which a program is taken to wait for ever
    memory   megabytes of address space
    output   bytes of standard output
    threads  threads beside the first; a second process is never allowed
    compile_cpu, compile_memory   the same for the compiler, which may start its own processes one after the other
    """

    cpu: float = 4.0
    wall: float = 60.0
    idle: float = 5.0
    memory: int = 256
    output: int = 1 << 20
    threads: int = 16
    compile_cpu: float = 20.0
    compile_memory: int = 300

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"sandbox limit {item.name} must be a positive number, got {value!r}")
        if self.memory < 64:
            raise ValueError(f"sandbox limit memory must be at least 64 (MB: Python itself wants 40), got {self.memory}")


@dataclass(frozen=True, slots=True)
class Program:
    """Source text and its language, "python" or "cpp". `setup` is Python that runs before it under the same names."""

    source: str
    language: str = "python"
    setup: str = ""

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise ValueError(f"the sandbox runs {' and '.join(LANGUAGES)}, got language {self.language!r}")


@dataclass(frozen=True, slots=True)
class Case:
    """One test, complete with what only the judge outside may know.

    stdin_stdout   `given` is standard input, `expected` the standard output
    function_call  `given` is the list of arguments, `expected` the returned value as JSON data, `names` the one function
    assert         `given` is test code, `expected` its setup; right when it ends without an exception. It calls functions of the
                   program: by names that neither it nor its setup defines, and by `names`, whatever they mean otherwise
    """

    type: CaseType
    given: Any
    expected: Any = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a box saw of one run: no judgement, and nothing that the program could not have written itself.

    exit    exit code, negative for a signal       reason  why the box ended it: "", cpu, wall, idle or output
    note    what the process said about its end: "" | syntax | memory       cpu  seconds       peak  megabytes resident
    """

    exit: int
    reason: str
    note: str
    cpu: float
    peak: int
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one test, with a line for people and what it cost."""

    state: State
    detail: str = ""
    cpu: float = 0.0
    peak: int = 0
