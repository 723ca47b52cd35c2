"""What the samples of an evaluation look like, beside being right: reflection, languages, format, repetition.

Whether reflecting pays is asked within the same problem. Pooled over problems the comparison is confounded: models reflect
more on hard problems, so reflecting samples are wrong more often even where reflecting helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """One sample: was it right, does it reflect, does it mix languages, is its format right, how repetitive is it, and which
    share of its thought's words is in the problem's language (None: it has no words)."""

    correct: bool
    reflects: bool
    mixed: bool
    format_ok: bool
    repetition: float
    consistency: float | None = None


def rates(problems: Sequence[Sequence[Look]]) -> dict[str, float]:
    """Shares over all samples, with accuracy given reflection pooled and within problems.

    `accuracy/...` keys are absent where nothing can be said: no sample reflects, say, or no problem has samples of both sorts.
    """
    every = [look for looks in problems for look in looks]
    found = {
        "reflection_rate": _mean([look.reflects for look in every]),
        "language_mixing": _mean([look.mixed for look in every]),
        "format": _mean([look.format_ok for look in every]),
        "repetition": _mean([look.repetition for look in every]),
    }
    consistency = mean_consistency(every)
    if consistency is not None:
        found["language_consistency"] = consistency
    with_it = [look.correct for look in every if look.reflects]
    without = [look.correct for look in every if not look.reflects]
    if with_it:
        found["accuracy/reflecting"] = _mean(with_it)
    if without:
        found["accuracy/plain"] = _mean(without)
    return found | within_problems(problems)


def mean_consistency(looks: Sequence[Look]) -> float | None:
    """Of the samples that have words; None where none has."""
    worded = [look.consistency for look in looks if look.consistency is not None]
    return _mean(worded) if worded else None


def within_problems(problems: Sequence[Sequence[Look]]) -> dict[str, float]:
    """Accuracy of reflecting and of plain samples of the same problems, each problem with both sorts weighing the same.

    >>> look = lambda correct, reflects: Look(correct, reflects, False, True, 0.0)
    >>> easy, hard = [look(True, False)] * 8, [look(True, True), look(False, False), look(False, False)]
    >>> within_problems([easy, hard])  # pooled, plain samples are right 8 times in 10; within the hard one, never
    {'accuracy/within/reflecting': 1.0, 'accuracy/within/plain': 0.0, 'accuracy/within/problems': 1.0}
    """
    pairs = []
    for looks in problems:
        sorts = [[look.correct for look in looks if look.reflects is reflecting] for reflecting in (True, False)]
        if all(sorts):
            pairs.append([_mean(sort) for sort in sorts])
    if not pairs:
        return {}
    return {
        "accuracy/within/reflecting": _mean([pair[0] for pair in pairs]),
        "accuracy/within/plain": _mean([pair[1] for pair in pairs]),
        "accuracy/within/problems": float(len(pairs)),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
