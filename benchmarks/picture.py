"""Seconds a thousand sampled tokens, by phase, of our step and TRL's: the README's picture, from the figures of benchmarks/step.py.

    python benchmarks/picture.py benchmarks/results/step-cpu.json docs/images/step.png

Needs matplotlib (extra `viz`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {
    "rollout": "#3b6fb6",
    "update": "#e0913c",
    "other": "#9a9a9a",
}  # scoring and the reference take no time worth a colour here


def draw(found: dict[str, Any], target: Path) -> None:
    rows = found["steps"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.1), layout="constrained")
    for axis, profile in zip(axes, dict.fromkeys(row["profile"] for row in rows), strict=False):
        cases = [row for row in rows if row["profile"] == profile]
        ticks = []
        for i, row in enumerate(cases):
            for j, who in enumerate(("r1", "trl")):
                place, left = -(3 * i + j), 0.0
                side = row[who]
                whole = 1000 * side["step_s"] / side["tokens"]
                for phase, colour in COLOURS.items():
                    width = whole * side[f"{phase}_share"]
                    axis.barh(place, width, left=left, color=colour, label=phase if i == j == 0 else None)
                    left += width
                ticks.append((place, who))
                if who == "r1":
                    axis.text(left, place, f"  {row['faster']:.1f}x", va="center", weight="bold")
            axis.text(0, -(3 * i) + 0.75, row["lengths"], fontsize=8.5, color="#444444")
        axis.set_yticks([place for place, _ in ticks], [who for _, who in ticks])
        axis.set_title({"tiny": "0.18 M parameters", "small": "25 M parameters"}.get(profile, profile), loc="left", fontsize=10)
        axis.set_xlabel("seconds for a thousand sampled tokens")
        axis.set_ylim(-(3 * len(cases) - 1) + 0.4, 1.3)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].legend(loc="upper right", fontsize=8, frameon=False)
    figure.savefig(target, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    a = parser.parse_args()
    draw(json.loads(a.results.read_text(encoding="utf-8")), a.target)


if __name__ == "__main__":
    main()
