"""A reward part in a process of its own: one that hangs or is killed costs its step's samples, not the run."""

from __future__ import annotations

import math
import multiprocessing
import time
import warnings
from collections.abc import Sequence
from multiprocessing.connection import Connection

from r1.records import Trace
from r1.rewards.base import Part


class Guarded:
    """Runs `part` in a fork at every call. For parts of plain Python that cannot be trusted to return; what they change in
    themselves (caches, counters) is lost with the process, and they must not use a GPU.

    seconds      by the clock; after that the process is killed and no sample of the call is judged (NaN: masked and counted)
    stop_after   so many calls in a row without a verdict end the run with RuntimeError: an outage that lasts must be seen

    A part that raises is a bug and ends the run at once, with the part's own message (RuntimeError).
    """

    def __init__(self, part: Part, seconds: float = 60.0, stop_after: int = 5) -> None:
        if not callable(part):
            raise ValueError(f"`part` must be a reward part, a callable of traces, got {type(part).__name__}")
        if seconds <= 0 or stop_after < 1:
            raise ValueError(f"expected seconds > 0 and stop_after >= 1, got {seconds} and {stop_after}")
        self.part, self.seconds, self.stop_after = part, seconds, stop_after
        self.outages_in_a_row = 0

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        if not traces:
            return []
        fork = multiprocessing.get_context("fork")
        mine, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_judge, args=(self.part, list(traces), theirs), daemon=True)
        process.start()
        theirs.close()
        verdict, reason = self._wait(mine)
        process.kill()
        process.join()
        if isinstance(verdict, str):
            raise RuntimeError(f"reward part {type(self.part).__name__} raised in its process: {verdict}")
        if verdict is not None:
            self.outages_in_a_row = 0
            return verdict
        self.outages_in_a_row += 1
        said = f"reward part {type(self.part).__name__} {reason}: its {len(traces)} samples are not judged"
        if self.outages_in_a_row >= self.stop_after:
            raise RuntimeError(
                f"{said}, {self.outages_in_a_row} calls in a row; the run stops rather than learn from the rest alone"
            )
        warnings.warn(said, stacklevel=2)
        return [math.nan] * len(traces)

    def _wait(self, mine: Connection) -> tuple[list[float | None] | str | None, str]:
        """(values, or what was raised, or None; why there is none)."""
        started = time.monotonic()
        try:
            if mine.poll(self.seconds):
                return mine.recv(), ""
            return None, f"took more than {time.monotonic() - started:.0f} s and was killed"
        except EOFError:
            return None, "died without an answer"
        finally:
            mine.close()


def _judge(part: Part, traces: list[Trace], answer: Connection) -> None:
    try:
        answer.send([None if value is None else float(value) for value in part(traces)])
    except Exception as error:
        answer.send(f"{type(error).__name__}: {error}")
