"""A ledger of stages as Markdown, as HTML and as a picture: the paper's Table 3, figures by stages, with intervals and deltas.

What is shown is the JSON that `pipeline.ledger` writes, so a page needs nothing but the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from r1.analysis.forest import Dots, Panel, forest
from r1.analysis.tables import Change, changes, shown

Ledger = Mapping[str, Any]
COSTS = (("tokens", "tokens trained on or sampled"), ("steps", "steps"), ("seconds", "seconds"), ("cpu_seconds", "CPU seconds"))


def benchmarks(ledger: Ledger) -> list[str]:
    """Names of the benchmarks that any stage was evaluated on."""
    return list(dict.fromkeys(name for column in ledger["columns"] for name in column["evaluations"]))


def compared(ledger: Ledger, benchmark: str) -> list[dict[str, Change]]:
    """For each column its figures by key, each with the figure it is compared with (`against`) as `before`."""
    figures = {column["node"]: column["evaluations"].get(benchmark, {}) for column in ledger["columns"]}
    return [
        {change.key: change for change in changes(figures.get(column["against"], {}), figures[column["node"]]) if change.after}
        for column in ledger["columns"]
    ]


def rows(ledger: Ledger) -> Iterator[tuple[str, str, list[Change | None]]]:
    """(benchmark, label, one cell a column) for every figure that at least one stage has, in the order of `tables.FIGURES`."""
    for benchmark in benchmarks(ledger):
        columns = compared(ledger, benchmark)
        every = {change.key: change.label for change in changes({}, _merged(ledger, benchmark))}
        for key, label in every.items():
            yield benchmark, label, [column.get(key) for column in columns]


def _merged(ledger: Ledger, benchmark: str) -> dict[str, Any]:
    return {key: value for column in ledger["columns"] for key, value in column["evaluations"].get(benchmark, {}).items()}


def markdown(ledger: Ledger) -> str:
    """The table for a README, the claims below it."""
    heads = [column["label"] for column in ledger["columns"]]
    lines = [f"# {ledger['recipe']}: stage by stage", "", *([ledger["about"], ""] if ledger.get("about") else [])]
    lines += ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    several = len(benchmarks(ledger)) > 1
    for benchmark, label, cells in rows(ledger):
        name = f"{label}, {benchmark}" if several else label
        lines.append("| " + " | ".join([name, *(_text(cell) for cell in cells)]) + " |")
    for key, label in COSTS:
        lines.append("| " + " | ".join([label, *(_cost(column, key) for column in ledger["columns"])]) + " |")
    told = [f"- **{_verdict(claim)}**: {claim['text']} ({claim['reads']})" for claim in ledger["claims"]]
    return "\n".join(
        [*lines, "", legend(ledger), "", *(["What the papers say, and what this shows:", "", *told, ""] if told else [])]
    )


def legend(ledger: Ledger) -> str:
    """How to read the table, and the setting of the evaluations."""
    settings = {name: _setting(ledger, name) for name in benchmarks(ledger)}
    told = "; ".join(f"{name}: {text}" for name, text in settings.items() if text)
    pairs = ", ".join(f"{c['label']} to {_label(ledger, c['against'])}" for c in ledger["columns"] if c["against"])
    return f"In brackets: 95 % intervals over problems. Changes: {pairs or 'none'}. {told}.".replace("..", ".")


def html(ledger: Ledger) -> str:
    """Picture, claims and table as the body of a section."""
    heads = "".join(f"<th>{escape(column['label'])}</th>" for column in ledger["columns"])
    several, body = len(benchmarks(ledger)) > 1, []
    for benchmark, label, cells in rows(ledger):
        note = f"<small>{escape(benchmark)}</small>" if several else ""
        body.append(f"<tr><td>{escape(label)}{note}</td>{''.join(_html_cell(cell) for cell in cells)}</tr>")
    for key, label in COSTS:
        costs = "".join(f"<td>{escape(_cost(column, key))}</td>" for column in ledger["columns"])
        body.append(f"<tr><td>{escape(label)}</td>{costs}</tr>")
    told = "".join(
        f"<li><b>{_verdict(c)}</b>: {escape(c['text'])} <small>({escape(c['reads'])})</small></li>" for c in ledger["claims"]
    )
    claims = f'<div class="note"><b>What the papers say, and what this shows</b><ul>{told}</ul></div>' if told else ""
    table = f'<div class="scroll"><table><thead><tr><th></th>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    return f'<div class="scroll">{picture(ledger)}</div>{claims}{table}<p class="setting">{escape(legend(ledger))}</p>'


def picture(ledger: Ledger) -> str:
    """Accuracy, length and behaviour of every stage on the first benchmark that has a pass@1: the first of the table below it."""
    names = [column["label"] for column in ledger["columns"]]
    benchmark = next((name for name in benchmarks(ledger) if "pass@1" in _merged(ledger, name)), None)
    if benchmark is None:
        return ""
    columns = compared(ledger, benchmark)
    votes = sorted((k for k in _merged(ledger, benchmark) if k.startswith("cons@") and k[5:].isdigit()), key=lambda k: int(k[5:]))
    panels = [
        Panel(
            "accuracy",
            (_dots(columns, "pass@1", "pass@1", 1), *(_dots(columns, k, k, 2) for k in votes[-1:])),
            True,
        ),
        Panel("tokens a sample", (_dots(columns, "mean_length", "mean", 3),)),
        Panel(
            "behaviour",
            (_dots(columns, "reflection_rate", "reflects", 1), _dots(columns, "language_mixing", "two languages", 4)),
            True,
        ),
    ]
    return forest(names, panels)


def _dots(columns: Sequence[Mapping[str, Change]], key: str, name: str, colour: int) -> Dots:
    figures = [column[key].after if key in column else None for column in columns]
    return Dots(name, [f.value if f else None for f in figures], [f.interval if f else None for f in figures], colour)


def _text(cell: Change | None) -> str:
    if cell is None or cell.after is None:
        return "–"
    text = shown(cell.after.value, cell.percent)
    if cell.after.interval:
        low, high = (shown(bound, cell.percent).removesuffix("\u00a0%") for bound in cell.after.interval)
        text += f" ({low}–{high})"
    return f"{text}, {cell.text}" if cell.text else text


def _html_cell(cell: Change | None) -> str:
    if cell is None or cell.after is None:
        return "<td>–</td>"
    value, _, bounds = _text(Change(cell.key, cell.label, cell.percent, cell.rise, None, cell.after)).partition(" (")
    colour = {1: "up", -1: "down", 0: ""}[cell.verdict]
    delta = f'<small class="{colour}">{escape(cell.text)}</small>' if cell.text else ""
    return f"<td>{value}{f'<small>({bounds}</small>' if bounds else ''}{delta}</td>"


def _cost(column: Mapping[str, Any], key: str) -> str:
    value = column.get(key)
    if value is None:
        return "–"
    since = "≥ " if column.get("resumed") and key.endswith("seconds") else ""
    return f"{since}{value:,.0f}"


def _verdict(claim: Mapping[str, Any]) -> str:
    return {True: "shown", False: "not shown", None: "not measured"}[claim["holds"]]


def _label(ledger: Ledger, node: str) -> str:
    return next(column["label"] for column in ledger["columns"] if column["node"] == node)


def _setting(ledger: Ledger, benchmark: str) -> str:
    found = next((c["evaluations"][benchmark].get("setting") for c in ledger["columns"] if benchmark in c["evaluations"]), None)
    return ", ".join(f"{name} {value}" for name, value in (found or {}).items())
