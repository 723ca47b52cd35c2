"""Train a policy: any stage, any experiment (Hydra).

    r1 train experiment=<name>                                 one file of conf/experiment
    r1 train reward.weights.format=0.5 seed=3                  any key below
    r1 train -m reward.weights.format=0,0.1,1 seed=1,2,3       a sweep, every combination
    r1 train debug=fdr                                         one step of everything (fdr, overfit, limit, profiler)
    r1 train ... --cfg job --resolve                           print the config and stop
    r1 train --config-dir my_conf experiment=mine              configs of your own, beside these

A sweep ends with its table and report; `r1 report RUN` writes the page of a run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from r1.app import hydra_app

if TYPE_CHECKING:
    from omegaconf import DictConfig


def write_sweep_report(folder: Path) -> None:
    """What `r1 report` would write, at the end of a sweep. The jobs are over: a report that cannot be made must not hide how they ended."""
    from r1.analysis.sweep_report import sweep_report

    try:
        markdown, page = sweep_report(folder)
    except ValueError as error:
        print(f"r1 train: no report of this sweep: {error}", file=sys.stderr)
        return
    print(f"{markdown.read_text(encoding='utf-8')}\n{page}", flush=True)


@hydra_app("train", after_sweep=write_sweep_report)
def main(cfg: DictConfig) -> float | None:
    from r1.run import train

    return train(cfg)
