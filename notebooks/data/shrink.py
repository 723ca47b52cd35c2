"""Make a run small enough to ship with a notebook: python notebooks/data/shrink.py RUN OUT --problems 40 [--model BASE/hf]

Keeps the curves, the config, the summary, and the evaluation samples of the first problems, their log-probabilities with two digits.
A model is stored in bf16, half of its size.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import shutil
from pathlib import Path

import zstandard

from r1.rollout import trace_file

CURVES = ("step", "eval/", "train/reward", "train/reflection_rate", "train/language_mixing", "train/completions/mean_length")
KEPT_CONFIG = ("name", "seed", "stage", "reward", "template")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--model", type=Path, help="Hugging Face folder to store as OUT/base/hf")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    curves(options.run / "metrics.csv", options.out / "metrics.csv")
    shutil.copy(options.run / "summary.json", options.out / "summary.json")
    config(
        next(p for p in (options.run / "config.yaml", options.run / "hparams.yaml") if p.is_file()), options.out / "config.yaml"
    )
    traces(options.run / "traces" / "evaluations.jsonl.zst", options.out / "traces" / "evaluations.jsonl.zst", options.problems)
    if options.model:
        model(options.model, options.out / "base" / "hf")


def curves(source: Path, out: Path) -> None:
    """The columns that are read, with four significant digits."""
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith(CURVES)]
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(
            {n: f"{float(row[n]):.4g}" if row[n] else "" for n in names} for row in rows if any(row[n] for n in names[1:])
        )


def config(source: Path, out: Path) -> None:
    import yaml

    whole = yaml.safe_load(source.read_text())
    out.write_text(yaml.safe_dump({key: whole[key] for key in KEPT_CONFIG if key in whole}, sort_keys=False))


def traces(source: Path, out: Path, problems: int) -> None:
    """The first `problems` problems at every step, in one strongly compressed frame."""
    known: dict[str, None] = {}
    lines = []
    for trace, row in trace_file.read_traces(source):
        if trace.problem.id not in known and len(known) == problems:
            continue
        known[trace.problem.id] = None
        small = dataclasses.replace(trace, logps=[round(logp, 2) for logp in trace.logps], seed=0)
        head = {key: row[key] for key in ("schema", "step", "stage", "phase")}
        lines.append(json.dumps({**head, **trace_file._encode(small)}, ensure_ascii=False, separators=(",", ":")))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(zstandard.ZstdCompressor(level=19).compress(("\n".join(lines) + "\n").encode()))


def model(source: Path, out: Path) -> None:
    import torch

    from r1.policy import Policy

    policy = Policy.load(source, template="tiny")
    policy.model.to(torch.bfloat16)
    policy.save(out)
    (out / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
