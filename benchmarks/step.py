"""A whole GRPO step, ours against TRL's: the same model, prompts, group size, lengths, loss and optimiser, taking turns.

    python benchmarks/step.py                                tiny and small profiles on a CPU
    python benchmarks/step.py --profiles gpu_0_5b gpu_1_5b --liger --new 2048   on a GPU, against TRL with Liger's loss
    python benchmarks/step.py --growth                       what twice the group or twice the length costs us

Both trainers live in processes of their own and do one step each in turn, so that a busy machine is busy for both and no memory is
shared; a step ends when the next one begins, loader, hooks and logs included. Figures are medians over the rounds; the ratio is the
median of the rounds' own ratios. Needs trl (extra `bench`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contestants import PROFILES, Setting

PHASES = ("rollout", "score", "reference", "update")
ENDING = {"tiny": 3, "small": 50}  # ids that end a completion where lengths are ragged: a mean of about 75 of 192, 60 of 96


class Contestant:
    """A trainer in a process of its own; `step` lets it do one step."""

    def __init__(self, name: str, setting: Setting) -> None:
        command = [sys.executable, str(Path(__file__).with_name("contestants.py")), name, json.dumps(asdict(setting))]
        env = os.environ | {"OMP_NUM_THREADS": str(setting.threads), "WANDB_MODE": "disabled", "TRL_EXPERIMENTAL_SILENCE": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )

    def step(self) -> dict[str, float]:
        began = time.perf_counter()
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died: its own words follow
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args[2]} ended early:\n{self.process.stderr.read()[-3000:]}")
        figures = json.loads(answer)
        figures["seconds"] = time.perf_counter() - began
        if "trained" in figures:  # TRL: sampling and scoring happen inside its training step
            figures["update"] = figures.pop("trained") - figures.pop("sampled")
        figures["other"] = figures["seconds"] - sum(figures.get(phase, 0.0) for phase in PHASES)
        return figures

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


def race(names: tuple[str, ...], settings: dict[str, Setting], rounds: int, warm: int) -> dict[str, list[dict[str, float]]]:
    """Rounds of one step each; the first `warm` are not counted."""
    contestants = {name: Contestant(name.partition(":")[0], settings[name]) for name in names}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(-warm, rounds):
        for name, contestant in contestants.items():
            figures = contestant.step()
            if turn >= 0:
                seen[name].append(figures)
    for contestant in contestants.values():
        contestant.close()
    return seen


def median(rows: list[dict[str, float]], name: str) -> float:
    return statistics.median(row.get(name, 0.0) for row in rows)


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of one trainer: seconds, tokens, tokens per second of sampling and of the update, share of each phase, peak memory."""
    seconds, tokens = median(rows, "seconds"), median(rows, "tokens")
    found = {"step_s": seconds, "tokens": tokens, "rollout_tokens_per_s": statistics.median(r["tokens"] / r["rollout"] for r in rows),
             "update_tokens_per_s": statistics.median(r["tokens"] / r["update"] for r in rows)}  # fmt: skip
    found |= {f"{p}_share": statistics.median(r.get(p, 0.0) / r["seconds"] for r in rows) for p in (*PHASES, "other")}
    found["rss_mib"] = max(row["rss_mib"] for row in rows)
    if "cuda_mib" in rows[0]:
        found["cuda_mib"] = max(row["cuda_mib"] for row in rows)
    return found


def against_trl(profile: str, rounds: int, threads: int, new: int | None = None, liger: bool = False) -> list[dict[str, Any]]:
    cases = [
        ("full length", 0, 0.0),
        ("ragged", ENDING.get(profile, 0), 0.0),
        ("ragged, a quarter of the groups silent", ENDING.get(profile, 0), 0.25),
    ]
    results = []
    for name, ends, silent in cases:
        if name != "full length" and not ends:
            continue
        setting = Setting(profile=profile, ends=ends, silent=silent, threads=threads, new=new, liger=liger)
        seen = race(("r1", "trl"), {"r1": setting, "trl": setting}, rounds, warm=2)
        # lengths are drawn by each trainer for itself: seconds per sampled token compare steps of different size
        per_token = [(t["seconds"] / t["tokens"]) / (r["seconds"] / r["tokens"]) for r, t in zip(seen["r1"], seen["trl"])]
        results.append({"profile": profile, "lengths": name, "faster": statistics.median(per_token), "faster_min": min(per_token),
                        "faster_max": max(per_token), **{who: summary(rows) for who, rows in seen.items()}})  # fmt: skip
        print(line(results[-1]), flush=True)
    return results


def growth(rounds: int, threads: int) -> list[dict[str, Any]]:
    """Our own step with twice the group and with twice the length, all completions at full length, one after the other in turns."""
    base = PROFILES["tiny"]
    settings = {
        "r1:base": Setting(group=base.group, new=96, threads=threads),
        "r1:group": Setting(group=2 * base.group, new=96, threads=threads),
        "r1:length": Setting(group=base.group, new=192, threads=threads),
    }
    seen = race(tuple(settings), settings, rounds, warm=2)
    results = []
    for name in ("r1:group", "r1:length"):
        pairs = list(zip(seen["r1:base"], seen[name]))
        found: dict[str, Any] = {"doubled": name.partition(":")[2]}
        for part in ("seconds", "rollout", "update"):
            ratios = [twice[part] / once[part] for once, twice in pairs]
            found[part] = [statistics.median(ratios), min(ratios), max(ratios)]
        found["rss_mib"] = [max(row["rss_mib"] for row in rows) for rows in zip(*pairs)]
        results.append(found)
        times = ", ".join(
            f"{part} {found[part][0]:.2f}x ({found[part][1]:.2f}-{found[part][2]:.2f})"
            for part in ("seconds", "rollout", "update")
        )
        print(f"twice the {found['doubled']}: {times}, peak {found['rss_mib'][0]:.0f} -> {found['rss_mib'][1]:.0f} MiB")
    return results


def line(row: dict[str, Any]) -> str:
    ours, theirs = row["r1"], row["trl"]
    return (
        f"{row['profile']:9} {row['lengths']:40} {row['faster']:5.2f}x a token ({row['faster_min']:.2f}-{row['faster_max']:.2f})   step "
        f"{ours['step_s']:.3f} s, {ours['tokens']:.0f} tokens / {theirs['step_s']:.3f} s, {theirs['tokens']:.0f}   rollout "
        f"{ours['rollout_tokens_per_s']:,.0f} / {theirs['rollout_tokens_per_s']:,.0f} tok/s   update {ours['update_tokens_per_s']:,.0f} / "
        f"{theirs['update_tokens_per_s']:,.0f} tok/s   other {ours['other_share']:.1%} / {theirs['other_share']:.1%}   "
        f"peak {ours['rss_mib']:.0f} / {theirs['rss_mib']:.0f} MiB"
    )


def environment(threads: int) -> dict[str, Any]:
    import torch

    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{platform.machine()} CPU, {threads} threads of {os.cpu_count()}"
    )
    packages = {name: version(name) for name in ("torch", "transformers", "lightning", "trl")}
    return {"date": date.today().isoformat(), "device": device, "python": platform.python_version(), **packages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", nargs="+", choices=list(PROFILES), default=["tiny", "small"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new", type=int, help="tokens of a completion at most, instead of the profile's")
    parser.add_argument("--liger", action="store_true", help="give TRL Liger's fused loss")
    parser.add_argument("--growth", action="store_true", help="only the cost of twice the group and twice the length")
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    a = parser.parse_args()
    found: dict[str, Any] = {**environment(a.threads), "rounds": a.rounds, "liger": a.liger, "new": a.new}
    if a.growth:
        found["growth"] = growth(a.rounds, a.threads)
    else:
        found["steps"] = []
        for profile in a.profiles:
            found["steps"] += against_trl(profile, a.rounds, a.threads, a.new, a.liger)
    if a.json:
        a.json.parent.mkdir(parents=True, exist_ok=True)
        a.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
