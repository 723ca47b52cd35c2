"""When did it begin? The onset of a change in a noisy curve (reflection rate, length), with an interval, or none at all.

The model is a level, a rise or fall over some steps, and a level again; a jump is a rise over one step and a hinge is one that
has not ended:

    y(t) = a                          t <= onset
         = a + b (t - onset) / width  in between
         = a + b                      t >= onset + width

Onset and width are found by least squares over a grid; a and b have closed forms. Consecutive steps of a training run resemble each
other, so noise is taken as AR(1), with the coefficient of the residuals. Simulated runs with that noise and no change say how
often so large a change would be seen by chance (p), and simulated runs with the fitted change say how far the onset would move (the
interval).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r1.repro import key

MIN_POINTS, MAX_POINTS = 16, 120  # longer curves are averaged in buckets first
WIDTHS = 30  # widths tried, from one step to the whole run, evenly on a log scale
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Onset:
    """A change that began at `step`, 95 % interval [low, high], from level `before` to level `after`.

    p is the chance of so large a change in a run without one; `found` is p <= alpha. Without a change the other numbers say
    nothing.
    """

    found: bool
    p: float
    step: float
    low: float
    high: float
    before: float
    after: float


def onset(x: Sequence[float], y: Sequence[float], alpha: float = 0.05, simulations: int = 400, seed: int = 0) -> Onset:
    """The onset of the change in y over steps x. ValueError for fewer than 16 points."""
    steps, values = np.asarray(x, float), np.asarray(y, float)
    if len(steps) != len(values) or len(steps) < MIN_POINTS:
        raise ValueError(
            f"an onset needs at least {MIN_POINTS} points with a value each, got {len(steps)} steps and {len(values)} values"
        )
    if values.std() == 0:
        return Onset(False, 1.0, steps[0], steps[0], steps[-1], values[0], values[0])
    steps, values = _bucketed(steps), _bucketed(values)
    ramps, places = _ramps(len(values))
    rng = np.random.default_rng(key("onset", seed))
    best, strength = _fit(ramps, values[:, None])
    level, height = _levels(ramps[best[0]], values)
    residuals = values - level - height * ramps[best[0]]
    noise = _noise_like(residuals, ramps, simulations, rng)
    p = (1 + (_fit(ramps, noise)[1] >= strength[0]).sum()) / (simulations + 1)
    again = places[_fit(ramps, level + height * ramps[best[0]][:, None] + noise)[0]]
    low, high = np.quantile(again, [0.01, 0.99])  # 98 % where the noise were known: with noise and width estimated, 95 % and more
    at = places[best[0]]
    low, at, high = np.interp([min(low, at), at, max(high, at)], np.arange(len(steps)), steps)
    return Onset(bool(p <= alpha), float(p), float(at), float(low), float(high), float(level), float(level + height))


def _bucketed(values: Floats) -> Floats:
    """At most MAX_POINTS means of neighbours; an incomplete last bucket is left out."""
    size = -(-len(values) // MAX_POINTS)
    whole = len(values) // size * size
    return values[:whole].reshape(-1, size).mean(1)


def _ramps(n: int) -> tuple[Floats, Floats]:
    """[M, n] curves from 0 to 1 that begin after two points at the earliest and are seen for two at least; [M] where they begin."""
    t = np.arange(n)
    widths = np.unique(np.round(np.geomspace(1, n, WIDTHS)))
    grid = [(start, width) for start in range(1, n - 2) for width in widths]
    curves = np.array([np.clip((t - start) / width, 0, 1) for start, width in grid])
    return curves, np.array([float(start) for start, _ in grid])


def _fit(ramps: Floats, values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """For each column of values [n, K]: the best ramp, and the share of variance it explains (over what is left)."""
    centred = values - values.mean(0)
    shapes = ramps - ramps.mean(1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    explained = (shapes @ centred) ** 2
    best = explained.argmax(0)
    top = explained[best, np.arange(values.shape[1])]
    return best, top / np.maximum((centred**2).sum(0) - top, 1e-300)


def _levels(ramp: Floats, values: Floats) -> tuple[float, float]:
    """a and b of least squares."""
    slope = np.cov(ramp, values, bias=True)[0, 1] / ramp.var()
    return float(values.mean() - slope * ramp.mean()), float(slope)


def _noise_like(residuals: Floats, ramps: Floats, count: int, rng: np.random.Generator) -> Floats:
    """[n, count] AR(1) columns which, after a ramp was fitted to them, have the memory and spread of these residuals.

    A fit takes away part of both, the more the shorter the series; how much is found by fitting simulated noise. One standard
    error is added to the memory: too little of it would see changes where there are none, too much only widens the interval.
    """
    seen, spread = _memory(residuals[:, None])[0], residuals.std()
    memory = max(seen, 0.0)
    for _ in range(2):
        left = _left_over(_ar1(len(residuals), count, memory, rng), ramps)
        memory = float(np.clip(memory + seen - np.median(_memory(left)), 0.0, 0.95))
    memory = min(0.95, memory + np.sqrt((1 - memory**2) / len(residuals)))
    noise = _ar1(len(residuals), count, memory, rng)
    return noise * spread / np.sqrt((_left_over(noise, ramps) ** 2).mean())


def _left_over(values: Floats, ramps: Floats) -> Floats:
    """Residuals of the best ramp of each column."""
    shapes = ramps[_fit(ramps, values)[0]].T
    shapes = shapes - shapes.mean(0)
    centred = values - values.mean(0)
    return centred - shapes * (shapes * centred).sum(0) / (shapes**2).sum(0)


def _memory(residuals: Floats) -> Floats:
    """Correlation of each column with itself one step later."""
    return (residuals[1:] * residuals[:-1]).sum(0) / np.maximum((residuals**2).sum(0), 1e-300)


def _ar1(n: int, count: int, memory: float, rng: np.random.Generator) -> Floats:
    """[n, count] columns of variance 1 in which each value keeps the share `memory` of the one before."""
    shocks = rng.normal(size=(n, count))
    out = np.empty_like(shocks)
    out[0] = shocks[0]
    for t in range(1, n):
        out[t] = memory * out[t - 1] + np.sqrt(1 - memory**2) * shocks[t]
    return out
