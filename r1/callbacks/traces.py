"""Keep every completion: rollouts and evaluation samples in the run's trace files, a few of them in a W&B table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from r1.callbacks.hooks import rollouts, steps_done
from r1.records import EvalReport, Trace
from r1.rollout.trace_file import TraceWriter

COLUMNS = ("step", "problem", "gold", "completion", "reward", "parts", "advantage", "finish")
WAITING = 16  # writes that are kept in memory while the disk refuses them


class TraceCallback(Callback):
    """Writes traces/rollouts.jsonl.zst and traces/evaluations.jsonl.zst in the run folder: each trace with its score, advantage,
    log-probabilities, step and phase ("rollout" or "eval/<benchmark>"). A resumed run appends. What the disk refuses waits in memory
    for the next write.

    every_n_steps  keep the rollouts of every n-th step; evaluations are kept always
    compress       zstd; plain .jsonl otherwise
    table_rows     completions of a step shown as a W&B table where there is a W&B logger; 0 shows none
    """

    def __init__(
        self,
        run_dir: str | Path,
        every_n_steps: int = 1,
        compress: bool = True,
        table_rows: int = 8,
        table_every_n_steps: int = 20,
    ) -> None:
        if every_n_steps < 1 or table_every_n_steps < 1:
            raise ValueError(
                f"every_n_steps and table_every_n_steps must be at least 1, got {every_n_steps} and {table_every_n_steps}"
            )
        self.folder = Path(run_dir) / "traces"
        self.every_n_steps, self.compress = every_n_steps, compress
        self.table_rows, self.table_every_n_steps = table_rows, table_every_n_steps
        self.writers: dict[str, TraceWriter] = {}
        self.waiting: list[tuple[str, Sequence[Trace], dict[str, Any]]] = []  # (family, traces, step ...) not yet on disk

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        groups, step = rollouts(pl_module), steps_done(trainer, pl_module)
        if groups and step % self.every_n_steps == 0:
            traces = [trace for group in groups for trace in group.traces]
            self._write("rollouts", traces, step, pl_module, "rollout")
            if self.table_rows and step % self.table_every_n_steps == 0:
                self._table(trainer, "samples", traces, step)

    def on_evaluation(
        self, trainer: Trainer, module: LightningModule, report: EvalReport, traces: Sequence[Trace], step: int
    ) -> None:
        if trainer.is_global_zero:
            self._write("evaluations", traces, step, module, f"eval/{report.benchmark}")
            if self.table_rows:
                self._table(trainer, f"samples/{report.benchmark}", traces, step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_waiting(pl_module)

    def _write(self, family: str, traces: Sequence[Trace], step: int, module: LightningModule, phase: str) -> None:
        self.waiting.append((family, traces, {"step": step, "stage": type(module).__name__.lower(), "phase": phase}))
        self._write_waiting(module)

    def _write_waiting(self, module: LightningModule) -> None:
        try:
            while self.waiting:
                family, traces, told = self.waiting[0]
                self._writer(family, module).write(traces, **told)
                del self.waiting[0]
        except OSError as error:
            lost, self.waiting = self.waiting[:-WAITING], self.waiting[-WAITING:]
            said = f"; {len(lost)} older ones are given up" if lost else ""
            warnings.warn(
                f"traces cannot be written, those of {len(self.waiting)} steps wait in memory{said}: {error}", stacklevel=1
            )

    def _writer(self, family: str, module: LightningModule) -> TraceWriter:
        if family not in self.writers:
            rank = f"-rank{module.global_rank}" if module.global_rank else ""  # every rank keeps the rollouts it made
            self.writers[family] = TraceWriter(self.folder / f"{family}{rank}.jsonl{'.zst' if self.compress else ''}")
        return self.writers[family]

    def _table(self, trainer: Trainer, key: str, traces: Sequence[Trace], step: int) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):
                logger.log_table(
                    key=key, columns=list(COLUMNS), data=[_row(trace, step) for trace in spread(traces, self.table_rows)]
                )


def spread(traces: Sequence[Trace], count: int) -> list[Trace]:
    """`count` of the traces, evenly over the list, so that different problems are seen.

    >>> spread([0, 1, 2, 3, 4, 5], 3)
    [0, 2, 4]
    """
    count = min(count, len(traces))
    return [traces[i * len(traces) // count] for i in range(count)]


def _row(trace: Trace, step: int) -> list[Any]:
    score = trace.score
    parts = ", ".join(f"{name} {value:.3g}" for name, value in score.parts.items() if value is not None) if score else ""
    return [
        step,
        trace.problem.question,
        trace.problem.answer,
        trace.text,
        score.total if score else None,
        parts,
        trace.advantage,
        trace.finish_reason,
    ]
