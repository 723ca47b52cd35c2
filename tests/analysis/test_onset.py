"""The onset of a change: planted ones are found within their interval, and runs without one give the stated false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from r1.analysis.onset import onset


def noise(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    out = rng.normal(size=n)
    for t in range(1, n):
        out[t] = memory * out[t - 1] + np.sqrt(1 - memory**2) * out[t]
    return out


def planted(rng: np.random.Generator, n: int, width: int, height: float, memory: float) -> tuple[int, np.ndarray]:
    """A curve of the shape that reflection rates have: flat, a rise of `height` noise units over `width` steps, flat."""
    start = int(rng.integers(n // 6, 2 * n // 3))
    return start, 0.1 + 0.03 * (height * np.clip((np.arange(n) - start) / width, 0, 1) + noise(rng, n, memory))


def test_a_step_without_noise_is_found_to_the_point():
    # 0 up to and with step 30, 1 from step 40 on: the change begins after step 30
    found = onset(range(0, 400, 10), [0.0] * 4 + [1.0] * 36)
    assert found.found
    assert found.step == found.low == found.high == 30
    assert (found.before, found.after) == pytest.approx((0, 1))


def test_a_fall_is_a_change_too():
    rng = np.random.default_rng(0)
    found = onset(range(40), np.r_[np.ones(15), np.zeros(25)] + 0.05 * rng.normal(size=40))
    assert found.found
    assert found.low <= 14 <= found.high
    assert found.after < found.before


def test_steps_keep_their_units():
    start, y = planted(np.random.default_rng(1), 40, 5, 8, 0.0)
    in_steps, in_hundreds = onset(range(40), y), onset(range(0, 4000, 100), y)
    assert in_hundreds.step == pytest.approx(100 * in_steps.step)
    assert in_steps.low <= start <= in_steps.high


def test_the_same_curve_gives_the_same_answer():
    y = planted(np.random.default_rng(2), 40, 5, 4, 0.3)[1]
    assert onset(range(40), y, simulations=50) == onset(range(40), y, simulations=50)


def test_long_curves_are_read_in_buckets():
    rng = np.random.default_rng(3)
    found = onset(range(3000), 0.03 * rng.normal(size=3000) + np.clip((np.arange(3000) - 1500) / 300, 0, 1), simulations=100)
    assert found.found
    assert abs(found.step - 1500) <= 100


def test_nothing_in_a_constant():
    assert not onset(range(20), [0.5] * 20).found


def test_a_few_planted_and_a_few_empty_runs():
    rng = np.random.default_rng(4)
    hits = 0
    for i in range(10):
        start, y = planted(rng, 40, 6, 6, 0.0)
        found = onset(range(40), y, simulations=60, seed=i)
        hits += found.found and found.low <= start <= found.high
    assert hits >= 9
    assert sum(onset(range(40), noise(rng, 40, 0.3), simulations=60, seed=i).found for i in range(10)) <= 1


@pytest.mark.slow
def test_planted_onsets_lie_in_their_interval_in_95_of_100_runs():
    rng = np.random.default_rng(5)
    hits = 0
    for i in range(100):
        start, y = planted(rng, 60, width=(1, 8, 20)[i % 3], height=6, memory=(0.0, 0.3)[i % 2])
        found = onset(range(60), y, simulations=150, seed=i)
        hits += found.found and found.low <= start <= found.high
    assert hits >= 95


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_false_alarms_stay_below_five_per_cent(memory):
    rng = np.random.default_rng(6)
    alarms = sum(onset(range(60), noise(rng, 60, memory), simulations=150, seed=i).found for i in range(200))
    assert alarms <= 10


def test_short_curves_are_refused():
    with pytest.raises(ValueError, match="at least 16 points"):
        onset(range(5), [0.1] * 5)
    with pytest.raises(ValueError, match="at least 16 points"):
        onset(range(20), [0.1] * 19)
