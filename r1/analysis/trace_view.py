"""Traces as a page shows them: thought dimmed, answer highlighted, reflections marked, the score part by part.

Model text is data. It is cut into pieces at the borders of these regions and every piece is escaped on its own, so a completion
full of markup stays text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from r1.analysis.reading import Run
from r1.analysis.reflection import REFLECTIVE, find_reflections, paper_words
from r1.grading import language_share, parse

if TYPE_CHECKING:
    from r1.records import Trace

EVALUATION = "eval/"  # phases of evaluation samples begin so; rollouts have the phase "rollout"
Row = tuple["Trace", dict[str, Any]]


@dataclass
class Digest:
    """What one pass over the trace files keeps.

    lengths   step -> (10 % quantile, mean, 90 % quantile) of tokens in the rollouts
    words     step -> occurrences per completion of each of the paper's ten words that occurs
    chinese   step -> share of Chinese words in the first 64 rollouts of the step, empty where the run never wrote one
    groups    (phase, step, problem id) -> [samples, characters], in the order of the files
    kept      (phase, problem id) -> {step: first sample of the problem at that step}, at the first, middle and last step
    count     traces read
    """

    lengths: dict[float, tuple[float, float, float]] = field(default_factory=dict)
    words: dict[float, dict[str, float]] = field(default_factory=dict)
    chinese: dict[float, float] = field(default_factory=dict)
    groups: dict[tuple[str, float, str], list[int]] = field(default_factory=dict)
    kept: dict[tuple[str, str], dict[float, Row]] = field(default_factory=dict)
    count: int = 0


def digest(run: Run) -> Digest:
    """Read the run's traces once, in a stream."""
    out = Digest()
    lengths: dict[float, list[int]] = {}
    texts: dict[float, list[str]] = {}
    wanted = {EVALUATION + b: first_middle_last(run.curve(f"eval/{b}/pass@1").x) for b in run.benchmarks}
    for trace, row in run.traces():
        out.count += 1
        step, phase = place(row)
        size = out.groups.setdefault((phase, step, trace.problem.id), [0, 0])
        size[0], size[1] = size[0] + 1, size[1] + len(trace.text)
        if "part" in row:  # another part of the run has steps of its own
            continue
        if phase.startswith(EVALUATION):
            if step in wanted.get(phase, [step]):
                out.kept.setdefault((phase, trace.problem.id), {}).setdefault(step, (trace, row))
        else:
            lengths.setdefault(step, []).append(len(trace.token_ids))
            texts.setdefault(step, []).append(trace.text)
    out.lengths = {step: _spread(values) for step, values in lengths.items()}
    for step, found in texts.items():
        counts = paper_words(found)
        out.words[step] = {word: count / len(found) for word, count in counts.items() if count}
        out.chinese[step] = _chinese_share(found[:64])
    if not any(out.chinese.values()):
        out.chinese = {}
    if not any(out.words.values()):
        out.words = {}
    return out


def place(row: Mapping[str, Any]) -> tuple[float, str]:
    """(step, phase) of a line of a trace file; the phase of another part of the run ends with its name."""
    part = f" ({row['part']})" if "part" in row else ""
    return float(row.get("step") or 0), str(row.get("phase") or "") + part


def first_middle_last(steps: Sequence[float]) -> list[float]:
    """Up to three of the steps.

    >>> first_middle_last([0, 20, 40, 60, 80])
    [0, 40, 80]
    """
    ordered = sorted(set(steps))
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]}) if ordered else []


def correct(trace: Trace) -> bool | None:
    """The accuracy part where there is one; None where the trace was not judged."""
    value = trace.score.parts.get("accuracy") if trace.score is not None else None
    return None if value is None or value != value else value >= 1


def choose(kept: dict[tuple[str, str], dict[float, Row]], learned: int = 2, failed: int = 1) -> list[dict[float, Row]]:
    """Problems to show: the first ones that went from wrong to right, and the first that is still wrong at the end.

    "First" is the order of the file, so the choice is a rule and not a taste.
    """
    series = [rows for rows in kept.values() if len(rows) > 1]
    first = [rows for rows in series if correct(rows[min(rows)][0]) is False and correct(rows[max(rows)][0]) is True]
    last = [rows for rows in series if correct(rows[max(rows)][0]) is False]
    return [*first[:learned], *last[:failed]] or series[: learned + failed]


def regions(text: str) -> list[tuple[int, int, str]]:
    """(start, end, name) of the thought, the answer and every reflection; the name of a reflection is its kind."""
    spans = [(int(r["start"]), int(r["end"]), str(r["kind"])) for r in find_reflections(text, REFLECTIVE)]
    parsed = parse(text)
    if parsed.think is not None:
        close = max(text.lower().rfind("</think>"), text.lower().rfind("</thinking>"))
        end = text.index(">", close) + 1 if close >= 0 and parsed.closed else len(text)
        spans.append((0, end, "thought"))
    if parsed.answer and (start := text.rfind(parsed.answer)) >= 0:
        spans.append((start, start + len(parsed.answer), "answer"))
    return spans


def pieces(text: str) -> list[tuple[str, str]]:
    """The text cut into (CSS classes, piece): "thought", "answer", "reflection" or several of them, "" for the rest.

    >>> pieces("<think> no . wait , 6 </think> <answer> 6 </answer>")[1:4]
    [('thought reflection', 'wait'), ('thought', ' , 6 </think>'), ('', ' <answer> ')]
    """
    spans = [(start, end, "reflection" if name in REFLECTIVE else name) for start, end, name in regions(text)]
    cuts = sorted({0, len(text), *(border for start, end, _ in spans for border in (start, end))})
    order = ("thought", "answer", "reflection")
    out = []
    for start, end in pairwise(cuts):
        inside = {name for s, e, name in spans if s <= start and end <= e}
        out.append((" ".join(name for name in order if name in inside), text[start:end]))
    return out


def html_text(text: str) -> str:
    """`pieces` as HTML."""
    out = []
    for classes, piece in pieces(text):
        tag = "mark" if "answer" in classes or "reflection" in classes else "span"
        out.append(f'<{tag} class="{classes}">{escape(piece)}</{tag}>' if classes else escape(piece))
    return "".join(out)


def card(step: float, trace: Trace) -> str:
    """One trace with its verdict, length, score and advantage."""
    verdict = correct(trace)
    side = {True: "right", False: "wrong", None: ""}[verdict]
    words = {True: "right", False: "wrong", None: "not judged"}[verdict]
    cut = " · cut off" if trace.truncated else ""
    parts = []
    if trace.score is not None:
        parts = [f"<li>{escape(name)} <b>{_value(value)}</b></li>" for name, value in trace.score.parts.items()]
        parts.append(f"<li>total <b>{_value(trace.score.total)}</b></li>")
    if trace.advantage is not None:
        parts.append(f"<li>advantage <b>{trace.advantage:+.2f}</b></li>")
    return (
        f'<article class="trace {side}"><div class="head"><b>step {step:g}</b><span class="verdict">{words}</span>'
        f"<span>{len(trace.token_ids)} tokens{cut}</span></div>"
        f'<pre>{html_text(trace.text)}</pre><ul class="parts">{"".join(parts)}</ul></article>'
    )


def story(rows: dict[float, Row]) -> str:
    """One problem's sample at each of its steps, side by side."""
    problem = next(iter(rows.values()))[0].problem
    gold = f' <span class="setting">gold answer: <b>{escape(problem.answer)}</b></span>' if problem.answer is not None else ""
    cards = "".join(card(step, rows[step][0]) for step in sorted(rows))
    return f'<p class="question"><b>{escape(problem.question)}</b>{gold}</p><div class="columns">{cards}</div>'


def _value(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3g}"


def _spread(values: list[int]) -> tuple[float, float, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[round(0.1 * last)], sum(ordered) / len(ordered), ordered[round(0.9 * last)]


def _chinese_share(texts: Sequence[str]) -> float:
    shares = [language_share(text).get("zh", 0.0) for text in texts]
    return sum(shares) / len(shares)
