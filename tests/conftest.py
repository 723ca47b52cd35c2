"""Fixtures that several test folders share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import r1  # noqa: F401  before torch: how long its threads spin is read then

# Tests never ask a service for anything, and two of them at once must not fight for the cores.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Triton's interpreter must be switched on before the first kernel is defined, whichever test imports it.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real problems and traces: R1_DATA_DIR, or shared/data beside the checkout."""
    folder = Path(os.environ.get("R1_DATA_DIR", REPO.parent / "shared" / "data"))
    if not (folder / "aime2024.jsonl").is_file():
        pytest.skip(f"no real problem sets at {folder}: set R1_DATA_DIR to a folder with aime2024.jsonl, traces.jsonl, ...")
    return folder
