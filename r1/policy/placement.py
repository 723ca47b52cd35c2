"""Where weights lie and how wide they are: on a GPU where there is one, and in float32 while they learn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

AUTO = "auto"


def device_of(name: str = AUTO) -> torch.device:
    """The named device; "auto" is this process's GPU where there is one, else the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == AUTO else name)


@contextmanager
def sampling_on(module: nn.Module, device: str = AUTO, engine: object = None) -> Iterator[None]:
    """The module on a device for sampling outside a trainer. Float32 weights compute in bfloat16 on a GPU, as they do in training
    (trainer=gpu), so that a model is evaluated with the arithmetic it was trained with.

    engine  who samples: for one that is `separate`, a server with copies of the weights, the module stays on the CPU
    """
    place = torch.device("cpu") if getattr(engine, "separate", False) else device_of(device)
    module.to(place)
    wide = all(p.dtype == torch.float32 for p in module.parameters())
    with torch.autocast(place.type, dtype=torch.bfloat16, enabled=place.type == "cuda" and wide):
        yield


def warn_of_narrow_weights(module: nn.Module) -> None:
    """A step of 3e-6 is smaller than half the distance between neighbouring bfloat16 numbers near most weights, so it rounds to
    nothing: with AdamW at that rate 4 of 100 weights move at all. Weights that learn want float32."""
    narrow = {str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.requires_grad and p.dtype != torch.float32}
    if narrow:
        warnings.warn(
            f"weights that learn are {' and '.join(sorted(narrow))}: at learning rates such as 3e-6 most updates round to nothing. "
            f"Use policy.dtype=float32 (trainer=gpu computes in bfloat16 all the same), or train an adapter (policy/lora=default), "
            f"which is float32 on a model of any dtype",
            stacklevel=2,
        )
