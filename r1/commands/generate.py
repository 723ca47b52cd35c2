"""Make data with models: sampling, rejection sampling, cold start (Hydra)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1.app import hydra_app

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_app("generate")
def main(cfg: DictConfig) -> int:
    """The number of rows kept, for sweepers, is in report.json; 0 when the run went well."""
    from r1.pipeline.generate import generate, table

    print(table(generate(cfg)))
    print(f"rows, dropped rows, traces and the report are in {cfg.paths.run_dir}")
    return 0
