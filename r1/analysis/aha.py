"""The formal aha moment of "The Illusion of Insight in Reasoning Models" (2601.00514), over checkpoints of one run.

At (checkpoint k, problem q) a shift of reasoning counts as an aha when three thresholds are passed:

    failure    every earlier checkpoint was right in at most this share of its samples of q
    stability  every earlier checkpoint shifted in at most this share of them
    gain       at k, P(right | shift) exceeds P(right) by more than this

A few samples a cell pass the third test by luck, so beside the count stands what luck alone would give: the same numbers of right
and of shifting samples in the cell, paired at random (hypergeometric, exact).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from r1.analysis.outcome import is_right
from r1.analysis.reflection import reflects
from r1.records import Group, Trace


@dataclass(frozen=True, slots=True)
class Cell:
    """One problem at one checkpoint: n samples, of which `right` are right, `shifts` shift, `both` do both."""

    n: int
    right: int
    shifts: int
    both: int

    @property
    def gain(self) -> float | None:
        """P(right | shift) - P(right); None where no sample shifts."""
        return self.both / self.shifts - self.right / self.n if self.shifts else None


@dataclass(frozen=True, slots=True)
class Aha:
    """One aha moment: where it was, and its cell."""

    step: float
    problem: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class AhaCount:
    """moments: those found. candidates: cells that pass failure and stability and hold a shift. expected: how many of the
    candidates would pass `gain` if shifting and being right had nothing to do with each other."""

    moments: tuple[Aha, ...]
    candidates: int
    expected: float


def formal_ahas(
    checkpoints: Mapping[float, Sequence[Group]],
    failure: float = 0.25,
    stability: float = 0.25,
    gain: float = 0.125,
    shifts: Callable[[Trace], bool] | None = None,
) -> AhaCount:
    """The aha moments of a run. checkpoints: step -> groups, several samples a problem, the same problems at every step.

    A problem's first checkpoint has no past and can hold no aha. `shifts` says whether a completion shifts; by default, whether
    it reflects. The thresholds' defaults are ours: with 8 samples, two right ones are still a failure. ValueError for fewer than two checkpoints.
    """
    if len(checkpoints) < 2:
        raise ValueError(f"an aha needs a past: give at least two checkpoints, got {len(checkpoints)}")
    shifted = shifts or (lambda trace: reflects(trace.text))
    quiet: dict[str, bool] = {}  # problem -> every checkpoint so far failed, and seldom shifted
    moments, candidates, expected = [], 0, 0.0
    for step in sorted(checkpoints):
        for group in checkpoints[step]:
            cell = _cell(group, shifted)
            if quiet.get(group.problem.id, False) and cell.gain is not None:
                candidates += 1
                expected += chance_of_gain(cell, gain)
                if cell.gain > gain:
                    moments.append(Aha(step, group.problem.id, cell))
            still = cell.right <= failure * cell.n and cell.shifts <= stability * cell.n
            quiet[group.problem.id] = quiet.get(group.problem.id, True) and still
    return AhaCount(tuple(moments), candidates, expected)


def chance_of_gain(cell: Cell, gain: float) -> float:
    """P(both / shifts - right / n > gain) when the right samples fall on the shifting ones by chance.

    >>> chance_of_gain(Cell(4, 1, 1, 0), 0.5)  # the one shift is the one right sample: one time in four
    0.25
    """
    n, right, shifts = cell.n, cell.right, cell.shifts
    ways = [comb(right, k) * comb(n - right, shifts - k) for k in range(shifts + 1)]
    return sum(w for k, w in enumerate(ways) if k / shifts - right / n > gain) / comb(n, shifts)


def _cell(group: Group, shifted: Callable[[Trace], bool]) -> Cell:
    verdicts = [(is_right(trace), shifted(trace)) for trace in group.traces]
    return Cell(len(verdicts), sum(r for r, _ in verdicts), sum(s for _, s in verdicts), sum(r and s for r, s in verdicts))
