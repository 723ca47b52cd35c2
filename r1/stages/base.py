"""What every stage shares: one policy, one reward, manual optimisation over micro-batches whose losses add up.

Normalisers live in the token weights (see `losses.grpo`), so the losses of micro-batches, and of ranks, are summed, never
averaged: the gradient of a step does not depend on how it was cut.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from lightning import LightningModule
from r1_kernels import Stats
from torch import Tensor
from torch.optim import Optimizer

from r1 import checkpoints, metrics, repro
from r1.policy.placement import warn_of_narrow_weights
from r1.policy.sharding import from_all_ranks, is_sharded, shard
from r1.records import Batch
from r1.rewards import Reward
from r1.stages.optimizers import Schedule, grad_norm

T = TypeVar("T")
LossOf = Callable[[Any], tuple[Tensor, Stats | None]]  # of one micro-batch


class Stage(LightningModule):
    """A LightningModule with a policy, a reward, an optimiser and its schedule.

    policy          what is trained: a `Policy`, or a reward model's `Scorer`
    policy, reward  built once and shared: GRPO trains on the reward, supervised stages filter their examples with it
    optimizer       makes the optimiser of a policy (see `stages.optimizers`)
    steps           training steps of the whole run; the loader has this length
    max_grad_norm   gradient clipping by total norm; 0 switches it off
    stop_after      stop the run after so many steps in a row with a non-finite loss or gradient
    """

    counters: tuple[str, ...] = ("rollout_step", "skipped_in_a_row")  # what a checkpoint keeps beside the weights

    def __init__(
        self,
        policy: Any,
        reward: Reward | None,
        optimizer: Callable[[Any], Optimizer],
        schedule: Schedule | None = None,
        steps: int = 100,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        warn_of_narrow_weights(policy)
        if steps < 1:
            raise ValueError(f"a stage needs at least one step, got steps={steps}")
        self.automatic_optimization = False
        self.policy = policy
        self.reward = reward
        self.make_optimizer = optimizer
        self.schedule = schedule or Schedule()
        self.steps = steps
        self.max_grad_norm = max_grad_norm
        self.stop_after = stop_after
        self.seed = seed
        self.rollout_step = 0  # training steps done: the x-axis of every logged value
        self.skipped_in_a_row = 0
        self.seconds: dict[str, float] = {}
        self.identity: dict[str, Any] = {}  # the config that a checkpoint must share with a run that goes on from it
        self.strict_resume = True
        self.optimizer_settings: list[dict[str, Any]] = []  # of each group, as the config has them

    @property
    def updates_per_step(self) -> int:
        return 1

    def configure_model(self) -> None:
        """Shard the policy where the strategy asks for it (trainer=fsdp2); Lightning calls this once the ranks are there."""
        mesh = self.device_mesh
        if mesh is None or is_sharded(self.policy):
            return
        mixed = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
        for module in self.sharded_modules():
            shard(module, mesh["data_parallel"], mixed)

    def sharded_modules(self) -> list[Any]:
        """The models that are too large for one rank."""
        return [self.policy]

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.policy)
        self.optimizer_settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        scheduler = self.schedule.attach(optimizer, self.steps * self.updates_per_step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        """A run that goes on with other settings (`ckpt_strict=false`) has the optimiser's of now: its state brought those of then."""
        if self.strict_resume:
            return
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        scheduler.base_lrs = [settings["lr"] for settings in self.optimizer_settings]
        for group, settings, share in zip(optimizer.param_groups, self.optimizer_settings, scheduler.lr_lambdas, strict=True):
            group.update(settings, initial_lr=settings["lr"], lr=settings["lr"] * share(scheduler.last_epoch))

    def optimise(self, batches: Sequence[Any], loss_of: LossOf) -> tuple[Stats | None, dict[str, float]]:
        """One optimiser update from micro-batches. Their statistics, added up, and the figures of the update.

        A non-finite gradient leaves the weights bitwise as they were; the skip is counted and a row of them stops the run.
        """
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        figures = {metrics.LEARNING_RATE: optimizer.param_groups[0]["lr"], metrics.SKIPPED_UPDATES: 0.0}
        rounds = self._most_over_ranks(len(batches))
        if not rounds:  # nothing to learn on any rank: no update, and no momentum step either
            scheduler.step()
            return None, figures | {metrics.LOSS: 0.0, metrics.GRAD_NORM: 0.0}
        optimizer.zero_grad()
        parts, total = [], torch.zeros((), device=self.device)
        for batch in [*batches, *[None] * (rounds - len(batches))]:
            loss, part = loss_of(batch) if batch is not None else (self.policy.idle(), None)
            self.manual_backward(loss * self.trainer.world_size)  # Lightning's DDP averages over ranks; our weights want the sum
            parts.append(part)
            total += loss.detach()
        norm = grad_norm(self.policy.parameters(), self.max_grad_norm)
        loss, broken = self.over_ranks(float(total), float(not (torch.isfinite(norm) and torch.isfinite(total))))
        finite = not broken  # on any rank: all skip together, or their weights would part
        if finite:
            optimizer.step()
        self._count_skips(finite, norm, total)
        scheduler.step()
        stats = self.stats_over_ranks(added(parts))
        return stats, figures | {metrics.LOSS: loss, metrics.GRAD_NORM: float(norm), metrics.SKIPPED_UPDATES: float(not finite)}

    def _count_skips(self, finite: bool, norm: Tensor, loss: Any) -> None:
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= self.stop_after:
            raise FloatingPointError(
                f"{self.skipped_in_a_row} updates in a row had a non-finite gradient (loss {float(loss)}, norm {float(norm)}) and were "
                f"skipped; the weights are still those of the last good update. Lower the learning rate, or look at the "
                f"rewards and log-probabilities in this run's traces."
            )

    def _most_over_ranks(self, count: int) -> int:
        if self.trainer.world_size == 1:
            return count
        return int(self.all_gather(torch.tensor(count, device=self.device)).max())

    def side_by_side(self, batches: Sequence[Batch], compute: Callable[[Batch], T]) -> list[T]:
        """`compute`, a forward pass without gradient, on each batch; and on nothing as often as another rank has more of them,
        where ranks gather weights together: they would wait for this one."""
        rounds = self._most_over_ranks(len(batches)) if is_sharded(self.policy) else len(batches)
        done = [compute(batch) for batch in batches]
        for _ in range(rounds - len(batches)):
            compute(self.policy.idle_batch())
        return done

    def my_share(self, items: Sequence[T]) -> list[T]:
        """What this rank works on of a step that every rank was given whole: whole groups, whole examples."""
        return list(items[self.global_rank :: self.trainer.world_size])

    def over_ranks(self, *values: float) -> list[float]:
        """The sums of these numbers over all ranks."""
        if self.trainer.world_size == 1:
            return list(values)
        gathered = self.all_gather(torch.tensor(values, dtype=torch.float64, device=self.device))
        return gathered.reshape(-1, len(values)).sum(0).tolist()

    def stats_over_ranks(self, stats: Stats | None) -> Stats | None:
        """The statistics of every rank's micro-batches, added up; None where no rank had any."""
        return added(from_all_ranks(stats and stats.to("cpu")))

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Adds the seconds spent inside to this step's phase times."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - started

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Whatever draws from the global generators in a step (dropout, a reward of your own) draws the same after a resume."""
        repro.seed_step(self.seed, type(self).__name__, self.rollout_step, self.global_rank)

    def log_step(self, values: dict[str, float]) -> None:
        """Log one step's values with the phase times, on the step axis, and count the step.

        The loggers are handed them at once: the trainer would do it after the callbacks, and a checkpoint that a callback saves
        must not be ahead of what was logged.
        """
        self.rollout_step += 1
        times = {metrics.phase_time(phase): seconds for phase, seconds in self.seconds.items()}
        times[metrics.STEP_TIME] = sum(self.seconds.values())
        self.seconds = {}
        figures = {**values, **times}
        self.log_dict(figures, logger=False, rank_zero_only=True)
        self.trainer.logged_metrics.update({name: torch.tensor(value) for name, value in figures.items()})
        for logger in self.trainer.loggers:
            logger.log_metrics(figures, step=self.rollout_step)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Loaders hand over records, not tensors; `optimise` computes on tensors that are made of them."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["r1"] = {
            "format": checkpoints.FORMAT,
            "identity": self._identity(),
            "state": {name: getattr(self, name) for name in self.counters},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.must_match(checkpoint)
        for name, value in checkpoint["r1"]["state"].items():
            setattr(self, name, value)

    def must_match(self, checkpoint: dict[str, Any]) -> None:
        """Raises BadCheckpoint for a checkpoint of another program, OtherRun, naming what differs, for one of another stage, reward,
        tokenizer or any other setting; with `strict_resume` off it warns."""
        different = list(checkpoints.differences(checkpoints.ours(checkpoint)["identity"], self._identity()))
        if different and self.strict_resume:
            raise checkpoints.OtherRun(
                "the checkpoint belongs to a run with other settings, so going on from it would continue neither:\n  "
                + "\n  ".join(different)
                + "\nUse the settings of the checkpoint, or ckpt_strict=false to go on with those of now."
            )
        for line in different:
            warnings.warn(f"resuming with other settings: {line}", stacklevel=1)

    def _identity(self) -> dict[str, Any]:
        return {**self.identity, "stage_class": type(self).__name__, "tokenizer": repro.fingerprint(self.policy.tokenizer)}


def added(parts: Iterable[Stats | None]) -> Stats | None:
    """The sum of those that are there; None where none is."""
    found = [part for part in parts if part is not None]
    return sum(found[1:], found[0]) if found else None
