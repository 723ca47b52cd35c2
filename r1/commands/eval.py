"""Score a policy on benchmarks, with the evaluation that training uses (Hydra)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1.app import hydra_app

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_app("eval")
def main(cfg: DictConfig) -> float | None:
    from r1.run import evaluate_all

    return evaluate_all(cfg)
