"""How a node is run: in this process, or as a process of its own that is given the same config.

In one process the imports are paid once, which is what matters for small models. A process of its own (`processes=true`) starts
with an empty GPU and may start ranks: that is for real ones. Both write the same folder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from r1.app import quoted
from r1.build import reopen, save_config

Execute = Callable[[str, Mapping[str, Any], Path], None]  # (command, resolved config, folder)

# command -> module, function, what it is told beside the config (the ledger shows what an evaluation would print)
FUNCTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "train": ("r1.run", "train", {}),
    "generate": ("r1.pipeline.generate", "generate", {}),
    "eval": ("r1.run", "evaluate_all", {"show": False}),
}


def in_process(command: str, config: Mapping[str, Any], folder: Path) -> None:
    """Call what `r1 <command>` calls."""
    cfg = reopen(config, folder)
    save_config(cfg, folder)
    module, name, options = FUNCTIONS[command]
    getattr(import_module(module), name)(cfg, **options)


def in_own_process(command: str, config: Mapping[str, Any], folder: Path) -> None:
    """`r1 <command>` on the config as a file. RuntimeError where it ends with an exit code."""
    quiet = {**config, "print_config": False}  # config.yaml is in the folder
    save_config(reopen(quiet, folder), folder)
    arguments = ["--config-dir", str(folder), "--config-name", "config", f"hydra.run.dir={quoted(folder)}"]
    done = subprocess.run([sys.executable, "-m", "r1", command, *arguments], check=False)
    if done.returncode:
        raise RuntimeError(f"r1 {command} ended with exit code {done.returncode}; its output is above, its files are in {folder}")
