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
from r1.build import reopen, save

Execute = Callable[[str, Mapping[str, Any], Path], None]  # (command, resolved config, folder)

# command -> module, function, what it is told beside the config (the ledger shows what an evaluation would print)
FUNCTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "train": ("r1.run", "train", {}),
    "generate": ("r1.pipeline.generate", "generate", {}),
    "eval": ("r1.run", "evaluate_all", {"show": False}),
}
CHECKPOINT = Path("checkpoints") / "last.ckpt"


def in_process(command: str, config: Mapping[str, Any], folder: Path) -> None:
    """Call what `r1 <command>` calls."""
    cfg = reopen(config, folder)
    save(cfg, folder / "config.yaml")
    module, name, options = FUNCTIONS[command]
    getattr(import_module(module), name)(cfg, **options)


def in_own_process(command: str, config: Mapping[str, Any], folder: Path) -> None:
    """`r1 <command>` on the config as a file. RuntimeError where it ends with an exit code."""
    save(reopen(config, folder), folder / "config.yaml")
    arguments = ["--config-dir", str(folder), "--config-name", "config", f"hydra.run.dir={quoted(folder)}"]
    done = subprocess.run([sys.executable, "-m", "r1", command, *arguments], check=False)
    if done.returncode:
        raise RuntimeError(f"r1 {command} ended with exit code {done.returncode}; its output is above, its files are in {folder}")


def resumed(command: str, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The config, told to go on from the folder's last checkpoint where there is one. Data steps find their own rows again."""
    found = folder / CHECKPOINT
    return {**config, "ckpt_path": str(found)} if command == "train" and found.is_file() else dict(config)
