"""Train a policy: any stage, any experiment (Hydra)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1.app import hydra_app

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_app("train")
def main(cfg: DictConfig) -> float | None:
    from r1.run import train

    return train(cfg)
