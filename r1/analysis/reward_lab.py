"""The reward lab: what other weights, or another normalisation, would have made of the rollouts that a run stored.

    from r1.losses import NORMALISE, advantages
    ways = {name: partial(advantages, normalise=name) for name in NORMALISE}
    lab = experiment(read_run("runs/demo"), ways, {"format": [0, 0.1, 1]})

Nothing is trained and nothing is sampled: raw parts are weighed anew, advantages taken again, and both compared with those the
run had. It answers what a weight does to the update of the same rollouts, not where training would have gone from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise, product
from typing import Any

from r1.analysis.attribution import Signal, attribute
from r1.analysis.reading import Run
from r1.records import Group, Trace
from r1.rewards import Reward
from r1.rollout.trace_file import read_traces

Advantage = Callable[[Sequence[Group]], list[Group]]
AS_TRAINED = "as trained"
CUT = 0.01  # what each weight is multiplied with, in turn, to see whether it matters
SAME = 1e-6  # advantages closer than this are the run's own


@dataclass(frozen=True)
class Shift:
    """How advantages differ from the run's own, over the completions that have both; adds up like `Signal`.

    rows            completions that have an advantage (0 counts) on both sides
    flipped         of these, pushed the other way than before
    silenced, woken advantage lost, advantage gained
    furthest        largest difference of one advantage; infinite where a completion is judged on one side only
    """

    rows: int = 0
    flipped: int = 0
    silenced: int = 0
    woken: int = 0
    dot: float = 0.0
    before: float = 0.0
    after: float = 0.0
    furthest: float = 0.0

    def __add__(self, other: Shift) -> Shift:
        return Shift(
            self.rows + other.rows,
            self.flipped + other.flipped,
            self.silenced + other.silenced,
            self.woken + other.woken,
            self.dot + other.dot,
            self.before + other.before,
            self.after + other.after,
            max(self.furthest, other.furthest),
        )

    @property
    def cosine(self) -> float | None:
        """1 where the two updates point the same way, 0 where they have nothing in common."""
        length = (self.before * self.after) ** 0.5
        return self.dot / length if length else None


@dataclass(frozen=True)
class Setting:
    """One thing to try: weights that replace the run's (the others stay), and a normalisation."""

    weights: tuple[tuple[str, float], ...]
    way: str

    @property
    def label(self) -> str:
        return ", ".join(f"{part}={weight:g}" for part, weight in self.weights) or AS_TRAINED


@dataclass(frozen=True)
class Outcome:
    signal: Signal = field(default_factory=Signal)
    shift: Shift = field(default_factory=Shift)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.signal + other.signal, self.shift + other.shift)


@dataclass(frozen=True)
class Lab:
    """What was found. `way` is the normalisation that gives the run's own advantages, None where no known one does."""

    name: str
    steps: int
    way: str | None
    trained: Signal
    quarters: tuple[Signal, ...]
    outcomes: Mapping[Setting, Outcome]

    @property
    def weights(self) -> dict[str, float]:
        return dict(self.trained.weights)


def experiment(run: Run, ways: Mapping[str, Advantage], weights: Mapping[str, Sequence[float]] | None = None) -> Lab:
    """Attribute the signal of a run's rollouts: as trained; in every other way; with each weight cut by `CUT` in turn; and with
    every combination of `weights`. Files are read as a stream, one step in memory at a time.

    ways     name -> function that sets advantages, such as `losses.advantages` with its `normalise`
    weights  part -> values to try
    Raises ValueError where the run has no rollouts, or has no part of that name.
    """
    found: dict[Any, tuple[Signal, dict[Setting, Outcome]]] = {}
    settings: list[Setting] = []
    for key, groups in rollouts(run):
        own = attribute(groups)
        new = [s for s in _settings(own.weights, ways, weights or {}) if s not in settings]
        settings += new
        found[key] = own, _try(groups, settings, ways)  # a step run twice counts once, as it was last
    if not found:
        raise ValueError(
            f"no rollouts under {run.folder}: the reward lab reads traces/rollouts*.jsonl[.zst], which `callbacks.traces` writes while "
            "GRPO trains; supervised stages have none, and callbacks.traces=null keeps none"
        )
    signals = [own for own, _ in found.values()]
    outcomes = {s: sum((tried.get(s, Outcome()) for _, tried in found.values()), Outcome()) for s in settings}
    way = next((s.way for s in settings if not s.weights and outcomes[s].shift.furthest <= SAME), None)
    ends = [len(signals) * i // 4 for i in range(5)]
    quarters = tuple(_total(signals[a:b]) for a, b in pairwise(ends) if a < b)
    return Lab(run.name, len({key[1] for key in found}), way, _total(signals), quarters, outcomes)


def rollouts(run: Run) -> Iterator[tuple[tuple[str, int], list[Group]]]:
    """((file, step), its groups) of the run's rollouts, in the order they were written; evaluation samples are passed over.

    One file holds what one rank saw. A group is consecutive completions of one problem."""
    for path in run.trace_files:
        lines = ((trace, row) for trace, row in read_traces(path) if row["phase"] == "rollout")
        for step, rows in groupby(lines, key=lambda line: line[1]["step"]):
            traces = [trace for trace, _ in rows]
            groups = (list(group) for _, group in groupby(traces, key=lambda trace: trace.problem.id))
            yield (str(path), step), [Group(group[0].problem, tuple(group)) for group in groups]


def reweigh(groups: Sequence[Group], weights: Mapping[str, float]) -> list[Group]:
    """The groups with totals made of their stored parts with these weights, by the same reward that scores fresh completions."""
    return Reward({part: _Stored(part) for part in weights}, weights)(groups)


def compare(before: Sequence[Group], after: Sequence[Group]) -> Shift:
    """The advantages of the same completions in two lists of groups."""
    old = [trace.advantage for group in before for trace in group.traces]
    new = [trace.advantage for group in after for trace in group.traces]
    pairs = [(a, b) for a, b in zip(old, new, strict=True) if a is not None and b is not None]
    alike = [a is None for a in old] == [b is None for b in new]
    return Shift(
        rows=len(pairs),
        flipped=sum(a * b < 0 for a, b in pairs),
        silenced=sum(a != 0 and b == 0 for a, b in pairs),
        woken=sum(a == 0 and b != 0 for a, b in pairs),
        dot=sum(a * b for a, b in pairs),
        before=sum(a * a for a, _ in pairs),
        after=sum(b * b for _, b in pairs),
        furthest=max((abs(a - b) for a, b in pairs), default=0.0) if alike else math.inf,
    )


def as_json(lab: Lab) -> dict[str, Any]:
    """Everything that was found, for `reward_lab.json`."""
    return {
        "run": lab.name,
        "steps": lab.steps,
        "normalise": lab.way,
        "weights": lab.weights,
        "as_trained": _figures(lab.trained),
        "quarters": [_figures(signal) for signal in lab.quarters],
        "settings": [
            {"weights": dict(s.weights), "normalise": s.way, **_figures(o.signal), "shift": {**asdict(o.shift), "cosine": o.shift.cosine}}
            for s, o in lab.outcomes.items()
        ],
    }  # fmt: skip


@dataclass(frozen=True)
class _Stored:
    """A reward part that gives what a trace was given before."""

    part: str

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [trace.score.parts.get(self.part) if trace.score else None for trace in traces]


def _settings(own: Mapping[str, float], ways: Mapping[str, Advantage], tried: Mapping[str, Sequence[float]]) -> list[Setting]:
    unknown = sorted(set(tried) - set(own))
    if unknown:
        raise ValueError(f"the stored scores have no part {', '.join(unknown)}; there are: {', '.join(own)}")
    weighted = {part: weight for part, weight in own.items() if weight}
    cuts = [((part, CUT * weight),) for part, weight in weighted.items()] if len(weighted) > 1 else []
    combinations = [tuple(zip(tried, values)) for values in product(*tried.values())] if tried else []
    return [Setting(weights, way) for weights in dict.fromkeys([(), *cuts, *combinations]) for way in ways]


def _try(groups: Sequence[Group], settings: Sequence[Setting], ways: Mapping[str, Advantage]) -> dict[Setting, Outcome]:
    own = {part: weight for g in groups for t in g.traces if t.score for part, weight in t.score.weights.items()}
    weighed = {
        weights: reweigh(groups, {**own, **dict(weights)}) if weights else groups for weights in {s.weights for s in settings}
    }
    outcomes = {}
    for setting in settings:
        after = ways[setting.way](weighed[setting.weights])
        outcomes[setting] = Outcome(attribute(after), compare(groups, after))
    return outcomes


def _figures(signal: Signal) -> dict[str, Any]:
    figures = asdict(signal) | {"share": signal.shares, "alone_share": signal.alone_shares, "unexplained": signal.unexplained}
    return figures | {"silent_share": signal.silent_share}


def _total(signals: Sequence[Signal]) -> Signal:
    return sum(signals, Signal())
