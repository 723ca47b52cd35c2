"""Kernels run in Triton's interpreter where there is no GPU; it must be switched on before a kernel is defined."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def triton_backend():
    """The Triton kernels for one test, whatever the device."""
    pytest.importorskip("triton", reason="the Triton kernels need the triton package, which this machine lacks")
    from r1_kernels import set_backend

    set_backend("triton")
    yield "cuda" if torch.cuda.is_available() else "cpu"
    set_backend("auto")
