"""Run a recipe of stages as one graph that goes on where it stopped; `status` and `why NODE` say how it stands (Hydra).

r1 pipeline [status | why NODE] recipe=NAME [from=NODE] [until=NODE] [only=NODE] [seed=0] [KEY=VALUE ...]

    r1 pipeline recipe=r1_tiny                  everything that is not done, in order
    r1 pipeline recipe=r1_tiny until=r1_zero    a node and what it needs
    r1 pipeline status recipe=r1_tiny           done, next, stale, unfinished, waiting
    r1 pipeline why dev2 recipe=r1_tiny         what has changed since it was made
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from r1.app import hydra_app, quoted

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(argv: Sequence[str]) -> int:
    """0 when all that was asked for is done, 1 when a node failed."""
    overrides = _overrides(list(argv))
    if not {"action=status", "action=why"} & set(overrides):
        return app(overrides)
    with TemporaryDirectory(prefix="r1-pipeline-") as folder:  # Hydra writes a run folder, and a question keeps none
        return app([*overrides, *(f"hydra.{mode}.dir={quoted(folder)}" for mode in ("run", "sweep"))])


@hydra_app("pipeline")
def app(cfg: DictConfig) -> int:
    from r1.pipeline.commands import run, status, why

    if cfg.action == "status":
        return status(cfg, _asked(cfg))
    return {"run": run, "why": why}[cfg.action](cfg)


def _asked(cfg: DictConfig) -> str:
    """The words with which `why` sees what `status` saw."""
    from hydra.core.hydra_config import HydraConfig

    chosen = ("action=", "from=", "until=", "only=", "config_dir=")
    folder = ["--config-dir", cfg.config_dir] if cfg.config_dir else []
    return shlex.join([*folder, *(word for word in HydraConfig.get().overrides.task if not word.startswith(chosen))])


def _overrides(argv: list[str]) -> list[str]:
    """`why dev2 recipe=x` as Hydra's overrides. The nodes' own configs are looked for in --config-dir too."""
    words = list(takewhile(lambda word: "=" not in word and not word.startswith("-"), argv))
    rest = argv[len(words) :]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    folder = parser.parse_known_args(rest)[0].config_dir
    if folder:
        rest.append(f"config_dir={quoted(Path(folder).resolve())}")
    if not words:
        return rest
    if words == ["status"]:
        return [*rest, *_names_for(rest), "action=status"]
    if words[0] == "why" and len(words) == 2:
        return [*rest, "action=why", f"only={words[1]}"]
    print(
        f"r1 pipeline: expected `status` or `why NODE`, got {' '.join(words)!r}\n\n{__doc__.partition(chr(10) * 2)[2]}",
        file=sys.stderr,
    )
    raise SystemExit(2)


def _names_for(rest: list[str]) -> list[str]:
    """A recipe can be looked at before its variables have values: each stands for itself, and that is said."""
    from r1.build import without_value

    try:
        open_ = [
            key for key in without_value("pipeline", [word for word in rest if "=" in word and word[0] != "-"]) if ".vars." in key
        ]
    except Exception:  # whatever is wrong with these overrides is said when the command itself reads them
        return []
    if open_:
        print(f"without a value yet, and not looked for: {', '.join(open_)}")
    return [f"{key}={quoted('<' + key.rpartition('.')[2] + '>')}" for key in open_]
