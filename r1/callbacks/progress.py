"""The run as one table that grows in the terminal, or as plain lines where the output is no terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r1 import metrics
from r1.callbacks.hooks import steps_done, steps_in_all
from r1.records import EvalReport, Trace

Show = Callable[[float], str]
Column = tuple[str, str, Show]  # heading, metric, format


def percent(value: float) -> str:
    return f"{100 * value:.0f}%"


COLUMNS: tuple[Column, ...] = (
    ("loss", metrics.LOSS, lambda v: f"{v:.3f}"),
    ("reward", metrics.REWARD, lambda v: f"{v:.3f}"),
    ("length", metrics.MEAN_LENGTH, lambda v: f"{v:.0f}"),
    ("reflects", metrics.REFLECTION_RATE, percent),
    ("2 langs", metrics.MIXING_RATE, percent),
    ("no signal", metrics.ZERO_STD, percent),
    ("KL", metrics.KL, lambda v: f"{v:.3f}"),
    ("clip", metrics.CLIP_REGION, lambda v: f"{100 * v:.1f}%"),
    ("tok/s", metrics.TOKENS_PER_SECOND, lambda v: f"{v:,.0f}"),
)


class ProgressCallback(Callback):
    """One line a step: the reward and its parts, pass@1 and vote of the last evaluation, length, reflection, KL, clip, speed.

    rows           lines kept on a live terminal
    every_n_steps  how often a plain line is printed where the output is no terminal
    live           True or False to choose; None looks at the terminal
    """

    def __init__(self, rows: int = 12, every_n_steps: int = 10, live: bool | None = None, title: str = "") -> None:
        if every_n_steps < 1 or rows < 1:
            raise ValueError(f"every_n_steps and rows must be at least 1, got {every_n_steps} and {rows}")
        self.every_n_steps, self.live, self.title = every_n_steps, live, title
        self.lines: deque[tuple[int, dict[str, float]]] = deque(maxlen=rows)
        self.evaluations: dict[str, float] = {}  # "pass@1" -> value, of the first benchmark
        self._benchmark: str | None = None
        self._display: Live | None = None
        self._started, self._first_step, self._step = 0.0, 0, 0
        self._total: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.perf_counter()
        self._first_step = self._step = steps_done(trainer, pl_module)
        self._total = steps_in_all(trainer, pl_module)
        live = sys.stdout.isatty() if self.live is None else self.live
        if live and trainer.is_global_zero:
            self._display = Live(self._picture(), console=Console(), refresh_per_second=4, transient=False)
            self._display.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not trainer.is_global_zero:
            return
        self._step = steps_done(trainer, pl_module)
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
        self.lines.append((self._step, values))
        if self._display is not None:
            self._display.update(self._picture())
        elif self._step % self.every_n_steps == 0 or self._step == self._total:
            print(self.plain(self._step, values), flush=True)

    def on_evaluation(
        self, trainer: Trainer, module: LightningModule, report: EvalReport, traces: Sequence[Trace], step: int
    ) -> None:
        """The first benchmark is the one whose pass@1 and vote stand in the table."""
        self._benchmark = self._benchmark or report.benchmark
        if report.benchmark != self._benchmark or not trainer.is_global_zero:
            return
        self.evaluations = {"pass@1": report.pass_at_1.value} | {f"cons@{k}": e.value for k, e in report.cons_at.items()}
        low, high = report.pass_at_1.problems
        votes = "".join(f", {name} {percent(value)}" for name, value in self.evaluations.items() if name != "pass@1")
        text = f"{report.benchmark} after step {step}: pass@1 {percent(report.pass_at_1.value)} ({percent(low)}-{percent(high)}){votes}"
        if self._display is None:
            print(text, flush=True)
        else:
            self._display.console.print(Text(text, "dim"))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()  # a live display would hide the traceback

    def _close(self) -> None:
        if self._display is not None:
            self._display.update(self._picture())
            self._display.stop()
            self._display = None

    def cells(self, values: Mapping[str, float]) -> dict[str, str]:
        """Heading -> text, for the figures this run logs."""
        cells = {heading: show(values[name]) for heading, name, show in COLUMNS if name in values}
        before, after = metrics.part_mean("\0").split("\0")
        parts = {
            n.removeprefix(before).removesuffix(after): v for n, v in values.items() if n.startswith(before) and n.endswith(after)
        }
        return {**{name: f"{value:.2f}" for name, value in parts.items()}, **cells}

    def plain(self, step: int, values: Mapping[str, float]) -> str:
        """One line for a log file."""
        of = f"/{self._total}" if self._total else ""
        cells = {**self.cells(values), **{name: percent(value) for name, value in self.evaluations.items()}}
        return f"step {step}{of}  " + "  ".join(f"{name} {text}" for name, text in cells.items()) + f"  {self._remaining()}"

    def _picture(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, title=self.title or None, title_justify="left", pad_edge=False)
        table.add_column("step", justify="right")
        rows = [(step, self.cells(values)) for step, values in self.lines]
        headings = list(dict.fromkeys(heading for _, cells in rows for heading in cells))
        for heading in headings:
            table.add_column(heading, justify="right")
        for step, cells in rows:
            table.add_row(str(step), *(cells.get(heading, "") for heading in headings))
        bar = Table.grid(padding=(0, 2))
        shown = "  ".join(f"{name} {percent(value)}" for name, value in self.evaluations.items())
        bar.add_row(
            ProgressBar(total=self._total or 1, completed=self._step, width=30),
            f"{self._step}/{self._total or '?'}",
            shown,
            self._remaining(),
        )
        return Group(table, bar)

    def _remaining(self) -> str:
        done = self._step - self._first_step
        if not self._total or not done:
            return ""
        seconds = (time.perf_counter() - self._started) / done * (self._total - self._step)
        minutes, seconds = divmod(round(seconds), 60)
        return f"{minutes}:{seconds:02d} left"
