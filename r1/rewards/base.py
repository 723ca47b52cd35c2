"""The reward: named parts, a weight for each, and both kept with every score.

    total = sum over parts of weight * part        weights are used as they are, never normalised

A part is a callable `(traces) -> [float | None, ...]`, one value a trace. None: this part does not apply to this problem (a code
reward to a sum), it adds nothing. NaN: it applies but could not be judged (an outage); the total is then None and the trace is
left out of the update, as a wrong answer and a judge that is down must not look alike. No value touches another trace's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from r1.grading import Parsed, parse
from r1.records import Group, Score, Trace

Part = Callable[[Sequence[Trace]], Sequence[float | None]]


class Reward:
    """Scores traces with weighted parts.

    parts    name -> part
    weights  name -> weight, one flat map so that a sweep is `reward.weights.format=0,0.1,1`. A part of weight 0 is still computed
             and logged, but an outage of it masks nothing.
    starts   name -> optimiser update from which on the part counts; before it, it is not computed at all (`at`). R1's preference
             rewards come in the last 400 of 1,700 updates: longer use invites reward hacking (v2 3.2.2, B.5)

    Raises ValueError when the maps do not name the same parts: a misspelt weight would otherwise do nothing, silently.
    """

    def __init__(self, parts: Mapping[str, Part], weights: Mapping[str, float], starts: Mapping[str, int] | None = None) -> None:
        if not parts:
            raise ValueError("a reward needs at least one part, got none")
        unknown, unweighted = sorted(set(weights) - set(parts)), sorted(set(parts) - set(weights))
        if unknown:
            raise ValueError(
                f"reward.weights names parts that do not exist: {', '.join(unknown)}; there are: {', '.join(sorted(parts))}"
            )
        if unweighted:
            raise ValueError(
                f"reward.weights has no weight for: {', '.join(unweighted)}; give one each, 0 to compute and log it only"
            )
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise ValueError(f"reward.weights.{name} must be a finite number, got {weight!r}")
        self.starts = dict(starts or {})
        strangers = sorted(set(self.starts) - set(parts))
        if strangers or any(update < 0 for update in self.starts.values()):
            raise ValueError(
                f"reward.starts maps parts ({', '.join(sorted(parts))}) to the optimiser update they begin at, 0 or more, got {self.starts}"
            )
        self.parts = dict(parts)
        self.weights = {name: float(weights[name]) for name in parts}

    def at(self, update: int) -> Reward:
        """The reward after so many optimiser updates: the parts that have begun."""
        begun = [name for name in self.parts if self.starts.get(name, 0) <= update]
        if len(begun) == len(self.parts):
            return self
        if not begun:
            raise ValueError(f"no part of the reward has begun at update {update}, got reward.starts={self.starts}")
        return Reward({name: self.parts[name] for name in begun}, {name: self.weights[name] for name in begun})

    def __call__(self, groups: Sequence[Group]) -> list[Group]:
        """The same groups with every trace scored. All traces go to each part in one call, so that slow parts can batch."""
        scored = iter(self.score([trace for group in groups for trace in group.traces]))
        return [group.with_traces([next(scored) for _ in group.traces]) for group in groups]

    def score(self, traces: Sequence[Trace]) -> list[Trace]:
        """The same traces, in order, with `score` set."""
        columns = {name: self._values(name, part, traces) for name, part in self.parts.items()}
        rows = [{name: column[i] for name, column in columns.items()} for i in range(len(traces))]
        return [replace(trace, score=self.total(row)) for trace, row in zip(traces, rows, strict=True)]

    def total(self, parts: Mapping[str, float | None]) -> Score:
        """The weighted sum of raw parts: also what re-weighs stored traces."""
        total: float | None = 0.0
        for name, weight in self.weights.items():
            value = parts[name]
            if value is None or weight == 0:
                continue
            if math.isnan(value):
                total = None
            elif total is not None:
                total += weight * value
        return Score(total, dict(parts), self.weights)

    def _values(self, name: str, part: Part, traces: Sequence[Trace]) -> list[float | None]:
        values = list(part(traces)) if traces else []
        if len(values) != len(traces):
            raise ValueError(
                f"reward part {name!r} must return one value a trace: {len(traces)} traces, got {len(values)} values"
            )
        for value, trace in zip(values, traces, strict=True):
            if value is not None and (not isinstance(value, int | float) or math.isinf(value)):
                raise ValueError(
                    f"reward part {name!r} must return finite numbers, None (not applicable) or NaN (could not be judged), "
                    f"got {value!r} for problem {trace.problem.id!r}"
                )
        return [None if value is None else float(value) for value in values]


def read(trace: Trace) -> Parsed:
    """What a trace says, knowing whether the token limit cut it. (Where the prompt opened `<think>`, the text begins with that tag.)"""
    return parse(trace.text, truncated=trace.truncated)
