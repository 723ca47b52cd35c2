"""Open a run folder: its configuration, its curves, its summary, its traces.

    run = read_run("runs/demo")
    run.curve("train/reward").y          # every step that logged it
    for trace, row in run.traces(): ...  # rollouts and evaluation samples, in the order they were written

A run may have parts (a base that is pretrained, then reinforced): folders below it that hold a metrics.csv of their own.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1 import metrics

if TYPE_CHECKING:
    from r1.records import Trace

EVALUATIONS = "evaluations.jsonl"  # one row an evaluation, with the answers to every problem
PIPELINE = "pipeline.json"  # in the folder of a recipe: its nodes in order, each with a link of its name beside it
TRACE_PATTERNS = ("*.jsonl", "*.jsonl.zst")


@dataclass(frozen=True)
class Curve:
    """One metric over the run: x are steps, ascending and unique, y its values."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.x)


@dataclass(frozen=True)
class Run:
    """A run folder, read. Missing files give empty values, so that a run that is still going, or was stopped, can be read."""

    folder: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    summary: dict[str, Any]
    curves: dict[str, Curve]
    parts: tuple[Run, ...] = ()

    @property
    def name(self) -> str:
        return str(self.config.get("name") or self.folder.name)

    def curve(self, name: str) -> Curve:
        """The curve of a metric; empty where the run did not log it."""
        return self.curves.get(name, Curve())

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self.curves if name.startswith(prefix))

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks with a pass@1 curve."""
        ending = metrics.evaluation("", "pass@1").removeprefix("eval/")
        return [n.removeprefix("eval/").removesuffix(ending) for n in self.names("eval/") if n.endswith(ending)]

    @property
    def votes(self) -> dict[str, list[int]]:
        """For each benchmark the k of its cons@k curves, ascending."""
        found: dict[str, list[int]] = {}
        for benchmark in self.benchmarks:
            prefix = metrics.evaluation(benchmark, "cons@")
            ks = [n.removeprefix(prefix) for n in self.names(prefix)]
            found[benchmark] = sorted(int(k) for k in ks if k.isdigit())
        return found

    @property
    def rewards(self) -> list[str]:
        """Names of the reward's parts."""
        before, after = metrics.part_mean("\0").split("\0")
        return [n.removeprefix(before).removesuffix(after) for n in self.names(before) if n.endswith(after)]

    def evaluations(self, benchmark: str) -> list[dict[str, Any]]:
        """The benchmark's reports with their answers by problem, by step; of a step evaluated twice the last."""
        path = self.folder / EVALUATIONS
        rows = evaluation_rows(path) if path.is_file() else []
        by_step = {row["step"]: row for row in rows if row["benchmark"] == benchmark}
        return [by_step[step] for step in sorted(by_step)]

    @cached_property
    def trace_files(self) -> list[Path]:
        """The run's own trace files, or those of its parts, in name order."""
        folders = [part.folder for part in self.parts] or [self.folder]
        return sorted({path for folder in folders for pattern in TRACE_PATTERNS for path in folder.rglob(f"traces/{pattern}")})

    def traces(self) -> Iterator[tuple[Trace, dict[str, Any]]]:
        """(trace, its line). Lines of a part that the report is not about, a base say, carry that part's name as "part"."""
        from r1.rollout.trace_file import read_traces

        others = [part.folder for part in self.parts if part.curves is not self.curves]
        for path in self.trace_files:
            part = next((folder.name for folder in others if folder in path.parents), None)
            for trace, row in read_traces(path):
                yield trace, row | {"part": part} if part else row


def read_run(folder: str | Path) -> Run:
    """Read a run folder. ValueError where there is no run."""
    folder = Path(folder)
    tables = _tables(folder) if folder.is_dir() else []
    if not tables:
        raise ValueError(
            f"no run at {folder}: expected a folder with metrics.csv, as `r1 train` writes it under runs/<name>/<time>/"
        )
    if (folder / PIPELINE).is_file():
        return _first_chapter(folder, tables)
    own = [path for path in tables if path.parent == folder or len(tables) == 1]
    parts = () if own else tuple(_read(path.parent, [path]) for path in tables)
    main = _read(folder, own)
    if parts:  # the part that was reinforced is what the report is about
        reinforced = [part for part in parts if part.curve(metrics.REWARD)] or [parts[-1]]
        main = Run(
            folder,
            main.config or reinforced[-1].config,
            main.manifest or reinforced[-1].manifest,
            main.summary,
            reinforced[-1].curves,
            parts,
        )
    return main


def _tables(folder: Path) -> list[Path]:
    """Every metrics.csv of a run, in name order; of a pipeline those of its nodes as they are now, in the order of the recipe."""
    if (folder / PIPELINE).is_file():
        nodes = _json(folder / PIPELINE).get("nodes", {})
        return [folder / name / "metrics.csv" for name in nodes if (folder / name / "metrics.csv").is_file()]
    return sorted(folder.rglob("metrics.csv"))


def _first_chapter(folder: Path, tables: list[Path]) -> Run:
    """A pipeline up to its first reinforced node, which the report is about. Later nodes are runs of their own: r1 report FOLDER/NODE."""
    parts: list[Run] = []
    for path in tables:
        parts.append(_read(path.parent, [path]))
        if parts[-1].curve(metrics.REWARD):
            break
    last = parts[-1]
    return Run(folder, last.config, last.manifest, _json(folder / "summary.json"), last.curves, tuple(parts))


def read_stage(folder: str | Path) -> Run:
    """One stage's folder as it is, with whatever of it is there: no curves where nothing was logged."""
    table = Path(folder) / "metrics.csv"
    return _read(Path(folder), [table] if table.is_file() else [])


def _read(folder: Path, tables: list[Path]) -> Run:
    return Run(
        folder,
        # a run that no command started (the demo's, a notebook's) has its configuration from the CSV logger only
        _yaml(folder / "config.yaml") or _yaml(folder / "hparams.yaml"),
        _json(folder / "manifest.json"),
        _json(folder / "summary.json"),
        read_curves(tables),
    )


def read_curves(tables: list[Path]) -> dict[str, Curve]:
    """Metrics of CSV loggers, one curve a column. A step that was run twice (after a resume) counts with its last value."""
    values: dict[str, dict[float, float]] = {}
    for path in tables:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                step = _number(row.get(metrics.STEP))
                if step is None:  # the last line of a run that was killed may be cut
                    continue
                for name, text in row.items():
                    value = _number(text) if name and name not in (metrics.STEP, "epoch") else None
                    if value is not None:
                        values.setdefault(name, {})[step] = value
    return {name: Curve(sorted(points), [points[x] for x in sorted(points)]) for name, points in values.items()}


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def evaluation_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of an evaluations.jsonl; the last line of a run that was killed may be cut, and is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); delete it, or repeat the run, to read the rest of this folder"
        ) from error


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}
