"""Make data with models: sampling, rejection sampling, cold start (Hydra).

    r1 generate data=rejection policy.path=<run folder>/hf template=<of its training> task=<name>
    r1 train stage=sft task=documents task.path=<run folder>/rows.jsonl          trains on what was kept

The run folder gets the kept rows, the dropped ones with the reason, the traces and report.json.
"""

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
