"""What `r1 pipeline` does with its config: build the driver, then run, show or explain."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from r1.analysis.tables import console
from r1.build import plain
from r1.pipeline import ledger
from r1.pipeline.changes import status_table
from r1.pipeline.changes import why as reasons
from r1.pipeline.driver import Driver, NodeFailed, State
from r1.pipeline.execute import in_own_process, in_process
from r1.pipeline.plan import plan
from r1.pipeline.recipe import read_recipe
from r1.pipeline.store import Store

if TYPE_CHECKING:
    from omegaconf import DictConfig


def driver_of(cfg: DictConfig, say: Callable[[str], None] = print) -> Driver:
    """The driver that a config of conf/pipeline.yaml describes. ConfigError for whatever is wrong with any node of the recipe."""
    recipe = read_recipe(plain(cfg.recipe))
    steps = plan(recipe, [str(Path(cfg.config_dir).resolve())] if cfg.config_dir else [])
    execute = in_own_process if cfg.processes else in_process
    root = Path(cfg.paths.run_dir)
    return Driver(recipe, steps, Store(cfg.store), root, execute, lambda states: ledger.write(root, recipe, states), say)


def run(cfg: DictConfig) -> int:
    """Make what is not done; 1 where a node failed."""
    import torch

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    driver = driver_of(cfg)
    try:
        states = driver.run(cfg["from"], cfg.until, cfg.only)
    except NodeFailed as failure:
        print(f"r1 pipeline: {failure}", file=sys.stderr)
        return 1
    print(_closing(driver, states))
    return 0


def status(cfg: DictConfig, asked: str = "") -> int:
    """`asked` is what a user adds to `r1 pipeline why NODE` to be told of the same recipe."""
    driver = driver_of(cfg)
    chosen = driver.select(cfg["from"], cfg.until, cfg.only)
    console().print(status_table(driver, chosen, asked))
    return 0


def why(cfg: DictConfig) -> int:
    driver = driver_of(cfg)
    driver.select(cfg["from"], cfg.until, cfg.only)  # an unknown name is answered with the names there are
    print("\n".join(reasons(driver, cfg.only)))
    return 0


def _closing(driver: Driver, states: Mapping[str, State]) -> str:
    open_ = [name for name, state in states.items() if state.record is None]
    left = f"not asked for: {', '.join(open_)}" if open_ else "every node is done"
    return f"{left}; {driver.root} links to what was made"
