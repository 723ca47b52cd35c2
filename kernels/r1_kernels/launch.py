"""Which implementation runs: `auto` takes Triton for CUDA tensors and the torch reference elsewhere.

    set_backend("torch")                 or the environment variable R1_KERNELS_BACKEND, read at the first loss
    TRITON_INTERPRET=1 + "triton"        runs the kernels on a CPU, slowly and exactly: that is what the tests do

The choice is logged once. Kernels are imported only where they are used, so that a machine without Triton has the torch
backend and no error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from typing import Any, Literal

import torch
from torch import Tensor

Backend = Literal["auto", "torch", "triton"]
log = logging.getLogger("r1_kernels")
_chosen: str | None = None
_said: set[str] = set()


def set_backend(name: Backend) -> None:
    """Choose for the whole process. ValueError for an unknown name or where Triton is asked for and missing."""
    global _chosen
    if name not in ("auto", "torch", "triton"):
        raise ValueError(f"the backend must be auto, torch or triton, got {name!r}")
    if name == "triton" and not has_triton():
        raise ValueError("backend 'triton' needs the triton package (Linux): pip install triton, or use backend 'auto'")
    _chosen = name


def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, which knows no bf16 products."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def use_triton(*tensors: Tensor) -> bool:
    """Whether the kernels do the work for these tensors. float64 always takes the reference: kernels sum in fp32."""
    if _chosen is None:
        set_backend(os.environ.get("R1_KERNELS_BACKEND", "auto"))  # type: ignore[arg-type]
    cuda = all(t.is_cuda for t in tensors)
    if _chosen == "triton" and not cuda and not interpreted():
        raise ValueError(
            f"backend 'triton' needs CUDA tensors, got {tensors[0].device}; use backend 'auto', or set TRITON_INTERPRET=1 for a test"
        )
    yes = _chosen == "triton" or (_chosen == "auto" and cuda and has_triton())
    yes = yes and all(t.dtype != torch.float64 for t in tensors)
    name = f"{'triton' if yes else 'torch'} backend on {tensors[0].device.type}"
    if name not in _said:
        _said.add(name)
        log.info("r1_kernels: %s", name)
    return yes


def run(kernel: Any, programs: int, device: torch.device, *args: Any, num_warps: int = 4, **options: Any) -> None:
    """Launch on a 1-D grid (the only one without a limit of 65,535), or not at all for no programs.

    Fusing multiply and add is asked for by name: Triton's default changes between releases.
    """
    if programs == 0:
        return
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[(programs,)](*args, num_warps=num_warps, enable_fp_fusion=True, **options)
