"""How long a user waits: `r1 --help`, and `r1 train` until its first GRPO step is reported, beside the bare imports it cannot do without.

    python benchmarks/startup.py --rounds 5 --json benchmarks/results/startup-cpu.json

Whole processes, taking turns. The step itself (32 prompts x 8 completions of the tiny model) is part of the figure. Where Python may not
write byte code (PYTHONDONTWRITEBYTECODE) and the packages were installed without it, every start compiles: `make install` sees to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

QUIET = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
IMPORTS = [sys.executable, "-c", "import torch, transformers, lightning; from transformers import AutoModelForCausalLM"]


def seconds_until(command: list[str], sign: str | None, threads: int) -> float:
    """Seconds from the start of a command to a line that begins with `sign`, or to its end where there is none."""
    began, found = time.perf_counter(), None
    env = os.environ | QUIET | {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if found is None and sign is not None and line.lstrip("\r").startswith(sign):
                found = time.perf_counter() - began
    whole = time.perf_counter() - began
    if process.returncode or (sign is not None and found is None):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{''.join(said)[-2000:]}")
    return whole if found is None else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    a = parser.parse_args()
    r1 = [sys.executable, "-m", "r1"]
    with tempfile.TemporaryDirectory() as folder:
        run = [*r1, "train", "benchmark=[]", "stage.steps=1"]
        seconds_until([*run, "experiment=tiny_base", f"hydra.run.dir={folder}/base"], "step 1/1", a.threads)
        train = [*run, "experiment=tiny_r1_zero", f"policy.path={folder}/base/hf"]
        seen: dict[str, list[float]] = {"r1 --help": [], "imports alone": [], "r1 train, first step": []}
        for turn in range(a.rounds):
            seen["r1 --help"].append(seconds_until([*r1, "--help"], None, a.threads))
            seen["imports alone"].append(seconds_until(IMPORTS, None, a.threads))
            seen["r1 train, first step"].append(seconds_until([*train, f"hydra.run.dir={folder}/{turn}"], "step 1/1", a.threads))
    for name, values in seen.items():
        print(f"{name:22} {statistics.median(values):6.2f} s  ({min(values):.2f}-{max(values):.2f})")
    if a.json:
        packages = {name: version(name) for name in ("torch", "transformers", "lightning", "wandb")}
        found = {"date": date.today().isoformat(), "threads": a.threads, **packages, "seconds": seen}
        a.json.parent.mkdir(parents=True, exist_ok=True)
        a.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
