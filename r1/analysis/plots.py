"""Charts as inline SVG, without matplotlib: one string each, drawn with CSS classes so that a page can be light or dark.

    chart([Line("pass@1", steps, values, low, high)], title="Accuracy", percent=True)  ->  "<figure> ... </figure>"

A line may carry an interval (a band) and may be noisy: it is then drawn faint, with its running mean on top. Every text that
came from outside (run names, reward parts) is escaped. Numbers under the pointer are shown by `assets/report.js`, which reads
them from the figure's `data-series`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDE, NARROW, HEIGHT = 500, 370, 242  # picture units; a page shows one at about a pixel each
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 38
MAX_POINTS = 400  # more than a screen can show; longer series are averaged in buckets


@dataclass(frozen=True)
class Line:
    """A named series. `colour` picks one of eight (0 is for things in the background), `smooth` draws the running mean on top."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    colour: int = 1
    smooth: bool = False
    dashed: bool = False

    def __post_init__(self) -> None:
        lengths = {len(v) for v in (self.x, self.y, self.low, self.high) if v is not None}
        if len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(f"line {self.name!r}: x, y and both bounds must have one length, got {sorted(lengths)}")


@dataclass(frozen=True)
class Mark:
    """A level to compare with: a dashed horizontal line and its label."""

    value: float
    label: str


@dataclass(frozen=True)
class _Scale:
    """From data to picture coordinates."""

    x0: float
    x1: float
    y0: float
    y1: float
    width: int

    def x(self, value: float) -> float:
        return round(LEFT + (value - self.x0) / (self.x1 - self.x0) * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM), 1)


def chart(
    lines: Sequence[Line],
    title: str,
    caption: str = "",
    percent: bool = False,
    y_range: tuple[float | None, float | None] = (None, None),
    marks: Sequence[Mark] = (),
    x_label: str = "step",
    wide: bool = False,
    since: tuple[float, float, float] | None = None,
) -> str:
    """One figure. `percent` shows shares as per cent; a bound of None in `y_range` is taken from the data.

    Lines without points are left out; "" where none is left. `since` marks when something began: (low, step, high).
    """
    shown = [_cleaned(line) for line in lines]
    shown = [line for line in shown if len(line.x)]
    if not shown:
        return ""
    scale = _scale(shown, marks, y_range, WIDE if wide else NARROW)
    body = [
        _since(since, scale) if since else "",
        _grid(scale, percent, x_label),
        *(_line(line, scale) for line in shown),
        *(_mark(m, scale, i) for i, m in enumerate(sorted(marks, key=lambda m: m.value))),
    ]
    last = "; ".join(f"{line.name} ends at {_number(line.y[-1], percent)}" for line in shown)
    legend = "".join(
        f'<li><i class="key c{line.colour}{" dashed" if line.dashed else ""}"></i>{escape(line.name)}'
        f"<b>{_number(_ending(line), percent)}</b></li>"
        for line in shown
    )
    note = f"<p>{escape(caption)}</p>" if caption else ""
    return (
        f'<figure class="chart" data-series="{escape(_payload(shown, scale, percent), quote=True)}">'
        f'<h3>{escape(title)}</h3><ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 {scale.width} {HEIGHT}" role="img" aria-label="{escape(title + ": " + last, quote=True)}">'
        f'{"".join(body)}<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>{note}</figure>'
    )


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean over `window` values around each; near the ends over those of them that exist, so the curve keeps its length.

    >>> running_mean([0, 3, 6, 9], 3)
    [1.5, 3.0, 6.0, 7.5]
    """
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    half = window // 2
    bounds = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in bounds]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that cover low .. high from the inside.

    >>> ticks(0, 0.83)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _cleaned(line: Line) -> Line:
    """Without points that are not finite, averaged down to what can be seen."""
    columns = [line.x, line.y, *([line.low, line.high] if line.low is not None and line.high is not None else [])]
    rows = [row for row in zip(*columns) if all(math.isfinite(v) for v in row)]
    if len(rows) > MAX_POINTS:
        size = math.ceil(len(rows) / MAX_POINTS)
        buckets = [rows[i : i + size] for i in range(0, len(rows), size)]
        rows = [tuple(sum(column) / len(bucket) for column in zip(*bucket)) for bucket in buckets]
    columns = [list(column) for column in zip(*rows)] or [[] for _ in columns]
    low, high = (columns[2], columns[3]) if len(columns) == 4 else (None, None)
    return Line(line.name, columns[0], columns[1], low, high, line.colour, line.smooth, line.dashed)


def _scale(lines: Sequence[Line], marks: Sequence[Mark], y_range: tuple[float | None, float | None], width: int) -> _Scale:
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for values in (line.y, line.low or (), line.high or ()) for y in values] + [m.value for m in marks]
    low, high = y_range[0] if y_range[0] is not None else min(ys), y_range[1] if y_range[1] is not None else max(ys)
    if high - low < 1e-9:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    pad = (high - low) * 0.06
    low, high = (low if y_range[0] is not None else low - pad), (high if y_range[1] is not None else high + pad)
    if min(ys) >= 0:
        low = max(low, 0.0)
    x0, x1 = min(xs), max(xs)
    return _Scale(x0, x1 if x1 > x0 else x0 + 1, low, high, width)


def _grid(scale: _Scale, percent: bool, x_label: str) -> str:
    right, base = scale.width - RIGHT, HEIGHT - BOTTOM
    levels = ticks(scale.y0, scale.y1)
    gap = levels[1] - levels[0] if len(levels) > 1 else 0.0
    parts = []
    for value in levels:
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{_tick(value, gap, percent)}</text>')
    for value in ticks(scale.x0, scale.x1, 5):
        parts.append(f'<text class="tick" x="{scale.x(value)}" y="{base + 17}" text-anchor="middle">{_number(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{base}" y2="{base}"/>')
    parts.append(f'<text class="label" x="{right}" y="{HEIGHT - 5}" text-anchor="end">{escape(x_label)}</text>')
    return "".join(parts)


def _tick(value: float, gap: float, percent: bool) -> str:
    """A label with as many digits as it takes to tell it from the next one."""
    if not percent and gap and 1e-6 < gap < 1 and abs(value) < 1e4:
        return f"{value:.{max(0, -math.floor(math.log10(gap) + 1e-9))}f}".replace("-", "−")
    return _number(value, percent)


def _since(since: tuple[float, float, float], scale: _Scale) -> str:
    low, step, high = (scale.x(min(max(x, scale.x0), scale.x1)) for x in since)
    tall = HEIGHT - BOTTOM - TOP
    return (
        f'<rect class="since" x="{low}" y="{TOP}" width="{max(1.0, round(high - low, 1))}" height="{tall}"/>'
        f'<line class="sinceline" x1="{step}" x2="{step}" y1="{TOP}" y2="{TOP + tall}"/>'
    )


def _mark(mark: Mark, scale: _Scale, rank: int) -> str:
    """`rank` by value: neighbours have their labels at different ends, so that close levels can be read."""
    y, right = scale.y(mark.value), scale.width - RIGHT
    place = f'x="{right - 4}" text-anchor="end"' if rank % 2 else f'x="{LEFT + 4}"'
    return (
        f'<line class="mark" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
        f'<text class="marklabel" {place} y="{y - 4}">{escape(mark.label)}</text>'
    )


def _line(line: Line, scale: _Scale) -> str:
    points = [(scale.x(x), scale.y(y)) for x, y in zip(line.x, line.y)]
    out = []
    if line.low is not None and line.high is not None:
        upper = [f"{scale.x(x)},{scale.y(min(v, scale.y1))}" for x, v in zip(line.x, line.high)]
        lower = [f"{scale.x(x)},{scale.y(max(v, scale.y0))}" for x, v in zip(line.x, line.low)]
        out.append(f'<polygon class="band c{line.colour}" points="{" ".join([*upper, *reversed(lower)])}"/>')
    style = f"line c{line.colour}" + (" dashed" if line.dashed else "")
    if line.smooth and len(points) > 8:
        out.append(f'<polyline class="{style} faint" points="{_points(points)}"/>')
        mean = running_mean(line.y, _window(line))
        points = [(x, scale.y(y)) for (x, _), y in zip(points, mean)]
    out.append(f'<polyline class="{style}" points="{_points(points)}"/>')
    if len(points) <= 30 and not line.smooth:
        out += [f'<circle class="dot c{line.colour}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in points]
    return "".join(out)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _window(line: Line) -> int:
    return max(3, len(line.y) // 12)


def _ending(line: Line) -> float:
    """What the legend shows: the last value, of noisy lines the mean of the last window."""
    if not line.smooth:
        return line.y[-1]
    tail = line.y[-_window(line) :]
    return sum(tail) / len(tail)


def _payload(lines: Sequence[Line], scale: _Scale, percent: bool) -> str:
    """What the pointer shows: per line its points, rounded, with the bounds where there are some."""
    series = []
    for line in lines:
        entry: dict[str, object] = {
            "n": line.name,
            "c": line.colour,
            "x": [scale.x(x) for x in line.x],
            "s": [round(x, 4) for x in line.x],
        }
        entry["y"] = [_number(y, percent) for y in line.y]
        if line.low is not None and line.high is not None:
            entry["b"] = [f"{_number(low, percent)} – {_number(high, percent)}" for low, high in zip(line.low, line.high)]
        series.append(entry)
    return json.dumps({"w": scale.width, "series": series}, separators=(",", ":"), ensure_ascii=False)


def _number(value: float, percent: bool = False) -> str:
    """Short and plain: 79 %, 0.02 %, 0.031, 1,234, 2.0e-05."""
    if percent:
        shown = 100 * value
        digits = 0 if abs(shown) >= 9.95 or shown == round(shown) else min(6, max(1, math.ceil(-math.log10(abs(shown)))))
        return f"{shown:.{digits}f}\u00a0%".replace("-", "−")
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return text.replace("-", "−")
    return f"{value:.1e}".replace("-", "−")
