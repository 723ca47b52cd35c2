"""Which reward part drives the update, a value a part and step, and a sentence where something is odd."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from r1 import metrics
from r1.analysis.attribution import Signal, attribute, hints
from r1.callbacks.hooks import log_figures, rollouts, steps_done


class SignalCallback(Callback):
    """Logs `train/signal/<part>`, the share of the step's squared advantage that each part carries (`analysis.attribution`),
    for any module with `last_groups`. Steps without any advantage log nothing: there is no signal to share.

    hint_every_n_steps  print what the steps since the last look give cause to say ("94 % of the update comes from format ..."),
                        at most this often and only if there is something to say; 0 never does
    """

    def __init__(self, hint_every_n_steps: int = 20) -> None:
        if hint_every_n_steps < 0:
            raise ValueError(f"hint_every_n_steps must be 0 (no hints) or more, got {hint_every_n_steps}")
        self.hint_every_n_steps = hint_every_n_steps
        self.since = Signal()  # of the steps since the last hint

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not hasattr(pl_module, "last_groups"):
            return
        signal, step = _over_ranks(trainer, attribute(rollouts(pl_module))), steps_done(trainer, pl_module)
        self.since += signal
        log_figures(trainer, {metrics.signal(part): share for part, share in signal.shares.items()}, step)
        if self.hint_every_n_steps and step % self.hint_every_n_steps == 0:
            if trainer.is_global_zero:
                for hint in hints(self.since):
                    print(f"signal, up to step {step}: {hint}", flush=True)
            self.since = Signal()


def _over_ranks(trainer: Trainer, signal: Signal) -> Signal:
    """The sum over all ranks: each has groups of its own."""
    if trainer.world_size == 1:
        return signal
    parts: list[Signal] = [Signal()] * trainer.world_size
    torch.distributed.all_gather_object(parts, signal)
    return sum(parts, Signal())
