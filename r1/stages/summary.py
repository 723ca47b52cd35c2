"""What one rollout says, as metrics: sums over all ranks first, means last, so uneven ranks and groups weigh right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from r1 import metrics
from r1.records import Group


def describe(groups: Sequence[Group], over_ranks: Callable[..., list[float]]) -> dict[str, float]:
    """Reward, its parts, groups without signal and completion lengths of a rollout, plus "rows", the number of completions.

    Lengths are those of the completions as sampled, whatever the loss leaves out. A part that applied to nothing is absent.
    """
    traces = [trace for group in groups for trace in group.traces]
    totals = [trace.score.total for trace in traces if trace.score is not None and trace.score.total is not None]
    spreads = [_std([t.score.total for t in g.traces if t.score is not None and t.score.total is not None]) for g in groups]
    lengths = [len(trace.token_ids) for trace in traces]
    ended = [len(trace.token_ids) for trace in traces if not trace.truncated]
    columns: dict[str, list[float]] = {
        metrics.REWARD: totals,
        metrics.REWARD_STD: spreads,
        metrics.ZERO_STD: [float(spread < 1e-6) for spread in spreads],
        metrics.MASKED: [float(trace.score is None or trace.score.total is None) for trace in traces],
        metrics.MEAN_LENGTH: [float(length) for length in lengths],
        metrics.CLIPPED: [float(trace.truncated) for trace in traces],
        metrics.TERMINATED_LENGTH: [float(length) for length in ended],
    }
    names = dict.fromkeys(name for trace in traces if trace.score is not None for name in trace.score.parts)
    for name in names:
        values = [trace.score.parts.get(name) for trace in traces if trace.score is not None]
        columns[metrics.part_mean(name)] = [value for value in values if value is not None and not math.isnan(value)]
    sums = over_ranks(*(s for values in columns.values() for s in (sum(values), len(values))))
    means = {name: sums[2 * i] / sums[2 * i + 1] for i, name in enumerate(columns) if sums[2 * i + 1]}
    for name in names:
        values = columns[metrics.part_mean(name)]
        means[metrics.part_std(name)] = _std(values)
    return means | {
        "rows": over_ranks(len(traces))[0],
        metrics.MIN_LENGTH: float(min(lengths, default=0)),
        metrics.MAX_LENGTH: float(max(lengths, default=0)),
    }


def _std(values: Sequence[float]) -> float:
    """Population standard deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
