"""A sweep as a table: report.md for a pull request, report.html with the learning curves of every cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from r1 import metrics
from r1.analysis.page import Section, page
from r1.analysis.plots import Line, chart
from r1.analysis.sweep import Cell, Difference, Job, Mean, Sweep, curve_over_seeds, difference, mean_over_seeds, read_sweep
from r1.analysis.tables import shown

FEW_SEEDS = 3  # below it an interval over seeds says next to nothing
MAX_CURVES = 8  # colours that can be told apart


@dataclass(frozen=True)
class Column:
    heading: str
    metric: str
    percent: bool


@dataclass(frozen=True)
class Row:
    """One cell: its figures by column, None where no job finished, and what it differs by from the baseline."""

    cell: Cell
    finished: int
    started: int
    figures: tuple[Mean | None, ...]
    difference: Difference | None
    is_baseline: bool


@dataclass(frozen=True)
class Table:
    sweep: Sweep
    benchmark: str | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def sweep_report(folder: str | Path, baseline: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """Write report.md and report.html of a sweep; their paths."""
    table = tabulate(read_sweep(folder), baseline)
    markdown_path, html_path = Path(folder) / "report.md", Path(folder) / "report.html"
    markdown_path.write_text(markdown(table), encoding="utf-8")
    html_path.write_text(html(table), encoding="utf-8")
    return markdown_path, html_path


def tabulate(sweep: Sweep, baseline: Mapping[str, str] | None = None) -> Table:
    """One row a cell. `baseline` names values of axes; without it the first cell is what the others are compared with."""
    cells = sweep.cells
    unknown = set(baseline or {}) - set(sweep.axes)
    if unknown:
        raise ValueError(
            f"the baseline names {', '.join(sorted(unknown))}, but swept were {', '.join(sweep.axes) or 'seeds alone'}"
        )
    matching = [c for c in cells if all(dict(zip(sweep.axes, c))[axis] == value for axis, value in (baseline or {}).items())]
    if not matching:
        raise ValueError(f"no job of this sweep has {dict(baseline or {})}; there are {', '.join(map(sweep.name, cells))}")
    benchmark = next((b for job in sweep.jobs if job.run for b in job.run.benchmarks), None)
    columns = _columns(sweep, benchmark)
    rows = tuple(_row(cell, jobs, columns, cells[matching[0]], benchmark, cell == matching[0]) for cell, jobs in cells.items())
    return Table(sweep, benchmark, columns, rows)


def _columns(sweep: Sweep, benchmark: str | None) -> tuple[Column, ...]:
    """Figures that at least one job logged."""
    wanted = []
    if benchmark:
        votes = max((k for job in sweep.jobs if job.run for k in job.run.votes.get(benchmark, [])), default=None)
        figures = [("pass@1", "pass@1", True), *([(f"cons@{votes}", f"cons@{votes}", True)] if votes else [])]
        figures += [
            ("tokens a sample", "mean_length", False),
            ("reflects", "reflection_rate", True),
            ("two languages", "language_mixing", True),
            ("right format", "format", True),
        ]
        wanted = [Column(heading, metrics.evaluation(benchmark, figure), percent) for heading, figure, percent in figures]
    wanted += [
        Column("reward", metrics.REWARD, False),
        Column("loss", metrics.LOSS, False),
        Column("tokens sampled", metrics.NUM_TOKENS, False),
    ]
    return tuple(column for column in wanted if any(job.final(column.metric) is not None for job in sweep.jobs))


def _row(
    cell: Cell, jobs: Sequence[Job], columns: Sequence[Column], baseline: Sequence[Job], benchmark: str | None, is_baseline: bool
) -> Row:
    done = [job for job in jobs if job.state == "finished"]
    figures = []
    for column in columns:
        values = [value for job in done if (value := job.final(column.metric)) is not None]
        figures.append(mean_over_seeds(values) if values else None)
    compared = difference(baseline, jobs, benchmark) if benchmark and not is_baseline else None
    return Row(cell, len(done), len(jobs), tuple(figures), compared, is_baseline)


def warnings(table: Table) -> list[str]:
    """What a reader must know before believing the table."""
    found = list(table.sweep.unwell)
    counts = [row.finished for row in table.rows if row.finished]
    if counts and min(counts) < FEW_SEEDS:
        found.append(
            f"{min(counts)} finished seed{'s' if min(counts) > 1 else ''} in some cells: with fewer than {FEW_SEEDS} the interval over seeds is too wide to "
            f"rank settings; repeat with seed=0,1,2 or more"
        )
    compared = [row.difference for row in table.rows if row.difference is not None]
    if compared and all(one.verdict == "cannot tell" for one in compared):
        found.append(
            "no setting differs from the baseline beyond what seeds differ by: more seeds, or longer runs, would have to tell"
        )
    return found


def seconds(jobs: Sequence[Job]) -> float | None:
    """Mean wall time of the finished jobs."""
    times = [job.run.summary.get("seconds") for job in jobs if job.run and job.state == "finished"]
    numbers = [sum(t.values()) if isinstance(t, dict) else float(t) for t in times if t is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _headings(table: Table) -> list[str]:
    """pass@1 and what it differs by stand first, what a reader came for; the other figures follow."""
    headings = [column.heading for column in table.columns]
    compared = ["Δ to baseline", "settings", "p, these policies"] if table.benchmark else []
    return [*table.sweep.axes, "seeds", *headings[:1], *compared, *headings[1:], "time"]


def _cells(table: Table, row: Row) -> list[str]:
    spent = seconds(table.sweep.cells[row.cell])
    figures = [_mean(mean, column.percent) for mean, column in zip(row.figures, table.columns)]
    compared = (["baseline", "", ""] if row.is_baseline else _compared(row.difference)) if table.benchmark else []
    return [
        *row.cell,
        f"{row.finished}/{row.started}",
        *figures[:1],
        *compared,
        *figures[1:],
        f"{spent:.0f} s" if spent is not None else "–",
    ]


def _mean(mean: Mean | None, percent: bool) -> str:
    if mean is None:
        return "–"
    text = shown(mean.value, percent)
    if mean.interval is None or mean.interval[0] == mean.interval[1]:
        return text
    half = (mean.interval[1] - mean.interval[0]) / 2
    return f"{text} ± {100 * half:.0f}" if percent else f"{text} ± {shown(half, False)}"


def _compared(found: Difference | None) -> list[str]:
    if found is None:
        return ["–", "no shared seed", ""]
    text = f"{100 * found.seeds.value:+.1f}"
    if found.seeds.interval is not None:
        text += f" ({100 * found.seeds.interval[0]:+.0f} to {100 * found.seeds.interval[1]:+.0f})"
    return [text, found.verdict, f"{found.problems:.2g}" if found.problems is not None else ""]


def markdown(table: Table) -> str:
    """The table for a README or a pull request."""
    lines = [f"# {_title(table)}", ""]
    lines += [f"> **Note** {line}" for line in warnings(table)] + ([""] if warnings(table) else [])
    headings = _headings(table)
    lines += ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(table, row)) + " |" for row in table.rows]
    return "\n".join([*lines, "", _legend(table), ""])


def _legend(table: Table) -> str:
    setting = _setting(table)
    return (
        "Mean over finished seeds ± half of the 95 % interval (Student's t). Δ: points of pass@1, paired seed by seed; what it says of the "
        "settings stands beside it. p: whether these trained policies differ on these problems, by flipping signs. " + setting
    ).strip()


def _setting(table: Table) -> str:
    rows = [row for job in table.sweep.jobs if job.run and table.benchmark for row in job.run.evaluations(table.benchmark)[-1:]]
    if not rows:
        return ""
    return f"{table.benchmark}: " + ", ".join(f"{name} {value}" for name, value in rows[0]["setting"].items()) + "."


def html(table: Table) -> str:
    notes = "".join(f"<li>{escape(line)}</li>" for line in warnings(table))
    note = f'<div class="note warn"><b>Before you read the table</b><ul>{notes}</ul></div>' if notes else ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in _headings(table))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(table, row)) + "</tr>" for row in table.rows)
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div><p class="setting">{escape(_legend(table))}</p>'
    sections: list[Section] = [("table", "What differs", note + grid)]
    curves = _curves(table)
    if curves:
        sections.append(
            (
                "curves",
                "Learning curves",
                f'<p class="lead">Mean over the finished seeds of a cell, or over what there is where none finished; bands from the lowest to the highest seed.</p><div class="pair">{curves}</div>',
            )
        )
    axes = " · ".join(f"{escape(axis)} <b>{escape(', '.join(values))}</b>" for axis, values in table.sweep.axes.items())
    return page(_title(table), f"sweep of {len(table.sweep.jobs)} jobs · {axes}", sections)


def _title(table: Table) -> str:
    name = next((job.run.config.get("name") for job in table.sweep.jobs if job.run), None)
    return f"{name}, {table.sweep.folder.name}" if name else table.sweep.folder.name


def _curves(table: Table) -> str:
    names = [column for column in table.columns if column.metric != metrics.NUM_TOKENS]
    charts = []
    for column in names:
        lines = []
        for i, (cell, jobs) in enumerate(list(table.sweep.cells.items())[:MAX_CURVES]):
            done = [job for job in jobs if job.state == "finished"]
            steps, mean, low, high = curve_over_seeds(done or jobs, column.metric)
            lines.append(Line(table.sweep.name(cell), steps, mean, low, high, colour=i + 1))
        charts.append(chart(lines, column.heading, percent=column.percent, wide=True))
    return "".join(charts)
