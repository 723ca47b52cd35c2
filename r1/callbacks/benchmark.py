"""Evaluate while training: pass@1, majority votes and behaviour, for any LightningModule that has a policy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import Callback, LightningModule, Trainer

from r1 import metrics
from r1.callbacks.hooks import announce, log_figures, steps_done
from r1.evaluation.benchmark import Benchmark, assess, evaluate, figures, keep_report
from r1.records import EvalReport, Group, Trace
from r1.rollout.hf import HFEngine

WAITING = 64  # reports that are kept in memory while the disk refuses them

if TYPE_CHECKING:
    from r1.rollout.engine import Engine


class BenchmarkCallback(Callback):
    """Logs `eval/<benchmark>/pass@1`, `cons@<k>` ... with `_low` and `_high`, every n steps, at the start and at the end.

    The module needs a `.policy`; its `.engine` samples if it has one, else a Hugging Face engine on the policy does. Weights
    are those of the moment: the engine is synchronised before every evaluation. With several ranks each samples its share of
    the problems (every rank needs whole weights) and all of them count.

    benchmarks     {name: Benchmark}
    every_n_steps  0 evaluates at the start and the end only
    run_dir        where evaluations.jsonl goes, the per-problem answers that paired comparisons need; None keeps it in memory. What
                   the disk refuses waits in memory for the next evaluation and the end of the run
    """

    def __init__(
        self,
        benchmarks: Mapping[str, Benchmark],
        every_n_steps: int = 20,
        at_start: bool = True,
        at_end: bool = True,
        run_dir: str | Path | None = None,
    ) -> None:
        if every_n_steps < 0:
            raise ValueError(f"every_n_steps must be 0 (start and end only) or more, got {every_n_steps}")
        self.benchmarks = dict(benchmarks)
        self.every_n_steps, self.at_start, self.at_end = every_n_steps, at_start, at_end
        self.run_dir = Path(run_dir) if run_dir else None
        self.history: dict[str, list[tuple[int, EvalReport]]] = {name: [] for name in self.benchmarks}
        self.waiting: list[tuple[EvalReport, int]] = []  # (report, step) not yet on disk
        self._engine: Engine | None = None
        self._last = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not hasattr(pl_module, "policy"):
            raise ValueError(f"BenchmarkCallback samples from `module.policy`, which {type(pl_module).__name__} does not have")
        if self.at_start and steps_done(trainer, pl_module) == 0:
            self.run(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = steps_done(trainer, pl_module)
        if self.every_n_steps and step and step % self.every_n_steps == 0:
            self.run(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.at_end:
            self.run(trainer, pl_module)
        self._write_waiting()

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._last = state_dict["last"]  # a resumed run does not evaluate its first step again

    def run(self, trainer: Trainer, module: LightningModule) -> None:
        """Evaluate every benchmark now, once a step."""
        step = steps_done(trainer, module)
        if step == self._last:
            return
        self._last = step
        for name, benchmark in self.benchmarks.items():
            report, traces = self._evaluate(trainer, module, benchmark, step)
            self.history[name].append((step, report))
            log_figures(trainer, {metrics.evaluation(name, figure): value for figure, value in figures(report).items()}, step)
            if trainer.is_global_zero:
                self._write(replace(report, benchmark=name), step)
            announce(trainer, module, report, traces, step)

    def _evaluate(
        self, trainer: Trainer, module: LightningModule, benchmark: Benchmark, step: int
    ) -> tuple[EvalReport, list[Trace]]:
        engine = self._engine_of(module)
        version, reward = int(getattr(module, "updates", step)), getattr(module, "reward", None)
        if trainer.world_size == 1:
            return evaluate(module.policy, engine, benchmark, reward=reward, version=version)
        share = replace(
            benchmark,
            problems=list(benchmark.problems)[trainer.global_rank :: trainer.world_size] or list(benchmark.problems)[:1],
        )
        report, traces = evaluate(module.policy, engine, share, reward=reward, version=version)
        parts: list[list[Trace]] = [[] for _ in range(trainer.world_size)]
        torch.distributed.all_gather_object(parts, traces)
        groups = _regrouped(benchmark, [trace for part in parts for trace in part])
        return assess(groups, benchmark, report.setting | {"problems": len(groups)}), [
            t for group in groups for t in group.traces
        ]

    def _engine_of(self, module: LightningModule) -> Engine:
        engine = getattr(module, "engine", None) or self._engine
        if engine is None:
            engine = self._engine = HFEngine(module.policy)
        return engine

    def _write(self, report: EvalReport, step: int) -> None:
        self.waiting.append((report, step))
        self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            while self.waiting:
                if self.run_dir is not None:
                    keep_report(self.run_dir, *self.waiting[0])
                del self.waiting[0]
        except OSError as error:
            lost, self.waiting = self.waiting[:-WAITING], self.waiting[-WAITING:]
            said = f"; {len(lost)} older ones are given up" if lost else ""
            warnings.warn(
                f"evaluations cannot be written, the answers of {len(self.waiting)} wait in memory{said}: {error}", stacklevel=1
            )


def _regrouped(benchmark: Benchmark, traces: list[Trace]) -> list[Group]:
    """Groups in the benchmark's order; a problem that a rank drew to keep busy counts once."""
    by_problem: dict[str, list[Trace]] = {}
    for trace in traces:
        by_problem.setdefault(trace.problem.id, []).append(trace)
    return [Group(problem, tuple(by_problem[problem.id][: benchmark.k])) for problem in benchmark.problems]
