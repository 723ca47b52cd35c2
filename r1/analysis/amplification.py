"""Does RL amplify reflection because it pays? Two kinds of base model, several seeds, the same RL: what became of reflecting.

    informative  the base says beside every try whether it fits, so a search that goes on ends well
    useless      it says "wait" as often, but its checks tell it nothing: the control

A run of one seed is a folder with the parts `base` and `r1_zero`, as `r1 reflection` and `r1 demo` write it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from r1.analysis.observatory import Snapshot, snapshots
from r1.analysis.page import page
from r1.analysis.plots import Line, chart
from r1.analysis.reading import read_run
from r1.analysis.sweep import Mean, mean_over_seeds

COLUMNS = ("seed", "base: Δ within problems", "base: wrong to right", "reflects", "pass@1", "tokens")


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed of one arm: its evaluations from the base model (first) to the end of RL (last)."""

    name: str
    shots: tuple[Snapshot, ...]

    @property
    def before(self) -> Snapshot:
        return self.shots[0]

    @property
    def after(self) -> Snapshot:
        return self.shots[-1]

    @property
    def payoff(self) -> float | None:
        """In the base: accuracy of reflecting minus plain samples of the same problems."""
        return self.before.pays.difference if self.before.pays else None

    @property
    def growth(self) -> float:
        """Change of the share of samples that reflect."""
        return self.after.reflects - self.before.reflects


@dataclass(frozen=True, slots=True)
class Answer:
    """What the two arms say together. growth: of each arm, mean over seeds with Student's interval; verdict: one sentence."""

    arms: dict[str, tuple[Seed, ...]]
    payoff: dict[str, Mean | None]
    growth: dict[str, Mean]
    verdict: str


def read_arm(folder: str | Path) -> tuple[Seed, ...]:
    """The seeds of an arm: every sub-folder with a finished run; a warning names the others. ValueError where there is none."""
    folder = Path(folder)
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not (path / "r1_zero" / "metrics.csv").is_file():
            continue
        run = read_run(path / "r1_zero")
        if not run.summary:
            warnings.warn(f"{path} is not finished and is left out", stacklevel=2)
        elif shots := snapshots(run):
            found.append(Seed(path.name, tuple(shots)))
    if not found:
        raise ValueError(
            f"no finished runs with evaluation samples under {folder}: expected a folder a seed, as `r1 reflection` writes them"
        )
    return tuple(found)


def answer(informative: Sequence[Seed], useless: Sequence[Seed]) -> Answer:
    """Compare the arms. The verdict is given only where the intervals over seeds allow one."""
    arms = {"informative": tuple(informative), "useless": tuple(useless)}
    growth = {name: mean_over_seeds([seed.growth for seed in seeds]) for name, seeds in arms.items()}
    payoff = {}
    for name, seeds in arms.items():
        values = [seed.payoff for seed in seeds if seed.payoff is not None]
        payoff[name] = mean_over_seeds(values) if values else None
    return Answer(arms, payoff, growth, _verdict(growth, payoff))


def _verdict(growth: Mapping[str, Mean], payoff: Mapping[str, Mean | None]) -> str:
    """In words, by the signs of the intervals."""
    grown, control = (_sign(growth[name]) for name in ("informative", "useless"))
    paid = {name: _sign(mean) for name, mean in payoff.items()}
    if None in (grown, control):
        return "Cannot tell: an arm has one seed only, so there is no interval; run more seeds."
    if paid["informative"] != 1 or paid["useless"] == 1:
        return "Cannot tell: the arms differ not as intended; reflecting should pay in the informative base and not in the other."
    if grown == 1 and control == -1:
        return "Yes: where reflecting pays, RL makes it frequent; where it does not, the same RL removes it."
    if grown == 1 and control == 0:
        return "Yes: RL makes reflecting frequent where it pays; where it does not, no change can be told."
    if grown == 1 and control == 1:
        return "Not only: reflecting became more frequent in both arms, so its pay is not the whole reason."
    return "No: reflecting did not become more frequent where it pays."


def _sign(mean: Mean | None) -> int | None:
    """1 or -1 where the interval excludes 0, 0 where it does not, None where there is no interval."""
    if mean is None or mean.interval is None:
        return None
    low, high = mean.interval
    return 1 if low > 0 else -1 if high < 0 else 0


def markdown(found: Answer) -> str:
    """The answer, then a row a seed: the table for a README or a terminal."""
    lines = ["# Does RL amplify reflection because it pays?", "", found.verdict, ""]
    for name, seeds in found.arms.items():
        lines += [f"## {name}: {_summary(found, name)}", "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(cells(seed)) + " |" for seed in seeds]
        lines += [""]
    first = next(iter(found.arms["informative"])).before
    lines.append(
        f"Before → after RL, on {first.samples} samples of the validation problems. Δ within problems: accuracy of reflecting minus plain "
        "samples of the same problems, 95 % over problems. Means over seeds with Student's 95 % interval."
    )
    return "\n".join([*lines, ""])


def cells(seed: Seed) -> list[str]:
    before, after = seed.before, seed.after
    pays, came = before.pays, before.outcomes
    return [
        seed.name,
        f"{100 * pays.difference:+.0f} ({100 * pays.problems[0]:+.0f} to {100 * pays.problems[1]:+.0f})" if pays else "–",
        f"{came.shares['wrong to right'].value:.0%}" if came else "–",
        f"{before.reflects:.1%} → {after.reflects:.1%}",
        f"{before.accuracy:.0%} → {after.accuracy:.0%}",
        f"{before.length:.0f} → {after.length:.0f}",
    ]


def _summary(found: Answer, name: str) -> str:
    return f"reflecting pays {_points(found.payoff[name])} in the base, RL changes its share by {_points(found.growth[name])}"


def _points(mean: Mean | None) -> str:
    if mean is None:
        return "(not measurable)"
    text = f"{100 * mean.value:+.0f} points"
    return text + (f" ({100 * mean.interval[0]:+.0f} to {100 * mean.interval[1]:+.0f})" if mean.interval else "")


def as_json(found: Answer) -> dict[str, Any]:
    """The figures behind the answer, for a notebook: arms -> seeds -> evaluations."""

    def row(shot: Snapshot) -> dict[str, Any]:
        facts = {name: getattr(shot, name) for name in ("step", "samples", "reflects", "accuracy", "length")}
        return facts | {"pays": asdict(shot.pays) if shot.pays else None}

    arms = {name: {seed.name: [row(shot) for shot in seed.shots] for seed in seeds} for name, seeds in found.arms.items()}
    figures = {
        name: {arm: asdict(mean) if mean else None for arm, mean in getattr(found, name).items()} for name in ("payoff", "growth")
    }
    return {"verdict": found.verdict, **figures, "arms": arms}


def html(found: Answer) -> str:
    """A self-contained page: the answer, the table, reflection rate and accuracy of both arms over training."""
    tables = []
    for name, seeds in found.arms.items():
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(seed)) + "</tr>" for seed in seeds)
        head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
        tables.append(
            f'<h3>{escape(name)}</h3><p class="lead">{escape(_summary(found, name))}</p>'
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        )
    charts = "".join(
        chart([_line(name, seeds, field, i + 1) for i, (name, seeds) in enumerate(found.arms.items())], title, "Mean over seeds; bands from the lowest to the highest.", percent=True, y_range=(0, 1), wide=True)
        for field, title in (("reflects", "Samples that reflect"), ("accuracy", "pass@1 on validation problems"))
    )  # fmt: skip
    opening = f'<section><div class="note"><b>{escape(found.verdict)}</b></div></section>'
    sections = [("table", "Seed by seed", "".join(tables)), ("curves", "Over training", f'<div class="pair">{charts}</div>')]
    return page("Does RL amplify reflection because it pays?", "two kinds of base model, the same RL", sections, opening)


def _line(name: str, seeds: Sequence[Seed], field: str, colour: int) -> Line:
    """Over the steps that all seeds have."""
    curves = [{shot.step: float(getattr(shot, field)) for shot in seed.shots} for seed in seeds]
    steps = sorted(set.intersection(*map(set, curves)))
    columns = [[curve[step] for curve in curves] for step in steps]
    return Line(name, steps, [sum(c) / len(c) for c in columns], [min(c) for c in columns], [max(c) for c in columns], colour)
