"""A pool of killable worker processes around math-verify.

math-verify's own time limit is a signal, which only works in the main thread; without it one tower of powers stops the run. Here
every comparison happens in another process, which ends when the comparison has used its limit and is then replaced.

    threads ──▶ idle workers (a stack) ──▶ python -m r1.grading.worker   one JSON line there, one back, at most `limit` CPU seconds
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_START_LIMIT = 300.0  # seconds to import sympy on a machine that is busy with other things
_WALL = 10.0  # times the limit, by the clock: for a process that neither answers nor uses CPU time
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class WorkerFailed(RuntimeError):
    """math-verify cannot be used at all: a broken install, not a hard question."""


class Hung(Exception):
    """The worker did not answer in time."""


class Worker:
    """One process. `ask` raises Hung when the comparison used up its limit, EOFError when the process died of anything else."""

    def __init__(self, limit: float) -> None:
        path = os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "r1.grading.worker", str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._buffer = b""

    def wait_ready(self) -> None:
        try:
            reply = self._read(_START_LIMIT)
        except (EOFError, Hung) as error:
            self.kill()
            raise WorkerFailed(
                f"the math-verify worker did not start ({type(error).__name__}); try: {sys.executable} -m r1.grading.worker 2"
            ) from error
        if "ready" not in reply:
            self.kill()
            raise WorkerFailed(f"math-verify does not work here: {reply.get('broken', reply)}")

    def ask(self, answer: str, gold: str, limit: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"answer": answer, "gold": gold, "limit": limit}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise EOFError from error
        return self._read(limit * _WALL)

    def _read(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        descriptor, deadline = self.process.stdout.fileno(), time.monotonic() + limit
        readable = select.poll()  # not select(), which refuses descriptors above 1023
        readable.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not readable.poll(left * 1000):
                raise Hung
            piece = os.read(descriptor, 65536)
            if not piece:
                raise Hung if self.process.wait() == -signal.SIGPROF else EOFError
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Let go of the pipes; the process sees the end of its input and leaves."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # a write that the dead process never read
                    pipe.close()


class Pool:
    """At most `size` workers, started when first needed. Threads may ask at the same time; each waits for an idle worker."""

    def __init__(self, size: int = 2, limit: float = 2.0) -> None:
        if size < 1 or limit <= 0:
            raise ValueError(f"Pool needs size >= 1 and limit > 0 seconds, got size={size}, limit={limit}")
        self.size, self.limit = size, limit
        self.counts = {"asked": 0, "timeouts": 0, "crashes": 0, "errors": 0}
        self._reset()

    def _reset(self) -> None:
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._slots = threading.BoundedSemaphore(self.size)
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def forget(self) -> None:
        """After a fork, in the child: the workers are the parent's. Two processes on one pipe would read each other's replies."""
        for worker in self._all:
            worker.close()
            worker.process.returncode = 0  # not ours to wait for
        self._reset()

    def ask(self, answer: str, gold: str, limit: float | None = None) -> bool:
        """Are they equal? False after `limit` seconds of CPU time, or when sympy cannot read one of them; both are counted."""
        if self._owner != os.getpid():
            self.forget()
        with self._slots:
            worker = self._take()
            try:
                reply = worker.ask(answer, gold, self.limit if limit is None else limit)
            except (Hung, EOFError) as error:
                self._drop(worker)
                self._count("timeouts" if isinstance(error, Hung) else "crashes")
                return False
            except BaseException:
                self._drop(worker)  # interrupted between question and reply: the next question must not get this reply
                raise
            with self._lock:
                self._idle.append(worker)
        self._count("errors" if "error" in reply else None)
        return reply["equal"]

    def _take(self) -> Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        worker = Worker(self.limit)
        with self._lock:
            self._all.append(worker)
        try:
            worker.wait_ready()
        except BaseException:
            self._drop(worker)
            raise
        return worker

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        with self._lock:
            if worker in self._all:
                self._all.remove(worker)

    def _count(self, what: str | None) -> None:
        with self._lock:
            self.counts["asked"] += 1
            if what:
                self.counts[what] += 1

    def shut_down(self) -> None:
        """Kill all workers; the pool starts new ones when asked again."""
        if self._owner == os.getpid():
            for worker in list(self._all):
                worker.kill()
        self._reset()


_pool: Pool | None = None
_pool_lock = threading.Lock()


def shared_pool() -> Pool:
    """The pool of this process; `R1_GRADING_WORKERS` sets its size (default: as many as cores, at most 4)."""
    global _pool
    if _pool is None:
        with _pool_lock:
            if _pool is None:
                _pool = Pool(int(os.environ.get("R1_GRADING_WORKERS", min(4, os.cpu_count() or 1))))
                atexit.register(_pool.shut_down)
    return _pool


def _after_fork() -> None:
    global _pool_lock
    _pool_lock = threading.Lock()
    if _pool is not None:
        _pool.forget()


os.register_at_fork(after_in_child=_after_fork)
