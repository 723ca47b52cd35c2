"""Killable workers: threads, hostile input, hung processes, forks, broken installs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r1.grading import pool as pool_module
from r1.grading.pool import Pool, WorkerFailed

# A ratio of two factorials of ten million: no bomb filter sees it, sympy sits in one C call for longer than anyone waits.
HANGS = r"\frac{(10^7)!}{(10^7-1)! \cdot 2}"


@pytest.fixture(scope="module")
def workers():
    made = Pool(size=2, limit=2.0)
    yield made
    made.shut_down()


def test_known_pairs_from_threads(workers: Pool) -> None:
    """Bug 36: math-verify's own timeout raises in every thread but the main one. Bug 37: an equal pair must come out equal."""
    pairs = [
        ("0.5", r"\frac{1}{2}", True),
        ("(x-1)(x+1)", "x^2-1", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("x", "y", False),
    ] * 5
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda p: workers.ask(p[0], p[1]), pairs))
    assert found == [equal for _, _, equal in pairs]
    assert workers.counts["timeouts"] == workers.counts["crashes"] == 0


def test_hung_worker_is_killed_and_replaced(workers: Pool) -> None:
    """Bug 36: a comparison that hangs costs its limit, is counted, and the next one is answered by a new process."""
    before = dict(workers.counts)
    processes = {w.process.pid for w in workers._all}
    start = time.monotonic()
    assert workers.ask(HANGS, "2", limit=0.5) is False
    assert time.monotonic() - start < 5.0 + 0.5  # half a second of CPU time; by the clock at most ten times that
    assert workers.counts["timeouts"] == before["timeouts"] + 1
    assert workers.ask("0.5", r"\frac{1}{2}") is True
    assert any(w.process.pid not in processes for w in workers._all) or len(workers._all) == 1


def test_nonsense_is_counted_not_raised(workers: Pool) -> None:
    for answer in (r"\frac{", "\\" * 50, "}{", "\x00\x01", "∫∬∮", "a" * 300, r"\left(", "((((", "1/0", r"\begin{matrix}"):
        assert workers.ask(answer, "2") is False


def test_killed_worker_is_a_crash_not_a_verdict(workers: Pool) -> None:
    workers.ask("0.5", r"\frac{1}{2}")
    before = workers.counts["crashes"]
    for worker in workers._all:
        worker.process.kill()
        worker.process.wait()
    assert workers.ask("0.5", r"\frac{1}{2}") is False
    assert workers.counts["crashes"] == before + 1


def _ask_in_child(connection) -> None:
    shared = pool_module.shared_pool()
    verdict = shared.ask("0.5", r"\frac{1}{2}")
    connection.send((verdict, [worker.process.pid for worker in shared._all]))
    shared.shut_down()
    connection.close()


def test_forked_daemonic_child_gets_its_own_workers() -> None:
    """DataLoader workers are daemonic forks: they may have no multiprocessing children, and must not share the parent's pipes."""
    shared = pool_module.shared_pool()
    assert shared.ask("0.5", r"\frac{1}{2}")
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_ask_in_child, args=(there,), daemon=True)
    child.start()
    assert here.poll(300)
    verdict, workers = here.recv()
    assert verdict is True
    assert workers
    assert not set(workers) & {worker.process.pid for worker in shared._all}
    child.join(10)
    assert shared.ask(r"\sqrt{8}", r"2\sqrt{2}")  # the parent's worker still answers the parent


def test_broken_math_verify_stops_the_run(tmp_path, monkeypatch) -> None:
    """Bug 37: a math-verify that cannot be imported, or finds nothing equal, must stop the run and not make every answer wrong."""
    for body in (
        "raise ImportError('no sympy here')",
        "verify = lambda *a, **k: False",
    ):
        (tmp_path / "math_verify.py").write_text(body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(pool_module, "_PACKAGE_ROOT", tmp_path)
        os.makedirs(tmp_path / "r1" / "grading", exist_ok=True)
        source = Path(pool_module.__file__).with_name("worker.py")
        (tmp_path / "r1" / "__init__.py").touch()
        (tmp_path / "r1" / "grading" / "__init__.py").touch()
        (tmp_path / "r1" / "grading" / "worker.py").write_text(source.read_text())
        broken = Pool(size=1)
        with pytest.raises(WorkerFailed, match="math-verify does not work here"):
            broken.ask("1", "1")


def test_worker_leaves_when_its_parent_is_gone() -> None:
    worker = subprocess.Popen([sys.executable, "-m", "r1.grading.worker", "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert b"ready" in worker.stdout.readline()
    worker.stdin.close()
    assert worker.wait(60) == 0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="size >= 1"):
        Pool(size=0)
