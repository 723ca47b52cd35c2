"""Two policies, or two checkpoints of one, on the same problems: what differs, by how much, and could it be luck?

    for row in compare_runs("runs/a", "runs/b"): ...       # the last evaluations of two runs
    compare_runs("runs/a@0", "runs/a")                     # one run, before and after

A side is a folder with evaluations.jsonl, as `r1 train` and `r1 eval` write it, with `@STEP` for an evaluation other than the last.
Everything is paired by problem, which takes the difficulty of the problems out of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1.analysis.reading import EVALUATIONS, evaluation_rows
from r1.analysis.tables import FIGURES, shown
from r1.evaluation.benchmark import BY_PROBLEM, tally_of
from r1.evaluation.intervals import Comparison, compare, paired

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Side:
    """One evaluation of one policy: benchmark -> its row of evaluations.jsonl."""

    name: str
    reports: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One figure of one benchmark: both values over the shared problems, and the paired difference, second minus first."""

    benchmark: str
    figure: str
    label: str
    percent: bool
    first: float
    second: float
    found: Comparison | None  # None for figures whose noise over new samples is not known; `over_problems` then has the rest
    over_problems: tuple[float, tuple[float, float], float]  # mean difference, 95 % over problems, p

    @property
    def verdict(self) -> str:
        """What may be said of the two policies on problems of this kind."""
        _, (low, high), p = self.over_problems
        if low <= 0 <= high or p >= 0.05:
            return "cannot tell"
        return "higher" if low > 0 else "lower"


def read_side(name: str) -> Side:
    """`FOLDER` or `FOLDER@STEP`. Raises ValueError for folders without evaluations, and for steps that were not evaluated."""
    folder, at, step = name.rpartition("@")
    if not at or not step.lstrip("-").isdigit():
        folder, step = name, ""
    rows = evaluation_rows(_file(Path(folder)))
    reports: dict[str, dict[str, Any]] = {}
    for row in rows:
        if not step or row["step"] == int(step):
            reports[row["benchmark"]] = row  # the last one, in the order of the file
    if not reports:
        raise ValueError(f"{folder} has no evaluation at step {step}; evaluated were {sorted({row['step'] for row in rows})}")
    return Side(name, reports)


def _file(folder: Path) -> Path:
    if (folder / EVALUATIONS).is_file():
        return folder / EVALUATIONS
    found = sorted(folder.glob(f"*/{EVALUATIONS}")) if folder.is_dir() else []
    if len(found) != 1:
        inside = f"; it lies in {', '.join(str(path.parent) for path in found)}: choose one" if found else ""
        raise ValueError(f"no {EVALUATIONS} in {folder}, which `r1 train` (callbacks.benchmark) and `r1 eval` write{inside}")
    return found[0]


def compare_runs(first: str | Path, second: str | Path, benchmark: str | None = None) -> list[Row]:
    """Every figure that both sides have, over the problems that both answered. Raises ValueError where they share none."""
    a, b = read_side(str(first)), read_side(str(second))
    shared = [name for name in a.reports if name in b.reports and benchmark in (None, name)]
    if not shared:
        raise ValueError(
            f"nothing to compare{f' on {benchmark}' if benchmark else ''}: {a.name} was evaluated on {', '.join(a.reports)}, "
            f"{b.name} on {', '.join(b.reports)}"
        )
    return [row for name in shared for row in _rows(name, a.reports[name], b.reports[name])]


def _rows(benchmark: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Row]:
    sides = [{row["id"]: row for row in report["problems"]} for report in (first, second)]
    ids = [name for name in sides[0] if name in sides[1]]
    if not ids:
        raise ValueError(f"the two evaluations of {benchmark} share no problem")
    rows = [[side[name] for name in ids] for side in sides]
    before, after = ([tally_of(row) for row in side] for side in rows)
    least = min(t.n for t in (*before, *after))
    found = []
    for figure, k, vote in _figures(first, second):
        if k <= least:
            pair = compare(before, after, k=k, vote=vote)
            value = (lambda t, k=k: t.cons_at(k)) if vote else (lambda t, k=k: t.pass_at(k))
            means = [sum(map(value, side)) / len(side) for side in (before, after)]
            found.append(_row(benchmark, figure, means, pair, (pair.difference, pair.problems, pair.p)))
    for figure, of in BY_PROBLEM.items():
        pairs = [(x, y) for x, y in zip(*([of(row) for row in side] for side in rows)) if x is not None and y is not None]
        if pairs:  # rows that an earlier version wrote hold fewer figures
            means = [sum(side) / len(side) for side in zip(*pairs)]
            found.append(_row(benchmark, figure, means, None, paired([y - x for x, y in pairs])))
    return found


def _figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, int, bool]]:
    """(name, k, is it a vote) of pass@1 and of every pass@k and cons@k that both sides reported."""
    greedy = all(side["setting"].get("temperature") == 0 for side in (first, second))
    found = [("greedy" if greedy else "pass@1", 1, False)]
    for kind, field in (("cons@", "cons_at"), ("pass@", "pass_at")):
        ks = sorted({int(k) for k in first.get(field, {})} & {int(k) for k in second.get(field, {})})
        found += [(f"{kind}{k}", k, kind == "cons@") for k in ks if (kind, k) != ("pass@", 1)]
    return found


def _row(benchmark: str, figure: str, means: Sequence[float], found: Comparison | None, over: Any) -> Row:
    pattern = figure if figure in FIGURES else figure.partition("@")[0] + "@"
    label, percent, _ = FIGURES[pattern]
    return Row(benchmark, figure, label.format(k=figure.partition("@")[2]), percent, means[0], means[1], found, over)


def setting_notes(first: str | Path, second: str | Path, benchmark: str | None = None) -> list[str]:
    """The setting of each benchmark, and a line for everything in which the two evaluations were not made alike."""
    a, b = read_side(str(first)), read_side(str(second))
    notes = []
    for name in a.reports:
        if name not in b.reports or benchmark not in (None, name):
            continue
        one, two = a.reports[name]["setting"], b.reports[name]["setting"]
        notes.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in one.items() if two.get(key) == value))
        notes += [
            f"{name}: not alike: {key} {one.get(key)} and {two.get(key)}"
            for key in dict.fromkeys([*one, *two])
            if one.get(key) != two.get(key)
        ]
    return notes


def _cells(row: Row) -> list[str]:
    mean, over, p = row.over_problems
    samples = row.found.samples if row.found else None
    return [
        row.label,
        shown(row.first, row.percent),
        shown(row.second, row.percent),
        _signed(mean, row.percent),
        _span(over, row.percent),
        _span(samples, row.percent) if samples else "",
        f"{p:.2g}",
        row.verdict,
    ]


def headings(first: str, second: str) -> list[str]:
    return ["", first, second, "difference", "95 %, new problems", "95 %, new samples", "p", "the second is"]


def markdown(rows: Sequence[Row], first: str, second: str, notes: Sequence[str] = ()) -> str:
    """The comparison for a README or a pull request, a table a benchmark."""
    lines = [f"# {first} against {second}", ""]
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        head = headings(first, second)
        lines += [f"## {benchmark}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        cells = [_cells(row) for row in rows if row.benchmark == benchmark]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in notes), "- " + METHOD, ""])


METHOD = (
    "Differences are second minus first, paired by problem; shares in points. p: how often flipping the sign of each problem's "
    "difference gives one as large (two-sided). Every figure is a test of its own: of twenty, one falls below .05 by luck."
)


def comparison_table(rows: Sequence[Row], first: str, second: str) -> list[Table]:
    """The same for a terminal: one table a benchmark, headed by what tells the two names apart."""
    from rich import box
    from rich.table import Table

    tables, names = [], apart(first, second)
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        table = Table(title=benchmark, title_justify="left", box=box.SIMPLE_HEAD)
        for i, heading in enumerate(headings(*names)):
            table.add_column(heading, justify="left" if i in (0, 7) else "right")
        for cells in (_cells(row) for row in rows if row.benchmark == benchmark):
            table.add_row(*cells)
        tables.append(table)
    return tables


def apart(first: str, second: str) -> tuple[str, str]:
    """Two paths without the folders that they begin with and end in alike."""
    a, b = Path(first).parts, Path(second).parts
    while min(len(a), len(b)) > 1 and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while min(len(a), len(b)) > 1 and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return str(Path(*a)), str(Path(*b))


def _signed(value: float, percent: bool) -> str:
    return f"{100 * value:+.1f}" if percent else f"{value:+.1f}"


def _span(bounds: tuple[float, float], percent: bool) -> str:
    return " to ".join(map(partial(_signed, percent=percent), bounds))
