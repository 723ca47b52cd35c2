"""What one rollout says, as metrics: the values of all ranks first, means and spreads last, so uneven ranks and groups weigh right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain

from r1 import metrics
from r1.records import Batch, Group

Columns = dict[str, list[float]]


def describe(
    groups: Sequence[Group], gather: Callable[..., list[tuple[Columns, Columns]]] = lambda own: [own]
) -> dict[str, float]:
    """Reward, its parts, groups without signal and completion lengths of a rollout, plus "rows", the number of completions.

    Lengths are those of the completions as sampled, whatever the loss leaves out. A part that applied to nothing is absent.
    `gather` brings the columns of all ranks together, which need not have seen the same parts.
    """
    figures: Columns = {}
    parts: Columns = {}
    for rank_figures, rank_parts in gather((_figures(groups), _parts(groups))):
        _extend(figures, rank_figures)
        _extend(parts, rank_parts)
    lengths = figures[metrics.MEAN_LENGTH]
    means = figures | {metrics.part_mean(name): values for name, values in parts.items()}
    return {
        **{name: sum(values) / len(values) for name, values in means.items() if values},
        **{metrics.part_std(name): _std(values) for name, values in parts.items()},
        metrics.MIN_LENGTH: min(lengths, default=0.0),
        metrics.MAX_LENGTH: max(lengths, default=0.0),
        "rows": float(len(lengths)),
    }


def mismatch(batches: Sequence[Batch], gather: Callable[..., list[tuple[float, int, float]]]) -> dict[str, float]:
    """How far trainer and sampler are apart in the log-probability of a sampled token, before any update, in nats. {} where the
    trainer's own is not known (old_logp=sampler)."""
    gaps = [(b.old_logp - b.sampler_logp)[b.mask].abs() for b in batches if b.old_logp is not None and b.sampler_logp is not None]
    sums = (
        sum(float(gap.sum()) for gap in gaps),
        sum(gap.numel() for gap in gaps),
        max((float(gap.max()) for gap in gaps), default=0.0),
    )
    totals, counts, largest = zip(*gather(sums), strict=True)
    if not sum(counts):
        return {}
    return {metrics.SAMPLER_DIFFERENCE: sum(totals) / sum(counts), metrics.SAMPLER_DIFFERENCE_MAX: max(largest)}


def staleness(groups: Sequence[Group], began: int, gather: Callable[..., list[list[int]]]) -> float:
    """Updates between the weights that sampled and those that this step's update began with, mean over all completions."""
    ages = list(chain(*gather([began - trace.weight_version for group in groups for trace in group.traces])))
    return sum(ages) / max(1, len(ages))


def _figures(groups: Sequence[Group]) -> Columns:
    traces = [trace for group in groups for trace in group.traces]
    spreads = [_std([t.score.total for t in g.traces if t.score is not None and t.score.total is not None]) for g in groups]
    return {
        metrics.REWARD: [t.score.total for t in traces if t.score is not None and t.score.total is not None],
        metrics.REWARD_STD: spreads,
        metrics.ZERO_STD: [float(spread < 1e-6) for spread in spreads],
        metrics.MASKED: [float(trace.score is None or trace.score.total is None) for trace in traces],
        metrics.MEAN_LENGTH: [float(len(trace.token_ids)) for trace in traces],
        metrics.CLIPPED: [float(trace.truncated) for trace in traces],
        metrics.TERMINATED_LENGTH: [float(len(trace.token_ids)) for trace in traces if not trace.truncated],
    }


def _parts(groups: Sequence[Group]) -> Columns:
    """The raw values of every reward part, where it applied and could be judged."""
    columns: Columns = {}
    for trace in (trace for group in groups for trace in group.traces if trace.score is not None):
        for name, value in trace.score.parts.items():
            known = value is not None and not math.isnan(value)
            columns.setdefault(name, []).extend([value] if known else [])
    return columns


def _extend(columns: Columns, more: Columns) -> None:
    for name, values in more.items():
        columns.setdefault(name, []).extend(values)


def _std(values: Sequence[float]) -> float:
    """Population standard deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
