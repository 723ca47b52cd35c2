"""Run out of memory at step 0 instead of at step 700: the largest micro-batch, forward and backward, before the first step."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from r1.callbacks.hooks import steps_done


class RehearsalCallback(Callback):
    """Computes loss and gradients of the largest micro-batch that the run can meet (`module.rehearsal(loader)`), with room for two
    optimiser moments, then throws all of it away: weights, generators and counters are as before.

    when  "gpu": where there is one, since a micro-batch is a matter of a second there; "always" or "never". With several processes
          it is left out: gradients outside a step would leave DDP waiting.

    Raises ValueError, with the shape and what to set, when the memory does not suffice.
    """

    def __init__(self, when: Literal["gpu", "always", "never"] = "gpu") -> None:
        if when not in ("gpu", "always", "never"):
            raise ValueError(f"when must be gpu, always or never, got {when!r}")
        self.when = when

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wanted = self.when == "always" or (self.when == "gpu" and pl_module.device.type == "cuda")
        if wanted and trainer.world_size == 1 and hasattr(pl_module, "rehearsal") and steps_done(trainer, pl_module) == 0:
            self.rehearse(pl_module, trainer.train_dataloader)

    def rehearse(self, module: Any, loader: Any) -> None:
        shape = "not yet made"
        try:
            with torch.random.fork_rng():
                for batch in module.rehearsal(loader):
                    shape = f"{list(batch.tokens.shape)} tokens" if hasattr(batch, "tokens") else f"{len(batch)} rows"
                    module.loss(batch)[0].backward()
                    trained = [p for p in module.policy.parameters() if p.requires_grad]
                    moments = [torch.zeros_like(p) for p in trained for _ in range(2)]
                    del moments
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            raise ValueError(
                f"the memory does not suffice for the largest micro-batch of this run ({shape}): {str(error).splitlines()[0]} "
                f"Lower stage.micro_tokens (or stage.micro_rows), or the lengths that are allowed; or switch "
                f"policy.gradient_checkpointing on."
            ) from error
        finally:
            module.policy.zero_grad(set_to_none=True)
            if module.device.type == "cuda":
                torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    """torch raises its own error on a GPU, and a plain RuntimeError on the CPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text or "not enough memory" in text
