"""Which part of the reward moves the policy? The training signal, shared out among the reward's parts.

The update of a step is sum_i A_i * grad log pi(o_i), linear in the advantages A. Every way of making advantages from a weighted
reward is a sum over its parts too, A_i = sum_p A_pi:

    group_std, none, batch_std    A_pi = c * w_p * (x_pi - mean of x_p in the group)      one c > 0 a group
    per_part                      A_pi = w_p * (x_pi - mean of x_p) / std of x_p

so the update is a sum of one push a part. The share of part p is how far its push goes along the whole,

    share_p = sum_i A_pi * A_i / sum_i A_i ** 2         (over all completions; the shares add up to 1)

Shares of squares alone, A_p ** 2, would not add up where parts agree or quarrel. This one does: it is the Shapley value of the
part in the squared advantage, and it is negative for a part that pushes against the sum of the others.

It speaks of advantages, not of gradients: lengths, clipping and what the loss leaves out are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from r1.records import Group, Trace

TOLERANCE = 1e-6  # values closer than this are equal, as for the advantages
Columns = dict[str, list[float]]  # part -> its A_p, one value a completion


@dataclass(frozen=True)
class Signal:
    """Sums over groups, so that the signals of steps, files and ranks add up with `+`.

    silent         groups in which no completion has an advantage: all earned the same
    rows, unjudged completions with an advantage (0 counts), and those without one because they could not be judged
    squared        sum of A ** 2
    carried        part -> sum of A_p * A
    alone          part -> groups with signal in which this weighted part differs and no other does
    alone_squared  part -> sum of A ** 2 in those groups
    weights        part -> weight, also of parts of weight 0, which carry nothing
    """

    groups: int = 0
    silent: int = 0
    rows: int = 0
    unjudged: int = 0
    squared: float = 0.0
    carried: Mapping[str, float] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)
    alone_squared: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Signal) -> Signal:
        return Signal(
            self.groups + other.groups,
            self.silent + other.silent,
            self.rows + other.rows,
            self.unjudged + other.unjudged,
            self.squared + other.squared,
            _plus(self.carried, other.carried),
            _plus(self.alone, other.alone),
            _plus(self.alone_squared, other.alone_squared),
            {**self.weights, **other.weights},
        )

    @property
    def shares(self) -> dict[str, float]:
        """part -> its share of the squared advantage; empty where there is no advantage to share."""
        return {part: self.carried.get(part, 0.0) / self.squared for part in self.weights} if self.squared else {}

    @property
    def alone_shares(self) -> dict[str, float]:
        """part -> share of the squared advantage that lies in groups where only this part differs."""
        return {part: self.alone_squared.get(part, 0.0) / self.squared for part in self.weights} if self.squared else {}

    @property
    def unexplained(self) -> float:
        """Share of the squared advantage that no part explains: 0 unless advantages are made in a way of one's own."""
        return 1.0 - math.fsum(self.shares.values()) if self.squared else 0.0

    @property
    def silent_share(self) -> float:
        return self.silent / self.groups if self.groups else 0.0


def attribute(groups: Sequence[Group]) -> Signal:
    """The signal of groups whose traces have scores and advantages, with the weights that their scores carry.

    How the advantages were made need not be told: either each part was normalised by itself (`per_part` gives exactly these
    numbers), or a group's advantages are its centred rewards times one factor, which is read off them.
    """
    by_part = all(_explains(_standard(group), group) for group in groups)  # ends at the first group that says no
    columns = _standard if by_part else _proportional
    return sum((_signal(group, columns(group)) for group in groups), Signal())


def hints(signal: Signal) -> list[str]:
    """What a signal gives cause to say, in plain sentences; empty where nothing is out of the ordinary."""
    if signal.groups and not signal.squared:
        return ["no group has any spread: all completions of a prompt earned the same, so nothing is learned from rewards"]
    said = []
    loudest = max((abs(w) for w in signal.weights.values()), default=0.0)
    for part, share in signal.shares.items():
        weight, alone = signal.weights[part], signal.alone_shares[part]
        rivals = [p for p, w in signal.weights.items() if p != part and abs(w) >= abs(weight) and w]
        if share > 0.5 and rivals and (abs(weight) < loudest or share > 0.9):
            also = f"; {percent(alone)} in groups where nothing else differs" if alone > 0.01 else ""
            said.append(f"{percent(share)} of the update comes from {part} (weight {weight:g}){also}")
        elif share < -0.02:
            said.append(f"{part} (weight {weight:g}) pushes against the other parts: its share of the update is {percent(share)}")
    if signal.silent_share >= 0.8:
        said.append(f"{percent(signal.silent_share)} of the groups have no spread and teach nothing")
    if signal.unjudged > 0.05 * (signal.rows + signal.unjudged):
        said.append(f"{percent(signal.unjudged / (signal.rows + signal.unjudged))} of the completions could not be judged")
    if signal.unexplained > 0.01:
        said.append(f"{percent(signal.unexplained)} of the update is explained by no reward part")
    return said


def percent(share: float) -> str:
    """
    >>> percent(0.937), percent(0.004), percent(-0.08), percent(0.0)
    ('94 %', '0.4 %', '-8 %', '0 %')
    """
    return f"{100 * share:.0f} %" if abs(share) >= 0.01 or share == 0 else f"{100 * share:.1g} %"


def _signal(group: Group, columns: Columns) -> Signal:
    rows = _rows(group)
    squared = math.fsum(t.advantage**2 for t in rows)
    differing = [part for part, column in columns.items() if any(column)]
    alone = differing[0] if squared and len(differing) == 1 else None
    return Signal(
        groups=1,
        silent=int(not squared),
        rows=len(rows),
        unjudged=len(group) - len(rows),
        squared=squared,
        carried={p: math.fsum(a * t.advantage for a, t in zip(column, rows)) for p, column in columns.items()},
        alone={alone: 1} if alone else {},
        alone_squared={alone: squared} if alone else {},
        weights={part: weight for t in group.traces if t.score for part, weight in t.score.weights.items()},
    )


def _rows(group: Group) -> list[Trace]:
    return [trace for trace in group.traces if trace.advantage is not None]


def _values(rows: Sequence[Trace]) -> dict[str, list[float | None]]:
    """part -> raw values, for the parts that have a weight; one of weight 0 may be NaN and adds nothing."""
    scores = [trace.score for trace in rows if trace.score is not None]
    if len(scores) < len(rows):
        return {}
    parts = dict.fromkeys(part for score in scores for part, weight in score.weights.items() if weight)
    return {part: [score.parts.get(part) if score.weights.get(part) else None for score in scores] for part in parts}


def _standard(group: Group) -> Columns:
    """A_p where each part is normalised over the completions to which it applies (None adds nothing)."""
    rows, columns = _rows(group), {}
    for part, values in _values(rows).items():
        centred = _centred([v for v in values if v is not None])
        std = math.sqrt(math.fsum(c * c for c in centred) / len(centred)) if any(centred) else 1.0
        steps = iter(centred)
        columns[part] = [0.0 if v is None else t.score.weights[part] * next(steps) / std for v, t in zip(values, rows)]
    return columns


def _proportional(group: Group) -> Columns:
    """A_p where the group's rewards are centred (None counts as 0) and then scaled by one factor."""
    rows, columns = _rows(group), {}
    for part, values in _values(rows).items():
        centred = _centred([v or 0.0 for v in values])
        weights = [t.score.weights.get(part, 0.0) for t in rows]
        columns[part] = [weight * c for weight, c in zip(weights, centred)]
    total = [math.fsum(column) for column in zip(*columns.values())]
    length = math.fsum(t * t for t in total)
    factor = math.fsum(trace.advantage * t for trace, t in zip(rows, total)) / length if length else 0.0
    return {part: [factor * c for c in column] for part, column in columns.items()}


def _explains(columns: Columns, group: Group) -> bool:
    sums = [math.fsum(values) for values in zip(*columns.values())] or [0.0] * len(group)
    return all(abs(s - t.advantage) <= TOLERANCE * max(1.0, abs(s)) for s, t in zip(sums, _rows(group)))


def _centred(values: Sequence[float]) -> list[float]:
    """Each value less their mean; exactly 0 where all are equal within the tolerance."""
    if not values or max(values) - min(values) <= TOLERANCE * max(1.0, *(abs(v) for v in values)):
        return [0.0] * len(values)
    mean = math.fsum(values) / len(values)
    return [value - mean for value in values]


def _plus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in _union(a, b)}


def _union(*maps: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for one in maps for key in one))
