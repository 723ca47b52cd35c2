"""One evaluation as a table for the terminal: each figure with both of its intervals, and the setting in the title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def evaluation_table(figures: Mapping[str, Any]) -> Table:
    """`figures` is `evaluation.benchmark.summary(report)`."""
    setting = ", ".join(f"{name} {value}" for name, value in figures["setting"].items())
    table = Table(title=figures["benchmark"], caption=setting, title_justify="left", caption_justify="left")
    for heading in ("figure", "value", "95 %, new problems", "95 %, new samples"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for name, value in figures.items():
        if isinstance(value, float | int) and not name.endswith(("_low", "_high")):
            problems = (figures.get(f"{name}_low"), figures.get(f"{name}_high"))
            table.add_row(name, f"{value:.3f}", _range(problems), _range(figures.get(f"{name}_samples")))
    return table


def _range(bounds: Any) -> str:
    return f"{bounds[0]:.3f} - {bounds[1]:.3f}" if bounds and None not in bounds else ""
