"""Reflection, language mixing and repetition of the rollouts, a value a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer

from r1 import metrics
from r1.analysis.reflection import mixes_languages, reflects, repetition
from r1.callbacks.hooks import log_figures, rollouts, steps_done
from r1.records import Group


class ReflectionCallback(Callback):
    """Logs what nobody rewards, from the groups of the last step: means over the completions of all ranks, whatever the loss
    leaves out."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if hasattr(pl_module, "last_groups"):  # on every rank, also one that was dealt no group: they add up together
            found = behaviour(rollouts(pl_module), getattr(pl_module, "over_ranks", _alone))
            log_figures(trainer, found, steps_done(trainer, pl_module))


def _alone(*values: float) -> list[float]:
    return list(values)


def behaviour(groups: Sequence[Group], over_ranks: Callable[..., list[float]] = _alone) -> dict[str, float]:
    """Shares over the completions of these groups: every completion weighs the same, whatever the size of its group or rank.

    over_ranks  values -> their sums over all ranks (`Stage.over_ranks`)
    """
    texts = [trace.text for group in groups for trace in group.traces]
    columns = {
        metrics.REFLECTION_RATE: [float(reflects(text)) for text in texts],
        metrics.MIXING_RATE: [float(mixes_languages(text)) for text in texts],
        metrics.REPETITION: [repetition(text) for text in texts],
    }
    count, *sums = over_ranks(float(len(texts)), *(sum(values) for values in columns.values()))
    return {name: total / count for name, total in zip(columns, sums)} if count else {}
