"""A sweep's folder: its jobs, what was swept, which cells finished, and what differs between them.

A cell is one combination of the swept values; `seed` is no axis but the repetition within a cell. Figures of a cell are means over
its seeds with Student's interval; two cells are compared pairwise, seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from r1 import metrics
from r1.analysis.reading import PIPELINE, Run, read_run
from r1.evaluation.intervals import mean_interval, permutation_p

SEED = "seed"
Cell = tuple[str, ...]  # the values of the axes, as they were written on the command line


@dataclass(frozen=True)
class Job:
    """One run of the sweep. A finished one has a summary; a run without a single logged step failed before it."""

    folder: Path
    overrides: dict[str, str]
    run: Run | None
    state: Literal["finished", "unfinished", "failed"]

    @property
    def seed(self) -> str:
        return self.overrides.get(SEED, "0")

    @property
    def progress(self) -> str:
        if self.run is None:
            return "no step was logged"
        last = max((curve.x[-1] for curve in self.run.curves.values()), default=0)
        total = (self.run.config.get("stage") or {}).get("steps")
        return f"stopped at step {last:g}" + (f" of {total}" if total else "")

    def final(self, name: str) -> float | None:
        """The last value of a metric."""
        curve = self.run.curve(name) if self.run else None
        return curve.y[-1] if curve else None


@dataclass(frozen=True)
class Sweep:
    """axes: swept key -> its values in the order of the command; missing: combinations that no folder exists for."""

    folder: Path
    jobs: tuple[Job, ...]
    axes: dict[str, list[str]]
    missing: tuple[dict[str, str], ...]

    @property
    def cells(self) -> dict[Cell, list[Job]]:
        """Jobs by cell, in the order of the axes' values."""
        keys = [tuple(job.overrides.get(axis, "") for axis in self.axes) for job in self.jobs]
        order = sorted(set(keys), key=lambda cell: [self.axes[axis].index(value) for axis, value in zip(self.axes, cell)])
        return {cell: [job for job, key in zip(self.jobs, keys) if key == cell] for cell in order}

    def name(self, cell: Cell) -> str:
        """`format 0.1, std none`: the last word of each axis is enough to tell them apart, the table heads say the rest."""
        return ", ".join(f"{axis.rsplit('.', 1)[-1]} {value}" for axis, value in zip(self.axes, cell)) or "all jobs"

    @property
    def unwell(self) -> list[str]:
        """One line for each job that did not finish, and each that never began, by what differs between the jobs."""
        lines = [
            f"{job.folder.name}: {self._spelt(job.overrides)}: {job.state}, {job.progress}"
            for job in self.jobs
            if job.state != "finished"
        ]
        return lines + [f"{self._spelt(overrides)}: never started" for overrides in self.missing]

    def _spelt(self, overrides: Mapping[str, str]) -> str:
        return " ".join(f"{key}={value}" for key, value in overrides.items() if key in (*self.axes, SEED))


def is_sweep(folder: str | Path) -> bool:
    """Whether a folder holds the jobs of a sweep: Hydra's record of it, or folders that are named by number alone."""
    folder = Path(folder)
    jobs = _job_folders(folder)
    numbered = bool(jobs) and all(job.name.isdigit() for job in jobs)
    return (folder / "multirun.yaml").is_file() or (numbered and not (folder / "metrics.csv").is_file())


def unrelated_runs(folder: str | Path) -> list[Path]:
    """The runs in a folder that is neither a run of several parts nor a sweep: each was started by a command of its own."""
    folder = Path(folder)
    if is_sweep(folder) or (folder / "metrics.csv").is_file() or (folder / PIPELINE).is_file():
        return []
    found = [path.parent for path in sorted(folder.rglob("metrics.csv"))]
    return found if len(found) > 1 and any((run / ".hydra").is_dir() for run in found) else []


def read_sweep(folder: str | Path) -> Sweep:
    """Read a sweep's folder. ValueError where there is none."""
    folder = Path(folder)
    folders = _job_folders(folder)
    if not folders:
        raise ValueError(
            f"no sweep at {folder}: expected numbered job folders with .hydra/overrides.yaml, as `r1 train -m` writes them"
        )
    jobs = tuple(_job(path) for path in folders)
    wanted = _wanted(folder)
    values: dict[str, list[str]] = {}
    for overrides in [*wanted, *(job.overrides for job in jobs)]:
        for key, value in overrides.items():
            values.setdefault(key, []).append(value)
    axes = {key: list(dict.fromkeys(found)) for key, found in values.items() if len(set(found)) > 1 and key != SEED}
    begun = [job.overrides for job in jobs]
    missing = tuple(w for w in wanted if not any(all(b.get(key) == value for key, value in w.items()) for b in begun))
    return Sweep(folder, jobs, axes, missing)


def _job_folders(folder: Path) -> list[Path]:
    found = [path.parent.parent for path in folder.glob("*/.hydra/overrides.yaml")]
    return sorted(found, key=lambda path: (not path.name.isdigit(), int(path.name) if path.name.isdigit() else 0, path.name))


def _job(folder: Path) -> Job:
    overrides = dict(_split(line) for line in yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) or [])
    try:
        run = read_run(folder)
    except ValueError:
        return Job(folder, overrides, None, "failed")
    if not run.curves:
        return Job(folder, overrides, None, "failed")
    return Job(folder, overrides, run, "finished" if run.summary else "unfinished")


def _wanted(folder: Path) -> list[dict[str, str]]:
    """Every combination the sweep was asked for, from Hydra's record of it; empty where there is no record."""
    path = folder / "multirun.yaml"
    if not path.is_file():
        return []
    hydra = (yaml.safe_load(path.read_text()) or {}).get("hydra") or {}
    asked = {key: str(value) for key, value in ((hydra.get("sweeper") or {}).get("params") or {}).items()}
    asked |= dict(_split(line) for line in (hydra.get("overrides") or {}).get("task") or [])
    spread = {key: _choices(value) for key, value in asked.items()}
    return [dict(zip(spread, combination)) for combination in product(*spread.values())]


def _choices(value: str) -> list[str]:
    """`0,0.1,1` -> three values; commas inside brackets or quotes belong to one value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"value={value}"])
    # one value as well: jobs are given it as Hydra spells it, `False` for false
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.get_value_element_as_str()]


def _split(line: str) -> tuple[str, str]:
    key, _, value = str(line).lstrip("+").partition("=")
    return key, value


@dataclass(frozen=True)
class Mean:
    """A mean over seeds; `interval` is 95 % by Student's t, None for one seed."""

    value: float
    interval: tuple[float, float] | None
    count: int


def mean_over_seeds(values: Sequence[float]) -> Mean:
    count, value = len(values), float(np.mean(values))
    if count < 2:
        return Mean(value, None, count)
    return Mean(value, mean_interval(values), count)


@dataclass(frozen=True)
class Difference:
    """A cell against the baseline on one figure.

    seeds     mean of the differences seed by seed: what may be said of the two settings
    problems  p by flipping the sign of each problem's difference, averaged over seeds: what may be said of these trained policies;
              None where answers by problem were not kept
    """

    seeds: Mean
    problems: float | None

    @property
    def verdict(self) -> Literal["better", "worse", "cannot tell"]:
        if self.seeds.interval is None or self.seeds.interval[0] <= 0 <= self.seeds.interval[1]:
            return "cannot tell"
        return "better" if self.seeds.value > 0 else "worse"


def difference(baseline: Sequence[Job], other: Sequence[Job], benchmark: str, figure: str = "pass@1") -> Difference | None:
    """`other` minus `baseline` over the seeds that both finished; None where there is no such seed."""
    name = metrics.evaluation(benchmark, figure)
    first = {job.seed: job for job in baseline if job.state == "finished" and job.final(name) is not None}
    second = {job.seed: job for job in other if job.state == "finished" and job.final(name) is not None}
    shared = sorted(set(first) & set(second))
    if not shared:
        return None
    deltas = [float(second[s].final(name) or 0.0) - float(first[s].final(name) or 0.0) for s in shared]
    by_problem = [_problem_deltas(first[s], second[s], benchmark) for s in shared]
    p = None
    if figure == "pass@1" and all(by_problem):
        names = sorted(set.intersection(*(set(one) for one in by_problem)))
        p = permutation_p([float(np.mean([one[n] for one in by_problem])) for n in names]) if names else None
    return Difference(mean_over_seeds(deltas), p)


def _problem_deltas(first: Job, second: Job, benchmark: str) -> dict[str, float]:
    """Problem id -> difference of the shares of right samples in the last evaluation."""
    a, b = (job.run.evaluations(benchmark) if job.run else [] for job in (first, second))
    if not a or not b:
        return {}
    shares = [{row["id"]: row["correct"] / row["n"] for row in rows[-1]["problems"]} for rows in (a, b)]
    return {name: shares[1][name] - shares[0][name] for name in shares[0] if name in shares[1]}


def curve_over_seeds(jobs: Sequence[Job], name: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """(steps, mean, lowest, highest) over the jobs' curves, at the steps that all of them have."""
    curves = [dict(zip(job.run.curve(name).x, job.run.curve(name).y)) for job in jobs if job.run and job.run.curve(name)]
    steps = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
    columns: list[list[Any]] = [[curve[step] for curve in curves] for step in steps]
    return steps, [float(np.mean(c)) for c in columns], [min(c) for c in columns], [max(c) for c in columns]
