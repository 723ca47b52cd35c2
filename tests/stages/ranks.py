"""Two processes on this machine that meet over gloo, forked from the test: they start at once and have every fixture."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """OpenMP's threads do not survive a fork: ranks forked from a process that has used several would wait for them for ever."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def on_two_ranks(work: Callable[[int], Any], folder: Path, timeout: float = 120.0) -> list[Any]:
    """What `work(rank)` gave on each rank. Fails with a rank's traceback, and after `timeout` seconds: a rank that waits for ever
    is a bug, not a slow test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_rank, args=(work, rank, port, folder), daemon=True) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout)
    hanging = [rank for rank, process in enumerate(ranks) if process.is_alive()]
    for process in ranks:
        process.kill()
    codes = [process.exitcode for process in ranks]
    failures = [file.read_text() for file in sorted(folder.glob("rank*.txt"))]
    assert not failures, "\n".join(failures)
    assert not any(codes), f"ranks ended with {codes}"
    assert not hanging, f"ranks {hanging} had not ended after {timeout} s"
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


def _rank(work: Callable[[int], Any], rank: int, port: int, folder: Path) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        torch.save(work(rank), folder / f"rank{rank}.pt")
    except BaseException:
        (folder / f"rank{rank}.txt").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        os._exit(1)
    os._exit(0)  # without pytest's own ending
