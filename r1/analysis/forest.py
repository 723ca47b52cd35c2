"""Named rows with dots and intervals on shared axes, as one SVG: what a ledger of stages looks like at a glance.

        accuracy                length              languages
base    o--|   x---             |o                  |        o
R1-Zero      |    --o--  -x-    |      o            |      o

forest(["base", "R1-Zero"], [Panel("accuracy", (Dots("pass@1", [.13, .90], [(.11, .15), (.88, .92)]),), percent=True)])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from r1.analysis.page import asset
from r1.analysis.plots import ticks
from r1.analysis.tables import shown

NAMES, WIDTH, GAP, ROW, TOP, BOTTOM, MARGIN = 168, 200, 44, 30, 52, 24, 12  # picture units


@dataclass(frozen=True)
class Dots:
    """One figure of every row; None where a row has none. An interval may be None: a dot alone."""

    name: str
    values: Sequence[float | None]
    intervals: Sequence[tuple[float, float] | None]
    colour: int = 1

    def __post_init__(self) -> None:
        if len(self.values) != len(self.intervals):
            raise ValueError(f"dots {self.name!r}: {len(self.values)} values and {len(self.intervals)} intervals")


@dataclass(frozen=True)
class Panel:
    """Figures that share an axis, which begins at 0; shares end at 100 %."""

    title: str
    dots: tuple[Dots, ...]
    percent: bool = False

    @property
    def top(self) -> float:
        ends = [bounds[1] for d in self.dots for bounds in d.intervals if bounds] + [
            v for d in self.dots for v in d.values if v is not None
        ]
        return 1.0 if self.percent else max([*ends, 1e-9]) * 1.05


def forest(rows: Sequence[str], panels: Sequence[Panel]) -> str:
    """The picture as inline SVG, coloured by the page's classes; "" without rows or figures. Raises ValueError for dots of another length."""
    panels = [panel for panel in panels if any(v is not None for dots in panel.dots for v in dots.values)]
    if not rows or not panels:
        return ""
    for dots in (dots for panel in panels for dots in panel.dots):
        if len(dots.values) != len(rows):
            raise ValueError(f"dots {dots.name!r}: {len(dots.values)} values for {len(rows)} rows")
    width, height = NAMES + len(panels) * (WIDTH + GAP), TOP + ROW * len(rows) + BOTTOM
    names = "".join(
        f'<text class="name" x="0" y="{_middle(i) + 4}">{escape(name)}</text>'
        f'<line class="grid" x1="0" x2="{width - GAP}" y1="{TOP + ROW * (i + 1)}" y2="{TOP + ROW * (i + 1)}"/>'
        for i, name in enumerate(rows)
    )
    drawn = "".join(_panel(panel, NAMES + i * (WIDTH + GAP), len(rows)) for i, panel in enumerate(panels))
    label = "; ".join(f"{panel.title}: {', '.join(dots.name for dots in panel.dots)}" for panel in panels)
    return f'<svg class="forest" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">{names}{drawn}</svg>'


def standalone(svg: str) -> str:
    """The picture as a file of its own, with a margin, light or dark as the reader's system is. The margin is in the view box:
    one in the style would push the axis out of the picture where a page shows the file as an image."""
    left, top, width, height = map(float, re.search(r'viewBox="([^"]*)"', svg)[1].split())
    view = f"{left - MARGIN:g} {top - MARGIN:g} {width + MARGIN:g} {height + 2 * MARGIN:g}"
    opened = re.sub(r'<svg (.*?)viewBox="[^"]*"', rf'<svg xmlns="http://www.w3.org/2000/svg" \1viewBox="{view}"', svg, count=1)
    style = f"<style>{asset('report.css')} svg.forest {{ background: var(--page); font: 13px system-ui, sans-serif; margin: 0; min-width: 0; }}</style>"
    head, _, body = opened.partition(">")
    return f"{head}>{style}{body}\n"


def _middle(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def _panel(panel: Panel, left: int, rows: int) -> str:
    base = TOP + ROW * rows
    parts = [f'<text class="title" x="{left}" y="14">{escape(panel.title)}</text>']
    across = float(left)
    for dots in panel.dots:
        parts.append(f'<circle class="dot c{dots.colour}" cx="{across + 5}" cy="30" r="4"/>')
        parts.append(f'<text class="tick" x="{across + 14}" y="34">{escape(dots.name)}</text>')
        across += 24 + 6.6 * len(dots.name)
    for value in ticks(0, panel.top, 4):
        x = _x(value, panel, left)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{base + 17}" text-anchor="middle">{_plain(value, panel.percent)}</text>')
    for number, dots in enumerate(panel.dots):
        aside = (number - (len(panel.dots) - 1) / 2) * 9  # figures of one row lie a little above each other
        for row, (value, bounds) in enumerate(zip(dots.values, dots.intervals)):
            if value is not None:
                parts.append(_dot(dots, value, bounds, panel, left, _middle(row) + aside))
    return "".join(parts)


def _dot(dots: Dots, value: float, bounds: tuple[float, float] | None, panel: Panel, left: int, y: float) -> str:
    told = f"{dots.name} {_plain(value, panel.percent)}" + (
        f" ({_plain(bounds[0], panel.percent)} to {_plain(bounds[1], panel.percent)})" if bounds else ""
    )
    low, high = (_x(v, panel, left) for v in bounds or (value, value))
    span = f'<line class="span line c{dots.colour}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>' if bounds else ""
    return f'<g><title>{escape(told)}</title>{span}<circle class="dot c{dots.colour}" cx="{_x(value, panel, left)}" cy="{y}" r="4"/></g>'


def _x(value: float, panel: Panel, left: int) -> float:
    return round(left + min(max(value, 0.0), panel.top) / panel.top * WIDTH, 1)


def _plain(value: float, percent: bool) -> str:
    return shown(value, percent) if percent or value else "0"
