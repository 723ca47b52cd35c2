"""The aha observatory of a run: at every evaluation, how often it reflects, what came of it, and whether reflecting samples do better.

    for shot in snapshots(run):
        shot.step, shot.reflects, shot.outcomes, shot.pays

The first snapshot is the base model's, the baseline that all claims about training need: base models reflect too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from r1 import metrics
from r1.analysis.aha import AhaCount, formal_ahas
from r1.analysis.figures import began_at
from r1.analysis.outcome import OUTCOMES, Outcomes, grouped, is_right, outcomes, pays
from r1.analysis.page import Section
from r1.analysis.plots import Line, chart
from r1.analysis.reading import Run
from r1.analysis.series import behaviour
from r1.analysis.tables import shown
from r1.analysis.trace_view import EVALUATION, Digest, place
from r1.evaluation.intervals import Comparison
from r1.records import Group, Trace
from r1.rollout.trace_file import read_traces

MAX_SAMPLES = 20_000  # evaluation samples a report looks at: a page should not take minutes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One evaluation. reflects: share of samples that do; accuracy, length: over all of them; outcomes: None where none reflects;
    pays: reflecting minus plain samples of the same problems, None where no problem has both."""

    step: float
    samples: int
    reflects: float
    accuracy: float
    length: float
    outcomes: Outcomes | None
    pays: Comparison | None


def checkpoints(rows: Iterable[tuple[Trace, Mapping[str, Any]]], phase: str | None = None) -> dict[float, list[Group]]:
    """Step -> groups of the evaluation samples; of the first evaluation phase that occurs, or of the one named."""
    found: dict[float, list[Trace]] = {}
    for trace, row in rows:
        step, name = place(row)
        if not name.startswith(EVALUATION):
            continue
        phase = phase or name
        if name == phase:
            found.setdefault(step, []).append(trace)
    return {step: grouped(found[step]) for step in sorted(found)}


def snapshot(step: float, groups: Sequence[Group]) -> Snapshot:
    """What the samples of one checkpoint say."""
    traces = [trace for group in groups for trace in group.traces]
    count, found = len(traces), outcomes(groups)
    return Snapshot(
        step=step,
        samples=count,
        reflects=found.samples / count if found else 0.0,
        accuracy=sum(is_right(trace) for trace in traces) / count,
        length=sum(len(trace.token_ids) for trace in traces) / count,
        outcomes=found,
        pays=pays(groups),
    )


def snapshots(run: Run) -> list[Snapshot]:
    """One for each evaluation of the part of the run that was reinforced (or of the run, where it has no parts)."""
    return [snapshot(step, groups) for step, groups in _evaluated(run).items()]


def reinforced(run: Run) -> Run:
    """The part that reinforcement learning trained; the run itself where it has no parts."""
    return next((part for part in reversed(run.parts) if part.curve(metrics.REWARD)), run)


def _evaluated(run: Run) -> dict[float, list[Group]]:
    files = [path for path in reinforced(run).trace_files if path.name.startswith("evaluations")]
    return checkpoints(row for path in files for row in read_traces(path))


def section(run: Run, found: Digest | None = None) -> Section | None:
    """The observatory as a section of the report; None where no evaluation samples were kept, or there are too many to look at."""
    seen = _evaluated(run)
    if not seen or sum(len(group) for groups in seen.values() for group in groups) > MAX_SAMPLES:
        return None
    shots = [snapshot(step, groups) for step, groups in seen.items()]
    if not any(shot.outcomes for shot in shots):
        return None
    ahas = formal_ahas(seen) if len(seen) > 1 else None
    body = f'{_lead(run, ahas)}{_table(shots)}<div class="pair">{_charts(shots)}{_writing(seen)}</div>'
    return "observatory", "Did the reflections matter?", body


def _lead(run: Run, ahas: AhaCount | None) -> str:
    words = (
        "The answer that stood before each reflection, read off the text, against the final one; first draft, final: how often the one "
        "before the first reflection and the last one are right. The first row is the model before this training. Δ: accuracy of reflecting minus plain samples of the same problems, 95 % over problems; p by flipping signs."
    )
    for name, what in ((metrics.REFLECTION_RATE, "Reflection"), (metrics.MEAN_LENGTH, "Length")):
        _, sentence = began_at(run.curve(name))
        words += f" {what}: {sentence.strip()[0].lower()}{sentence.strip()[1:]}" if sentence else f" {what}: no onset found."
    if ahas is not None:
        words += (
            f" Formal aha moments (2601.00514; failure and stability at most 25 %, gain above 12.5 points): {len(ahas.moments)} of "
            f"{ahas.candidates} candidate cells, {ahas.expected:.1f} expected by luck."
        )
    return f'<p class="lead">{escape(words)}</p>'


def _table(shots: Sequence[Snapshot]) -> str:
    heads = ["step", "reflects", *OUTCOMES, "first draft", "final", "Δ within", "p"]
    rows = []
    for shot in shots:
        cells = [f"{shot.step:g}", shown(shot.reflects, True)]
        if shot.outcomes is None:
            cells += ["–"] * (len(OUTCOMES) + 2)
        else:
            cells += [shown(shot.outcomes.shares[name].value, True) for name in OUTCOMES]
            cells += [shown(share.value, True) for share in (shot.outcomes.first_draft, shot.outcomes.final)]
        cells += _paid(shot.pays)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _paid(found: Comparison | None) -> list[str]:
    if found is None:
        return ["–", "–"]
    low, high = found.problems
    return [f"{100 * found.difference:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})", f"{found.p:.2g}"]


def _writing(seen: Mapping[float, Sequence[Group]]) -> str:
    """How the evaluation samples are written: their templates against those of the first evaluation, cut off, in two languages."""
    rows = (
        (trace, {"step": step, "phase": "seen"}) for step, groups in seen.items() for group in groups for trace in group.traces
    )
    found = behaviour(rows, "seen")
    names = ("template drift", "truncated", "two languages", "repetition")
    lines = [Line(name, found[name].x, found[name].y, colour=i + 1) for i, name in enumerate(names) if name in found]
    note = "Template drift: total variation distance of the templates that samples follow to those of the first evaluation."
    return chart(lines, "How the samples are written", note, percent=True, y_range=(0, 1), wide=True)


def _charts(shots: Sequence[Snapshot]) -> str:
    having = [shot for shot in shots if shot.outcomes is not None]
    steps = [shot.step for shot in having]
    lines = []
    for i, name in enumerate(OUTCOMES[:2]):
        shares = [shot.outcomes.shares[name] for shot in having if shot.outcomes]
        lines.append(
            Line(name, steps, [s.value for s in shares], [s.low for s in shares], [s.high for s in shares], colour=i + 1)
        )
    first = chart(lines, "What reflections came to", "Share of reflections; bands are 95 % over problems.", percent=True, y_range=(0, 1), wide=True)  # fmt: skip
    paid = [(shot.step, shot.pays) for shot in shots if shot.pays is not None]
    line = Line("reflecting minus plain", [s for s, _ in paid], [c.difference for _, c in paid], [c.problems[0] for _, c in paid], [c.problems[1] for _, c in paid], colour=3)  # fmt: skip
    return first + chart(
        [line], "Accuracy of reflecting minus plain samples", "Within the same problems.", percent=True, wide=True
    )
