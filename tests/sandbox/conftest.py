"""What the tests of the sandbox share: a sandbox, a host worth attacking, and the reason to skip where no box can be had."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from r1.sandbox import Case, Limits, LocalBoxes, Outcome, Program, Sandbox, SandboxUnavailable
from r1.sandbox.judge import failure

LIMITS = Limits(cpu=1.0, wall=20.0, idle=2.5, memory=256, output=1 << 16)


@pytest.fixture(scope="session")
def boxes() -> Iterator[LocalBoxes]:
    try:
        made = LocalBoxes(limits=LIMITS, warm=2)
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def sandbox(boxes: LocalBoxes) -> Sandbox:
    """One second of CPU time a test."""
    return Sandbox(boxes)


@dataclass
class Host:
    """What an attack could reach, and what would show that it did. `@NAME@` in a program stands for one of the targets."""

    boxes: LocalBoxes
    secret: str = field(default_factory=lambda: "secret-" + secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="r1-host-"))
        self.folder.chmod(0o777)
        (self.folder / "secret.txt").write_text(self.secret)
        (self.folder / "secret.h").write_text(f'const char *secret = "{self.secret}";\n')
        self.before = self.files()
        os.environ["R1_TEST_API_KEY"] = self.secret
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(f"\0r1-{self.secret}")
        self.unix.listen()
        for listener in (self.tcp, self.unix):
            listener.settimeout(0.01)
        self.canary = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)

    def files(self) -> set[tuple[str, int]]:
        return {(p.name, p.stat().st_size) for p in self.folder.iterdir()}

    def fill(self, source: str) -> str:
        targets = {"PORT": self.tcp.getsockname()[1], "PID": self.canary.pid, "HOST": os.getpid(), "FOLDER": self.folder}
        targets["ABSTRACT"] = f"r1-{self.secret}"[:3]  # the name itself holds the secret: only its beginning
        for name, value in targets.items():
            source = source.replace(f"@{name}@", str(value))
        return source

    def attack(self, source: str, language: str = "python") -> tuple[str, Outcome]:
        """Run it and check that nothing outside has changed; the state it earned and what its box saw."""
        program = Program(self.fill(source), language)
        box = self.boxes.take()
        memory = Memory(box.process.pid)
        try:
            began = time.monotonic()
            outcome = box.compile(program)
            if outcome is None or not (outcome.exit or outcome.reason):
                outcome = box.run(program, b"21\n")
            took = time.monotonic() - began
            after = box.run(Program("print(int(input()) * 2)"), b"21\n")
            inside = memory.stop()
        finally:
            box.close()
        said = outcome.stdout + outcome.stderr
        assert self.secret.encode() not in said, "a secret came out"
        assert b"BREACH" not in said, said.decode(errors="replace")
        assert after.stdout == b"42\n", f"the box did not survive its program: {after}"
        assert inside, "the processes of the box were not seen"
        assert not alive(inside), "a process outlived its box"
        assert self.canary.poll() is None, "a process of the host was ended"
        assert self.files() == self.before, "a file of the host was written"
        for listener in (self.tcp, self.unix):
            with pytest.raises(TimeoutError):
                listener.accept()
        assert max(outcome.peak, memory.most) <= 300, f"{outcome.peak} and {memory.most} MB"
        limit = LIMITS.compile_cpu if language == "cpp" else LIMITS.cpu
        assert outcome.cpu <= limit + 0.6, f"{outcome.cpu} s of CPU time"
        assert took <= LIMITS.wall + 60, f"{took} s"
        failed = failure(outcome)
        return (failed.state if failed else "ok"), outcome

    def close(self) -> None:
        del os.environ["R1_TEST_API_KEY"]
        self.tcp.close()
        self.unix.close()
        self.canary.kill()
        self.canary.communicate()


class Memory:
    """Watches what the processes below `pid` hold together, in MB, and which there are."""

    def __init__(self, pid: int) -> None:
        self.most, self._pids, self._stop = 0.0, set[int](), threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,))
        self._thread.start()

    def _watch(self, pid: int) -> None:
        while True:
            found = below(pid)
            self._pids |= found
            self.most = max(self.most, sum(map(resident, found)))
            if self._stop.wait(0.05):
                break

    def stop(self) -> set[int]:
        self._stop.set()
        self._thread.join()
        return self._pids


def below(pid: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(folder.name))
    found, waiting = set[int](), [pid]
    while waiting:
        new = parents.get(waiting.pop(), [])
        found |= set(new)
        waiting += new
    return found


def resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def alive(pids: set[int]) -> set[int]:
    """Those that are more than a name still, after three seconds at most."""
    deadline = time.monotonic() + 3
    while True:
        left = {p for p in pids if (state := _state(p)) and state not in "ZX"}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


@pytest.fixture(scope="session")
def host(boxes: LocalBoxes) -> Iterator[Host]:
    made = Host(boxes)
    yield made
    made.close()


@pytest.fixture(scope="session")
def doubling() -> list[Case]:
    """Read a number, print twice the number."""
    return [Case("stdin_stdout", "21\n", "42\n"), Case("stdin_stdout", "-3\n", "-6\n")]
