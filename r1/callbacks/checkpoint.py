"""Checkpoints at the end of training steps, and a clean end on Ctrl-C, SIGTERM and SIGUSR1."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from r1 import checkpoints
from r1.callbacks.hooks import steps_done

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is what SLURM is asked to send before a job's time is up


class Interrupted(Exception):
    """The run was asked to stop and has; `path` is the checkpoint it goes on from, None where there was nothing to keep."""

    def __init__(self, number: int, step: int, path: Path | None) -> None:
        kept = f"goes on from {path}" if path else "has no checkpoint yet"
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}; the run {kept}")
        self.number, self.path = number, path


class CheckpointCallback(Checkpoint):
    """Saves the run every n training steps, at its end, and when it is told to stop (Ctrl-C, SIGTERM, SIGUSR1; a second one stops
    at once).

    A training step is a whole rollout with all its updates, so a checkpoint never stands between two updates of one rollout.
    Lightning runs this callback after all others: what they log of a step is on disk before the checkpoint that follows it.
    A save that fails (disk full, folder read-only) is said and tried again at the next interval; the run goes on.

    dirpath        the folder for step=000020.ckpt ... and the link last.ckpt
    every_n_steps  training steps between two saves; 0 saves at the end only
    keep           how many of the newest stay; 0 keeps all, so that `r1 replay` starts close to any step
    """

    def __init__(self, dirpath: str | Path, every_n_steps: int = 20, keep: int = 2) -> None:
        if every_n_steps < 0 or keep < 0:
            raise ValueError(f"every_n_steps and keep must be 0 or more, got {every_n_steps} and {keep}")
        self.folder, self.every_n_steps, self.keep = Path(dirpath), every_n_steps, keep
        self.saved_step = -1
        self.asked: int | None = None  # the signal that asked the run to stop
        self._handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()
        self.saved_step = steps_done(trainer, pl_module)  # where a resumed run starts it has its checkpoint

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stop = self._asked_of_any(trainer)
        if stop:  # asked during the evaluation before the first step
            raise Interrupted(stop, self.saved_step, None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = steps_done(trainer, pl_module)
        stop = self._asked_of_any(trainer)
        if stop or (self.every_n_steps and step % self.every_n_steps == 0):
            self.save(trainer, step)
        if stop:
            raise Interrupted(stop, step, checkpoints.newest(self.folder) if trainer.is_global_zero else None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer, steps_done(trainer, pl_module))
        self._deafen()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._deafen()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Which run of a tracker this is: a resumed run goes on in the same one."""
        checkpoint["r1_loggers"] = {
            type(logger).__name__: str(logger.version) for logger in trainer.loggers if getattr(logger, "version", None)
        }

    def save(self, trainer: Trainer, step: int) -> Path | None:
        """Save now; None if this step is saved already, or could not be."""
        if step == self.saved_step or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return None
        for logger in trainer.loggers:
            logger.save()  # rows of this step and before are on disk first: a resumed run drops later ones only
        try:
            if trainer.is_global_zero:
                self.folder.mkdir(parents=True, exist_ok=True)
                checkpoints.remove(checkpoints.hidden(self.folder))  # of a save that was killed
            trainer.save_checkpoint(checkpoints.hidden(self.folder), weights_only=False)
            path = checkpoints.install(self.folder, step, self.keep) if trainer.is_global_zero else None
        except (OSError, RuntimeError, checkpoints.BadCheckpoint) as error:  # torch's writer makes a RuntimeError of a full disk
            if trainer.world_size > 1:
                raise  # the other ranks wait in the same save: going on alone would part them
            self._discard()
            warnings.warn(f"step {step} could not be saved, training goes on and tries again: {error}", stacklevel=1)
            return None
        self.saved_step = step
        return path

    def _discard(self) -> None:
        with contextlib.suppress(OSError):  # the folder that refused the file refuses this as well
            checkpoints.remove(checkpoints.hidden(self.folder))

    def _asked_of_any(self, trainer: Trainer) -> int:
        """The signal that told any rank to stop, 0 for none: all stop after the same step and end with the same status."""
        asked = torch.tensor(self.asked or 0, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(asked, reduce_op="max"))

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._on_signal) for number in SIGNALS}

    def _deafen(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._handlers = {}

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = number
        print(f"{signal.Signals(number).name}: finishing this step, then saving; once more stops at once", flush=True)
