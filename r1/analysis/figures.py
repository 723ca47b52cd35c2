"""The charts of a run: the paper's Figure 2 and 3, reflection and languages, and what drove the update."""

from __future__ import annotations

import re
from typing import Any

from r1 import metrics
from r1.analysis.onset import MIN_POINTS, onset
from r1.analysis.plots import Line, Mark, chart
from r1.analysis.reading import Curve, Run
from r1.analysis.trace_view import Digest

# AIME 2024, v1 Table 2 and Figure 2, v2 2.3: comparable to a curve only where the curve is AIME 2024 itself.
PAPER_AIME24 = (
    Mark(0.744, "o1-0912 pass@1"),
    Mark(0.833, "o1-0912 cons@64"),
    Mark(0.710, "R1-Zero pass@1, v1"),
    Mark(0.779, "R1-Zero pass@1, v2"),
    Mark(0.867, "R1-Zero cons@64"),
)
_AIME24 = re.compile(r"aime[_-]?(?:20)?24(?:_curve)?", re.IGNORECASE)


def accuracy(run: Run, benchmark: str) -> str:
    """Figure 2: pass@1 and the largest cons@k over training, bands are 95 % over problems."""
    lines = [interval_line(run, benchmark, "pass@1", "pass@1", 1)]
    ks = run.votes.get(benchmark, [])
    if ks:
        lines.append(interval_line(run, benchmark, f"cons@{ks[-1]}", f"majority vote of {ks[-1]}", 2))
    marks = PAPER_AIME24 if _AIME24.fullmatch(benchmark) else ()
    note = "Bands: 95 % over problems." + (" Dotted: the paper's figures (v1 Table 2, v2 2.3)." if marks else "")
    reports = run.evaluations(benchmark)
    if reports:  # a figure without its protocol is not a result
        note += " " + ", ".join(f"{name} {value}" for name, value in reports[-1].get("setting", {}).items()) + "."
    return chart(lines, f"Accuracy on {benchmark}", note, percent=True, y_range=(0, 1), marks=marks, wide=True)


def interval_line(run: Run, benchmark: str, figure: str, name: str, colour: int) -> Line:
    """An evaluation figure with its logged bounds, at the steps that have all three."""
    key = metrics.evaluation(benchmark, figure)
    value, low, high = (_points(run.curve(n)) for n in (key, *metrics.interval(key)))
    if not low or not high:
        return Line(name, list(value), list(value.values()), colour=colour)
    steps = [x for x in value if x in low and x in high]
    return Line(name, steps, [value[x] for x in steps], [low[x] for x in steps], [high[x] for x in steps], colour)


def length(run: Run, digest: Digest) -> str:
    """Figure 3: mean completion length of the rollouts, with the middle 80 % of the samples where traces were kept."""
    mean = run.curve(metrics.MEAN_LENGTH)
    line, note = Line("mean", mean.x, mean.y), "Tokens, in the rollouts."
    if digest.lengths:
        steps = sorted(digest.lengths)
        low, middle, high = zip(*(digest.lengths[step] for step in steps))
        line, note = Line("mean", steps, middle, low, high), "Tokens, in the rollouts. Band: the middle 80 % of the samples."
    began, words = began_at(Curve(list(line.x), list(line.y)))
    return chart([line], "Length of a completion", note + words, y_range=(0, None), wide=True, since=began)


def began_at(curve: Curve) -> tuple[tuple[float, float, float] | None, str]:
    """(low, step, high) of the onset of a curve's change, and the sentence that says it; nothing for short or steady curves."""
    if len(curve.x) < MIN_POINTS:
        return None, ""
    found = onset(curve.x, curve.y)
    if not found.found:
        return None, ""
    return (
        found.low,
        found.step,
        found.high,
    ), f" Change began at step {found.step:.0f} (95 %: {found.low:.0f} to {found.high:.0f})."


def behaviour(run: Run, digest: Digest) -> list[str]:
    """Reflection, languages, repetition: what nobody rewarded, and what the language reward is for."""
    charts = [
        one(run, "Samples that reflect", (metrics.REFLECTION_RATE, "in rollouts", 1), percent=True, y_range=(0, 1), benchmarks="reflection_rate",
            caption="A verification, a step taken back, or an aha remark; detected by rule.", onsets=True),
        one(run, "Samples in two languages", (metrics.MIXING_RATE, "in rollouts", 2), percent=True, y_range=(0, None), benchmarks="language_mixing",
            caption="Words of both languages in one completion.", onsets=True),
        one(run, "Repetition", (metrics.REPETITION, "in rollouts", 4), percent=True, y_range=(0, None), benchmarks="repetition",
            caption="Share of a completion's 4-word phrases that it has used before."),
    ]  # fmt: skip
    if digest.words:
        steps = sorted(digest.words)
        top = sorted(
            {w for step in steps for w in digest.words[step]}, key=lambda w: -sum(digest.words[s].get(w, 0.0) for s in steps)
        )[:5]
        lines = [
            Line(w, steps, [digest.words[s].get(w, 0.0) for s in steps], colour=i + 1, smooth=True) for i, w in enumerate(top)
        ]
        charts.append(
            chart(
                lines,
                "The paper's ten words",
                "Occurrences per completion of the commonest of them (v2 Figure 9).",
                y_range=(0, None),
            )
        )
    if digest.chinese:
        steps = sorted(digest.chinese)
        line = Line("Chinese", steps, [digest.chinese[s] for s in steps], colour=6, smooth=True)
        charts.append(
            chart(
                [line], "Share of Chinese words", "Of all words of both languages in the rollouts.", percent=True, y_range=(0, 1)
            )
        )
    return charts


def reward(run: Run) -> list[str]:
    """The total and every part of the reward."""
    charts = [one(run, "Reward", (metrics.REWARD, "total", 1), caption="Mean over completions of the weighted sum.")]
    lines = [
        Line(part, curve.x, curve.y, colour=i % 8 + 1, smooth=True)
        for i, part in enumerate(run.rewards)
        if (curve := run.curve(metrics.part_mean(part)))
    ]
    charts.append(chart(lines, "Reward, part by part", "Raw means, before weights."))
    return charts


def update(run: Run) -> list[str]:
    """What drove the update, and what could have spoiled it."""
    shares: dict[str, Any] = {"percent": True, "y_range": (0, None)}
    return [
        one(run, "Groups without signal", (metrics.ZERO_STD, "share", 5), **shares, caption="All completions of the group earned the same: no advantage."),
        one(run, "Cut off at the token limit", (metrics.CLIPPED, "share", 8), **shares),
        one(run, "Entropy", (metrics.ENTROPY, "nats a token", 3), y_range=(0, None)),
        one(run, "KL to the reference", (metrics.KL, "per token", 6), y_range=(0, None)),
        one(run, "Clipped tokens", (metrics.CLIP_LOW, "low", 7), (metrics.CLIP_HIGH, "high", 2), **shares),
        one(run, "Gradient norm", (metrics.GRAD_NORM, "before clipping", 4), y_range=(0, None)),
        one(run, "Loss", (metrics.LOSS, "loss", 1)),
        one(run, "Sampler against trainer", (metrics.RHO_MEAN, "mean ratio", 8), caption="Probability of the sampled tokens, trainer over sampler: 1 where they agree."),
    ]  # fmt: skip


def one(
    run: Run,
    title: str,
    *curves: tuple[str, str, int],
    benchmarks: str = "",
    caption: str = "",
    percent: bool = False,
    y_range: tuple[float | None, float | None] = (None, None),
    onsets: bool = False,
) -> str:
    """A chart of a few metrics, (name, label, colour) each; with `benchmarks`, evaluations of that figure beside them, and with
    `onsets` a mark where the first metric began to change."""
    found = [(run.curve(name), label, colour) for name, label, colour in curves]
    since, words = began_at(found[0][0]) if onsets else (None, "")
    lines = [Line(label, curve.x, curve.y, colour=colour, smooth=True) for curve, label, colour in found if curve]
    for benchmark in run.benchmarks if benchmarks else []:
        curve = run.curve(metrics.evaluation(benchmark, benchmarks))
        if curve:
            lines.append(Line(benchmark, curve.x, curve.y, colour=0, dashed=True))
    return chart(lines, title, caption + words, percent, y_range, since=since)


def _points(curve: Curve) -> dict[float, float]:
    return dict(zip(curve.x, curve.y))
