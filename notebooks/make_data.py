"""Cut a run or a sweep down to what a notebook needs, small enough to ship: fewer traces, fewer steps, fewer columns.

    python notebooks/make_data.py runs/tiny_r1_zero/<time> notebooks/data/r1_zero
    python notebooks/make_data.py runs/sweeps/tiny_short/<time> notebooks/data/sweep --sweep

A smaller folder of the same form: `read_run`, `read_sweep` and `r1 report` read it as they read the whole one.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from r1.analysis.browser import choose_groups
from r1.analysis.reading import EVALUATIONS, evaluation_rows, read_run
from r1.analysis.sweep import read_sweep
from r1.analysis.trace_view import digest, first_middle_last, place
from r1.rollout.trace_file import TraceWriter

COLUMNS = ("pass@1", "cons@8", "mean_length", "reflection_rate", "language_mixing", "format")


def thin_run(folder: Path, out: Path, traces: int, last: int) -> None:
    """Curves whole, evaluations of the first, middle and last step, about `traces` traces in whole groups, and beside them the
    samples of the last evaluation's first `last` problems."""
    run = read_run(folder)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "metrics.csv", out / "metrics.csv")
    shutil.copy(folder / "summary.json", out / "summary.json")
    (out / "config.yaml").write_text(yaml.safe_dump(without_places(run.config), sort_keys=False), encoding="utf-8")
    rows = evaluation_rows(folder / EVALUATIONS)
    kept = set(first_middle_last([row["step"] for row in rows]))
    write_rows(out / EVALUATIONS, (row for row in rows if row["step"] in kept))
    groups = digest(run).groups
    ends = [key for key in groups if key[0].startswith("eval/") and key[1] == rows[-1]["step"]]
    wanted = choose_groups(groups, traces) | set(ends[:last])
    writers: dict[str, TraceWriter] = {}
    for trace, row in run.traces():
        step, phase = place(row)
        if (phase, step, trace.problem.id) in wanted:
            family = "evaluations" if phase.startswith("eval/") else "rollouts"
            writer = writers.setdefault(family, TraceWriter(out / "traces" / f"{family}.jsonl"))
            writer.write([trace], step=int(step), stage=row["stage"], phase=phase)
    for writer in writers.values():
        compress(writer.path)


def thin_sweep(folder: Path, out: Path) -> None:
    """Of every job the columns that a sweep's report shows, and of its last evaluation who solved what how often."""
    out.mkdir(parents=True, exist_ok=True)
    record = yaml.safe_load((folder / "multirun.yaml").read_text())["hydra"]
    asked = {"hydra": {"sweeper": {"params": record["sweeper"].get("params")}, "overrides": {"task": task_of(record)}}}
    (out / "multirun.yaml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    for job in read_sweep(folder).jobs:
        place = out / job.folder.name
        (place / ".hydra").mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}" for key, value in job.overrides.items() if key != "policy.path"]
        (place / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(lines), encoding="utf-8")
        if job.run is None:
            continue
        (place / "config.yaml").write_text(yaml.safe_dump({"name": job.run.config["name"], "seed": job.run.config["seed"]}))
        if job.run.summary:
            shutil.copy(job.folder / "summary.json", place / "summary.json")
        thin_table(job.folder / "metrics.csv", place / "metrics.csv")
        last = evaluation_rows(job.folder / EVALUATIONS)[-1]
        problems = [{key: row[key] for key in ("id", "n", "correct")} for row in last["problems"]]
        write_rows(place / EVALUATIONS, [{key: last[key] for key in ("step", "benchmark", "setting")} | {"problems": problems}])


def task_of(record: dict[str, Any]) -> list[str]:
    return [line for line in record["overrides"]["task"] if not line.startswith("policy.path=")]


def thin_table(source: Path, target: Path) -> None:
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = [n for n in reader.fieldnames or () if n in ("step", "train/reward", "train/num_tokens") or n.startswith(("train/rewards/", "train/signal/"))
                 or (n.startswith("eval/") and n.rsplit("/", 1)[-1].removesuffix("_low").removesuffix("_high") in COLUMNS)]  # fmt: skip
        rows = [{n: shortened(row[n]) for n in names} for row in reader]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(row for row in rows if any(value for name, value in row.items() if name != "step"))


def shortened(text: str) -> str:
    return f"{float(text):.6g}" if text else ""


def without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the folders of the machine it ran on."""
    kept = {key: value for key, value in config.items() if key not in ("paths", "callbacks", "logger")}
    return kept | {"policy": {key: value for key, value in (config.get("policy") or {}).items() if key != "path"}}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def compress(path: Path) -> None:
    """One zstd frame over the whole file, a third of what a frame a trace takes."""
    import zstandard

    path.with_suffix(".jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=19).compress(path.read_bytes()))
    path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path, help="a folder that is made anew")
    parser.add_argument("--sweep", action="store_true", help="the source is the folder of a sweep")
    parser.add_argument("--traces", type=int, default=800, help="spread over the steps (default: %(default)s)")
    parser.add_argument(
        "--last", type=int, default=40, help="problems of the last evaluation kept beside these (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists; delete it first")
    if options.sweep:
        thin_sweep(options.source, options.out)
    else:
        thin_run(options.source, options.out, options.traces, options.last)


if __name__ == "__main__":
    main()
