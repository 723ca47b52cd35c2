"""Before and after, as numbers with intervals: for the terminal (rich) and for the page (HTML)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from r1 import metrics
from r1.analysis.reading import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 160  # columns of a table that nobody's window limits
LONG_WORD = 12  # of a heading; a longer one is broken where there is no room

# figure -> (label, shown as per cent, what a rise means: 1 better, -1 worse, 0 neither)
FIGURES: dict[str, tuple[str, bool, int]] = {
    "pass@1": ("pass@1", True, 1),
    "cons@": ("majority vote of {k} (cons@{k})", True, 1),
    "pass@": ("at least one of {k} right (pass@{k})", True, 1),
    "greedy": ("greedy decoding", True, 1),
    "mean_length": ("mean length, tokens", False, 0),
    "reflection_rate": ("samples that reflect", True, 0),
    "language_mixing": ("samples in two languages", True, 0),
    "language_consistency": ("words in the problem's language", True, 0),
    "format": ("right format", True, 1),
    "truncated": ("cut off at the token limit", True, -1),
    "repetition": ("repeated phrases", True, -1),
    "accuracy/within/reflecting": ("pass@1 of reflecting samples, same problems", True, 1),
    "accuracy/within/plain": ("pass@1 of plain samples, same problems", True, 1),
}


@dataclass(frozen=True)
class Figure:
    """One figure at one time. `interval` is 95 % over problems, `samples` 95 % over new samples of the same problems."""

    value: float
    interval: tuple[float, float] | None = None
    samples: tuple[float, float] | None = None


@dataclass(frozen=True)
class Change:
    """One row of the table."""

    key: str
    label: str
    percent: bool
    rise: int
    before: Figure | None
    after: Figure | None

    @property
    def text(self) -> str:
        """+64 points, or x 4.2 for what is no share."""
        if self.before is None or self.after is None:
            return ""
        if self.percent:
            return f"{100 * (self.after.value - self.before.value):+.0f} points"
        return f"× {self.after.value / self.before.value:.1f}" if self.before.value else ""

    @property
    def verdict(self) -> int:
        """1 better, -1 worse, 0 neither or too close to tell: the intervals over problems overlap, or there are none."""
        if self.before is None or self.after is None or not self.rise:
            return 0
        a, b = self.before.interval, self.after.interval
        if a is None or b is None or (a[1] >= b[0] and b[1] >= a[0]):
            return 0
        return self.rise if self.after.value > self.before.value else -self.rise


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Rows for all figures that both, or one, of two evaluations have, in the order of `FIGURES`."""
    rows = []
    for pattern, (label, percent, rise) in FIGURES.items():
        keys = [pattern]
        if pattern.endswith("@"):
            found = {
                key for side in (before, after) for key in side if key.removeprefix(pattern).isdigit() and key.startswith(pattern)
            }
            keys = sorted(found - {"pass@1"}, key=lambda key: int(key.removeprefix(pattern)))
        for key in keys:
            if key in before or key in after:
                k = key.removeprefix(pattern)
                rows.append(Change(key, label.format(k=k), percent, rise, _figure(before, key), _figure(after, key)))
    return rows


def before_after(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two sides of a run: from its summary, else first and last evaluation of its first benchmark."""
    if run.summary.get("before") and run.summary.get("after"):
        return run.summary["before"], run.summary["after"]
    for benchmark in run.benchmarks:
        prefix = metrics.evaluation(benchmark, "")
        curves = {name.removeprefix(prefix): run.curve(name) for name in run.names(prefix)}
        return {n: c.y[0] for n, c in curves.items()}, {n: c.y[-1] for n, c in curves.items()}
    return {}, {}


def before_after_table(summary: Mapping[str, Any], title: str = "") -> Table:
    """The table that a terminal shows. `summary` holds "before" and "after", as in summary.json."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    for row in changes(summary["before"], summary["after"]):
        style = {1: "bold green", -1: "bold red", 0: ""}[row.verdict]
        table.add_row(Text(row.label), _cell(row.before, row.percent), _cell(row.after, row.percent), Text(row.text, style))
    table.caption = "in brackets: 95 % intervals over problems"
    return table


def html_table(rows: list[Change]) -> str:
    body = []
    for row in rows:
        colour = {1: ' class="up"', -1: ' class="down"', 0: ""}[row.verdict]
        cells = "".join(f"<td>{_html_cell(side, row.percent)}</td>" for side in (row.before, row.after))
        body.append(f"<tr><td>{escape(row.label)}</td>{cells}<td{colour}>{row.text}</td></tr>")
    head = "<tr><th></th><th>before</th><th>after</th><th>change</th></tr>"
    both = any(side and side.samples for row in rows for side in (row.before, row.after))
    second = ", then for new samples of the same problems" if both else ""
    note = f'<p class="setting">Small: 95 % intervals, for new problems of the kind{second}.</p>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>{note}'


def html_stats(rows: list[Change], keys: tuple[str, ...] = ("pass@1", "cons@", "mean_length", "reflection_rate")) -> str:
    """The four figures a reader looks for first; of several cons@k the largest k."""
    picked = []
    for key in keys:
        found = [row for row in rows if row.key == key or (key.endswith("@") and row.key.startswith(key))]
        picked += [row for row in found[-1:] if row.before is not None and row.after is not None]
    return f'<div class="hero">{"".join(map(_stat, picked))}</div>' if picked else ""


def _stat(row: Change) -> str:
    assert row.before is not None and row.after is not None
    low_high = row.after.interval
    sub = f"95 % over problems: {shown(low_high[0], row.percent)} – {shown(low_high[1], row.percent)}" if low_high else row.text
    picture = _ranges(row.before, row.after) if row.percent else ""
    return (
        f'<div class="stat"><div class="what">{escape(row.label)}</div><div class="fig"><span class="from">{shown(row.before.value, row.percent)}'
        f'</span><span class="arrow">→</span><span class="to">{shown(row.after.value, row.percent)}</span></div>{picture}<div class="sub">{sub}</div></div>'
    )


def _ranges(before: Figure, after: Figure) -> str:
    """Both figures with their intervals on one track from 0 to 100 %."""
    marks = []
    for figure, name in ((before, "before"), (after, "after")):
        low, high = (6 + 228 * v for v in figure.interval or (figure.value, figure.value))
        marks.append(
            f'<line class="range-{name} span" x1="{low:.1f}" x2="{high:.1f}" y1="10" y2="10"/>'
            f'<circle class="range-{name}" cx="{6 + 228 * figure.value:.1f}" cy="10" r="5"/>'
        )
    return f'<svg viewBox="0 0 240 20" aria-hidden="true"><line class="range-track" x1="6" x2="234" y1="10" y2="10"/>{"".join(marks)}</svg>'


def shown(value: float, percent: bool) -> str:
    if percent:
        whole = 0.1 <= value <= 0.995 or value in (0, 1)
        return f"{100 * value:.0f}\u00a0%" if whole else f"{100 * value:.1f}\u00a0%"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def console() -> Console:
    """What tables are printed on: as wide as the terminal, and wide where a pipe or a file reads."""
    from rich.console import Console

    own = Console()
    return own if own.is_terminal else Console(width=max(own.width, WIDE))


def show(table: Table, on: Console | None = None) -> None:
    """Print a table whose first column says what its rows are about. Where it is too wide, the first column wraps; where that is not
    enough, the others too, between words, so that no figure is cut."""
    on = on or console()
    if on.measure(table, options=on.options.update(width=1000)).maximum > on.width:
        table.padding = 0
        texts = [[str(cell) for cell in column.cells] for column in table.columns]
        heads = [str(column.header) for column in table.columns]
        whole = [max(map(len, [head, *cells])) for head, cells in zip(heads, texts)]
        words = [max(min(_longest_word(head), LONG_WORD), *map(_longest_word, cells)) for head, cells in zip(heads, texts)]
        fits = words[0] + sum(whole[1:]) + len(whole) + 1 <= on.width
        for column, width in zip(table.columns, [None, *(whole if fits else words)[1:]]):
            column.no_wrap, column.overflow, column.width = False, "fold", width
    on.print(table)


def _longest_word(text: str) -> int:
    return max(map(len, text.split(" ")))


def _figure(side: Mapping[str, Any], key: str) -> Figure | None:
    if side.get(key) is None:
        return None
    low, high = side.get(f"{key}_low"), side.get(f"{key}_high")
    samples = side.get(f"{key}_samples")
    return Figure(float(side[key]), None if low is None or high is None else (low, high), tuple(samples) if samples else None)


def _cell(figure: Figure | None, percent: bool) -> str:
    if figure is None:
        return "–"
    text = shown(figure.value, percent)
    return f"{text} ({_span(figure.interval, percent)})" if figure.interval else text


def _html_cell(figure: Figure | None, percent: bool) -> str:
    if figure is None:
        return "–"
    spans = [_span(bounds, percent) for bounds in (figure.interval, figure.samples) if bounds]
    return shown(figure.value, percent) + (f"<small>{' · '.join(spans)}</small>" if spans else "")


def _span(bounds: tuple[float, float], percent: bool) -> str:
    low, high = (shown(bound, percent) for bound in bounds)
    return f"{low[:-2]}–{high}" if percent else f"{low}–{high}"  # one per cent sign is enough
