"""Every random draw comes from a key: (seed, stage, step, problem, sample).

A key is a hash, not a state: a draw never depends on what was drawn before it, on the batch it sits in, or on the rank that
makes it. That is what makes a run resumable at any step and a single completion reproducible alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def key(*parts: int | str) -> int:
    """A non-negative 63-bit key for (seed, stage, step, problem id, sample ...), the same on every machine.

    >>> key(0, "grpo", 3, "aime24/07", 1) == key(0, "grpo", 3, "aime24/07", 1) != key(0, "grpo", 3, "aime24/07", 2)
    True
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)  # 1 and "1" are different keys
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator that starts at `key(*parts)`."""
    import torch

    return torch.Generator().manual_seed(key(*parts))


def shuffled(items: list[Any], *parts: int | str) -> list[Any]:
    """A new list in the order that `key(*parts)` gives."""
    order = list(items)
    random.Random(key(*parts)).shuffle(order)
    return order


def uniform(keys: torch.Tensor, counter: int | torch.Tensor) -> torch.Tensor:
    """[B] float64 in [0, 1): draw number `counter` of each row's own stream. keys: [B] int64. Counters [n, 1] give n draws a row, [n, B].

    splitmix64 (Steele, Lea and Flood 2014) in wrapping int64 arithmetic, so one row's draws do not depend on its neighbours.
    """
    import torch

    z = keys + ((counter + 1) * _signed(_GOLDEN) if isinstance(counter, torch.Tensor) else _signed((counter + 1) * _GOLDEN))
    z = (z ^ _shift(z, 30)) * _signed(_MIX[0])
    z = (z ^ _shift(z, 27)) * _signed(_MIX[1])
    z = z ^ _shift(z, 31)
    return _shift(z, 11).to(torch.float64) * 2.0**-53


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _shift(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift; int64's own `>>` would drag the sign in."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def seed_everything(seed: int) -> None:
    """Seed what other libraries draw from (dropout, initialisation); r1's own draws are keyed."""
    import lightning

    lightning.seed_everything(key(seed, "global") % 2**32, workers=True, verbose=False)


def seed_step(*parts: int | str) -> None:
    """Seed the global generators of Python, NumPy and torch for one step: what draws from them is a function of the step as well."""
    import numpy
    import torch

    start = key("step", *parts)
    random.seed(start)
    numpy.random.seed(start % 2**32)
    torch.manual_seed(start)


def fingerprint(tokenizer: Any) -> str:
    """A hash of what a tokenizer does: its whole definition where it has one (fast tokenizers), else its vocabulary, with the
    special tokens and the chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    definition = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    special = json.dumps([str(tokenizer.special_tokens_map), getattr(tokenizer, "chat_template", None)], default=str)
    return hashlib.blake2b(f"{definition}\x1f{special}".encode(), digest_size=16).hexdigest()


def manifest(config: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is needed to repeat a run: commit, versions, machine, threads, seed."""
    import torch

    return {
        "git": _git(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in ("r1-lab", "torch", "lightning", "transformers", "hydra-core", "triton")},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({os.cpu_count()} cores)",
        "threads": torch.get_num_threads(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": (config or {}).get("seed"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and whether the tree differs from it; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def ask(*args: str) -> str:
        return subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.TimeoutExpired):
        return None
