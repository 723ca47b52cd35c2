"""The stage ledger, the shape of the paper's Table 3 (v2): every stage on the same benchmarks, with what it cost and what it shows.

    ledger.json   everything, to compute on         ledger.html   the page
    ledger.md     the table, to paste               ledger.svg    the picture

Whether a claim of the papers shows is decided by intervals: one side lies above the other if its 95 % interval over problems lies
wholly above the other's; it is at least the other if its interval reaches no more than `MARGIN` below it. Where they overlap, the
ledger says so and claims nothing, and of a figure without an interval it claims nothing either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1 import metrics
from r1.analysis.forest import standalone
from r1.analysis.ledger_view import html, markdown, picture
from r1.analysis.page import page
from r1.analysis.tables import shown
from r1.pipeline.recipe import Claim, Column, Recipe, evaluation
from r1.pipeline.store import Record, write_atomically

if TYPE_CHECKING:
    from r1.pipeline.driver import State

JSON = "ledger.json"
MARGIN = 0.05  # five points, or five per cent of a length


def write(root: Path, recipe: Recipe, states: Mapping[str, State]) -> dict[str, Any] | None:
    """Write the ledger of the stages that are done and evaluated; None where there is none yet."""
    ledger = collect(recipe, states)
    if not ledger["columns"]:
        return None
    write_atomically(root / JSON, json.dumps(ledger, indent=1, ensure_ascii=False) + "\n")
    write_atomically(root / "ledger.md", markdown(ledger))
    drawn = picture(ledger)
    if drawn:
        write_atomically(root / "ledger.svg", standalone(drawn))
    setting = f"{len(ledger['columns'])} stages · {escape(recipe.about)}"
    body = page(
        f"{recipe.name}: stage by stage",
        setting,
        [("ledger", "Ledger", html(ledger))],
        footer="Written by <code>r1 pipeline</code>.",
    )
    write_atomically(root / "ledger.html", body)
    return ledger


def collect(recipe: Recipe, states: Mapping[str, State]) -> dict[str, Any]:
    """The ledger as JSON: a column for each stage whose evaluation is done, and every claim held against them."""
    columns = []
    for column in recipe.ledger.columns:
        made, evaluated = (states[name].record for name in (column.node, evaluation(column.node)))
        if made is not None and evaluated is not None:
            columns.append(_column(column, made, evaluated))
    found = {done["node"]: done for done in columns}
    for done in columns:  # a stage that was left out is compared with nothing
        done["against"] = done["against"] if done["against"] in found else None
    claims = [held_against(claim, found) for claim in recipe.ledger.claims]
    return {"recipe": recipe.name, "about": recipe.about, "columns": columns, "claims": claims}


def _column(column: Column, made: Record, evaluated: Record) -> dict[str, Any]:
    summary = _json(made.folder / "summary.json")
    return {
        "node": column.node,
        "label": column.label,
        "against": column.against,
        "folder": made.folder.name,
        "steps": summary.get("steps"),
        "tokens": summary.get("metrics", {}).get(metrics.NUM_TOKENS),
        "seconds": made.seconds,
        "cpu_seconds": made.cpu_seconds,
        "threads": made.threads,
        "resumed": made.resumed,
        "evaluations": _json(evaluated.folder / "evaluations.json"),
    }


def held_against(claim: Claim, columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The claim with `holds` (true, false; null where a figure is missing) and `reads`, the two figures it was decided by."""
    sides = [_estimate(columns.get(name), claim.figure) for name in (claim.stage, claim.against)]
    out: dict[str, Any] = {
        "text": claim.text,
        "figure": claim.figure,
        "stage": claim.stage,
        "against": claim.against,
        "is": claim.is_,
    }
    missing = [name for name, side in zip((claim.stage, claim.against), sides) if side is None]
    if missing:
        return out | {"holds": None, "reads": f"{claim.figure} of {' and of '.join(missing)} is missing, or has no interval"}
    (_, low, high), (other, other_low, other_high) = sides
    percent = not claim.figure.endswith("length")
    margin = MARGIN if percent else MARGIN * other
    holds = {"higher": low > other_high, "lower": high < other_low, "at_least": low >= other - margin}[claim.is_]
    told = [
        f"{n} {shown(v, percent)} ({shown(a, percent)} to {shown(b, percent)})"
        for n, (v, a, b) in zip((claim.stage, claim.against), sides)
    ]
    reads = f"{claim.figure}: {told[0]}, {told[1]}"
    if claim.is_ == "at_least":
        reads += "" if holds else f"; the interval reaches more than {100 * MARGIN:.0f} {'points' if percent else '%'} below"
    elif low <= other_high and other_low <= high:
        reads += "; the intervals overlap"
    return out | {"holds": bool(holds), "reads": reads}


def _estimate(column: Mapping[str, Any] | None, figure: str) -> tuple[float, float, float] | None:
    """(value, low, high) of a figure on the first benchmark that has it with its interval."""
    for figures in (column or {}).get("evaluations", {}).values():
        found = tuple(figures.get(f"{figure}{end}") for end in ("", "_low", "_high"))
        if None not in found:
            return found
    return None


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
