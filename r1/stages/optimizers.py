"""Optimisers and learning-rate schedules, as plain functions of a policy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Muon, Optimizer


def adamw(
    module: nn.Module,
    lr: float = 1e-6,
    betas: tuple[float, float] = (0.9, 0.95),
    weight_decay: float = 0.0,
    eps: float = 1e-8,
) -> Optimizer:
    """AdamW over everything that wants a gradient; the fused implementation (one call for all tensors)."""
    return AdamW(_trainable(module), lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, eps=eps, fused=True)


def muon(
    module: nn.Module,
    lr: float = 0.03,
    adamw_lr: float = 6e-3,
    betas: tuple[float, float] = (0.9, 0.98),
    weight_decay: float = 0.01,
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
) -> Optimizer:
    """Muon for the matrices inside the model, AdamW for the embeddings, the head, norms and biases."""
    lookup = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    lookup.add(id(getattr(module, "head", None)))
    matrices = [p for p in _trainable(module) if p.ndim == 2 and id(p) not in lookup]
    rest = [p for p in _trainable(module) if p.ndim != 2 or id(p) in lookup]
    return Joined(
        Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn=adjust_lr_fn),
        AdamW(rest, lr=adamw_lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, fused=True),
    )


class Joined(Optimizer):
    """Several optimisers that step as one, so that schedulers, checkpoints and Lightning's step count see a single one.

    The parameter groups are the inner optimisers' own dictionaries: a scheduler that writes `lr` reaches them.
    """

    def __init__(self, *inner: Optimizer) -> None:
        self.inner = inner
        super().__init__([p for part in inner for group in part.param_groups for p in group["params"]], {})
        self.param_groups = [group for part in inner for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.inner:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.inner:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"inner": [part.state_dict() for part in self.inner]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.inner, state_dict["inner"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.inner for group in part.param_groups]  # loading makes new dictionaries


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a share of its peak, by optimiser update.

    warmup  updates of linear rise (update 0 already learns: 1/warmup of the peak)
    decay   what comes after: constant, or linear / cosine down to `final` at the last update
    final   the last share; the papers' SFT ends at 1/10 (v1 2.3.3: 5e-5 to 5e-6)
    """

    warmup: int = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    final: float = 0.1

    def __post_init__(self) -> None:
        if self.warmup < 0 or not 0 <= self.final <= 1:
            raise ValueError(f"expected warmup >= 0 and 0 <= final <= 1, got warmup={self.warmup}, final={self.final}")

    def share(self, update: int, total: int) -> float:
        """
        >>> [round(Schedule(warmup=2, decay="linear", final=0.1).share(u, 12), 2) for u in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
        """
        if update < self.warmup:
            return (update + 1) / self.warmup
        if self.decay == "constant":
            return 1.0
        done = min(1.0, (update - self.warmup) / max(1, total - self.warmup))
        fall = done if self.decay == "linear" else (1 - math.cos(math.pi * done)) / 2
        return 1.0 - (1.0 - self.final) * fall

    def attach(self, optimizer: Optimizer, total: int) -> torch.optim.lr_scheduler.LambdaLR:
        """A scheduler that is stepped once an update, skipped updates included, so that the last one ends the decay."""
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: self.share(update, total))


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def grad_norm(parameters: Iterable[nn.Parameter], max_norm: float) -> torch.Tensor:
    """The total gradient norm before clipping, over all ranks where weights are sharded; clips to `max_norm` if that is positive."""
    norm = nn.utils.clip_grad_norm_(parameters, max_norm if max_norm > 0 else float("inf"))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
