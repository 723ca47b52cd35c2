"""Where a config departs from R1 v1, R1 v2 and DeepSeekMath, with the citation and why it matters."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.analysis.papers import Comparison


def main(argv: Sequence[str] | None = None) -> int:
    """Compose what `r1 train` would run (nothing is built), or read the config of a run, and compare."""
    from r1.analysis.papers import compare
    from r1.build import ConfigError

    options = _options(argv)
    try:
        comparisons = compare(_config(options.what), options.against)
    except (ConfigError, ValueError) as error:
        raise SystemExit(f"r1 paper-diff: {error}") from None
    if options.json:
        print(json.dumps([asdict(comparison) for comparison in comparisons], indent=2, ensure_ascii=False))
    else:
        for comparison in comparisons:
            _show(comparison)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="r1 paper-diff", description=__doc__)
    parser.add_argument(
        "what", nargs="*", help="overrides as r1 train takes them (experiment=r1_zero), or one run folder or config.yaml"
    )
    parser.add_argument("--against", help="the recipe to compare with, e.g. r1_zero; otherwise the one of the config's name")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def _config(what: Sequence[str]) -> dict[str, Any]:
    import yaml

    from r1.build import compose, plain

    if len(what) == 1 and "=" not in what[0]:
        file = Path(what[0]) / "config.yaml" if Path(what[0]).is_dir() else Path(what[0])
        if not file.is_file():
            raise ValueError(f"expected overrides (experiment=r1_zero), a run folder or a config.yaml; there is no {file}")
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    return plain(compose("train", what, unfinished=True))


def _show(comparison: Comparison) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from r1.analysis.tables import console

    count = len(comparison.departures)
    title = f"{comparison.paper} ({comparison.recipe}): {comparison.stated - count} of {comparison.stated} stated settings agree"
    if not count:
        console().print(f"[bold]{title}[/bold]\n")
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    for heading in ("setting", "here", "paper", "where", "why it matters"):
        table.add_column(heading, no_wrap=heading == "setting", overflow="fold")  # a key is there to be typed
    for departure in comparison.departures:
        why = departure.why + (f". Here: {departure.copied}" if departure.copied else "")
        table.add_row(*map(Text, (departure.key, str(departure.here), departure.stated, departure.source, why)))
    console().print(table)
