"""What the callbacks share: which step it is, how evaluations are announced, and how figures reach every logger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer

from r1.records import EvalReport, Group, Trace


def steps_done(trainer: Trainer, module: LightningModule) -> int:
    """Training steps so far: a stage's own count (one rollout may hold several optimiser updates), else the trainer's."""
    return int(getattr(module, "rollout_step", trainer.global_step))


def steps_in_all(trainer: Trainer, module: LightningModule) -> int | None:
    """Steps of the whole run, where they are known."""
    total = getattr(module, "steps", None)
    if total is None:
        total = trainer.estimated_stepping_batches
    return int(total) if 0 < total < float("inf") else None


def rollouts(module: LightningModule) -> Sequence[Group]:
    """The groups of the last training step; empty for modules that sample nothing."""
    return getattr(module, "last_groups", None) or ()


def log_figures(trainer: Trainer, values: Mapping[str, float], step: int) -> None:
    """Give figures to every logger at once, and to `trainer.callback_metrics` for checkpoints and sweepers to read.

    Not through `module.log`: the trainer would drop what falls between two `log_every_n_steps`.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=step)
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})


def announce(trainer: Trainer, module: LightningModule, report: EvalReport, traces: Sequence[Trace], step: int) -> None:
    """Tell the other callbacks of an evaluation: those with `on_evaluation(trainer, module, report, traces, step)`."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        heard: Any = getattr(callback, "on_evaluation", None)
        if heard is not None:
            heard(trainer, module, report, traces, step)
