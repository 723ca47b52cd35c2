"""A box seen from outside: one process in walls, for one program, spoken to in frames. It reports bytes and judges nothing."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from r1.sandbox.bubblewrap import Walls
from r1.sandbox.records import Limits, Outcome, Program, SandboxError

GRACE = 20.0  # seconds that a box may be late on a busy machine before it counts as failed
_MOST = 16 << 20  # bytes of a frame
_COMPILER_TASKS = 12


class Box(Protocol):
    """What the judge needs of a box, here or on another machine. A box sees one program and is then closed.

    Every method raises SandboxError when the box itself fails. Nothing that a test expects is ever handed to it.
    """

    def compile(self, program: Program) -> Outcome | None:
        """Make the program ready; None where there is nothing to do."""

    def run(self, program: Program, stdin: bytes) -> Outcome:
        """The program on one standard input."""

    def serve(self, program: Program) -> None:
        """Load a Python program that then answers calls, see inside/calls.py."""

    def judge(self, nonce: str, setup: str, code: str, names: list[str]) -> None:
        """Run test code that calls `names` in another box."""

    def say(self, data: bytes) -> None:
        """To the channel of what `serve` or `judge` started; nothing (b"") closes it, and asks it to end."""

    def hear(self, timeout: float) -> bytes | Outcome | None:
        """From that channel, or how it ended; None when nothing has come in `timeout` seconds."""

    def close(self) -> None:
        """End everything in it. May be called twice."""


@cache
def calls_source() -> str:
    return (files("r1.sandbox") / "inside" / "calls.py").read_text(encoding="utf-8")


class LocalBox:
    """A box on this machine. Starting takes a while: it is ready when `wait_ready` returns."""

    def __init__(self, walls: Walls, limits: Limits) -> None:
        self.limits, self._closed = limits, False
        self._started = walls.start()
        self.process = self._started.process
        self._send(b"S", repr(self._started.setup).encode())

    def wait_ready(self, timeout: float = GRACE) -> LocalBox:
        kind, _ = self._receive(time.monotonic() + timeout)
        assert kind == b"R"
        return self

    def compile(self, program: Program) -> Outcome | None:
        if program.language != "cpp":
            return None
        wall = self.limits.wall + 10 * self.limits.compile_cpu
        job = {"cpu": self.limits.compile_cpu, "memory": self.limits.compile_memory, "tasks": _COMPILER_TASKS}
        # g++ itself only waits for its compiler proper: its idleness means nothing
        self._job("compile", program, **job, wall=wall, idle=wall)
        return self._outcome(wall)

    def run(self, program: Program, stdin: bytes) -> Outcome:
        self._job("python" if program.language == "python" else "binary", program, stdin=stdin)
        return self._outcome(self.limits.wall)

    def serve(self, program: Program) -> None:
        self._job("python", program, calls=calls_source(), channel=True, serve=True, idle=self.limits.wall)

    def judge(self, nonce: str, setup: str, code: str, names: list[str]) -> None:
        job: dict[str, Any] = {"calls": calls_source(), "channel": True, "serve": False, "idle": self.limits.wall}
        job["judge"] = (nonce, setup, code, names)
        self._job("python", Program(""), **job)

    def say(self, data: bytes) -> None:
        self._send(b"D", data)

    def hear(self, timeout: float) -> bytes | Outcome | None:
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return None
        kind, content = self._receive(time.monotonic() + GRACE)
        return content if kind == b"D" else _outcome(content)

    def close(self) -> None:
        """Process 1 ends when its input does, and takes all others with it: the end of its output is the end of the box."""
        process = self.process
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        deadline = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                if not os.read(process.stdout.fileno(), 65536):
                    break
        process.stdout.close()
        process.stderr.close()
        self._started.clean()

    def _job(self, op: str, program: Program, **more: Any) -> None:
        limits = self.limits
        job: dict[str, Any] = {
            "op": op, "source": program.source, "setup": program.setup, "stdin": b"", "calls": "", "channel": False,
            "cpu": limits.cpu, "wall": limits.wall, "idle": limits.idle, "memory": limits.memory, "output": limits.output,
            "tasks": limits.threads + 2,
        }  # fmt: skip
        self._send(b"J", repr(job | more).encode("utf-8", "surrogatepass"))

    def _outcome(self, wall: float) -> Outcome:
        deadline = time.monotonic() + wall + GRACE
        while True:
            kind, content = self._receive(deadline)
            if kind == b"F":
                return _outcome(content)

    def _send(self, kind: bytes, content: bytes) -> None:
        data = memoryview(kind + len(content).to_bytes(4, "big") + content)
        try:
            while data:
                data = data[self.process.stdin.write(data) :]
        except (OSError, ValueError) as error:
            raise SandboxError(f"the box does not listen: {self._why() or error}") from error

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        head = self._exactly(5, deadline)
        kind, size = head[:1], int.from_bytes(head[1:], "big")
        if kind not in (b"R", b"D", b"F") or size > _MOST:
            raise SandboxError(f"the box speaks nonsense: a frame {kind!r} of {size} bytes")
        return kind, self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        found = bytearray()
        stdout = self.process.stdout
        while len(found) < size:
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SandboxError("the box did not answer in time")
            piece = os.read(stdout.fileno(), min(size - len(found), 1 << 16))
            if not piece:
                raise SandboxError(f"the box ended: {self._why() or 'without a word'}")
            found += piece
        return bytes(found)

    def _why(self) -> str:
        """The last words of bubblewrap or of process 1."""
        with contextlib.suppress(OSError, ValueError):
            if select.select([self.process.stderr], [], [], 0.2)[0]:
                return os.read(self.process.stderr.fileno(), 4096).decode(errors="replace").strip()[-500:]
        return ""


def _outcome(content: bytes) -> Outcome:
    """A frame F. Process 1 wrote it, not the program; still nothing is believed that does not parse."""
    line, _, rest = content.partition(b"\n")
    try:
        code, reason, note, cpu, peak, size, errors = line.decode("ascii").split()
        stdout, stderr = rest[: int(size)], rest[int(size) : int(size) + int(errors)]
        outcome = Outcome(int(code), reason.strip("-"), note.strip("-"), float(cpu), int(peak), stdout, stderr)
    except (ValueError, UnicodeDecodeError) as error:
        raise SandboxError(f"the box speaks nonsense: {line[:80]!r}") from error
    if outcome.reason == "setup":
        raise SandboxError(f"a test could not be set up: {outcome.stderr.decode(errors='replace')[-200:]}")
    return outcome


@contextlib.contextmanager
def closing(box: Box) -> Iterator[Box]:
    try:
        yield box
    finally:
        box.close()
