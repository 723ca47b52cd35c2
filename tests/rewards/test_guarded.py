"""A reward part that raises, hangs or is killed: a bug ends the run, an outage masks the samples of one call."""

from __future__ import annotations

import math
import os
import signal
import time

import pytest

from r1.records import Problem, Trace
from r1.rewards import Guarded, Reward

TRACES = [Trace(Problem("p", "q"), [1], [2], [-1.0], text, "stop") for text in ("good", "bad")]


def values(traces):
    return [1.0 if trace.text == "good" else None for trace in traces]


def hangs(traces):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(60)


def is_killed(traces):
    os.kill(os.getpid(), signal.SIGKILL)


def raises(traces):
    raise ZeroDivisionError("length of the answer is 0")


def test_values_come_through():
    assert Guarded(values)(TRACES) == [1.0, None]
    assert Guarded(values)([]) == []


@pytest.mark.parametrize(
    ("part", "message"), [(hangs, "took more than 0 s and was killed"), (is_killed, "died without an answer")]
)
def test_an_outage_masks_its_samples_and_an_outage_that_lasts_ends_the_run(part, message):
    reward = Reward({"mine": Guarded(part, seconds=0.3, stop_after=3), "other": values}, {"mine": 1.0, "other": 1.0})
    started = time.monotonic()
    for _ in range(2):
        with pytest.warns(UserWarning, match=message):
            scored = reward.score(TRACES)
        assert [trace.score.total for trace in scored] == [None, None]
        assert math.isnan(scored[0].score.parts["mine"])
        assert scored[0].score.parts["other"] == 1.0
    with pytest.raises(RuntimeError, match="3 calls in a row"):
        reward.score(TRACES)
    assert time.monotonic() - started < 20


def test_an_outage_that_ends_is_forgotten(tmp_path):
    def flaky(traces):
        (tmp_path / str(time.monotonic_ns())).touch()
        return values(traces) if len(list(tmp_path.iterdir())) % 2 == 0 else is_killed(traces)

    guarded = Guarded(flaky, stop_after=2)
    for _ in range(3):
        with pytest.warns(UserWarning, match="died"):
            assert math.isnan(guarded(TRACES)[0])
        assert guarded(TRACES) == [1.0, None]


def test_a_part_that_raises_is_a_bug():
    with pytest.raises(
        RuntimeError, match="reward part function raised in its process: ZeroDivisionError: length of the answer is 0"
    ):
        Guarded(raises)(TRACES)


@pytest.mark.parametrize(
    ("options", "message"), [({"part": 3}, "callable"), ({"seconds": 0}, "seconds > 0"), ({"stop_after": 0}, "stop_after >= 1")]
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Guarded(**{"part": values, **options})
