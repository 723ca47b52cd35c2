"""A training run from its config: build the parts once, hand them to the stage, fit, keep what is needed to read and repeat it.

The run folder holds config.yaml, manifest.json, metrics.csv, traces/, checkpoints/, hf/ (the policy) and summary.json.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment

from r1 import files, metrics, repro, resume
from r1.build import build, build_all, build_named, build_with, identity, plain, save_config
from r1.callbacks import Interrupted
from r1.loggers import FILE, WandbLogger, read_rows
from r1.redact import redact
from r1.rewards.audit import audit
from r1.schema import ConfigError, locate, parameters
from r1.tasks.first import First

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from r1.rewards import Reward
    from r1.stages.base import Stage


SUMMARY = "summary.json"


def train(cfg: DictConfig) -> float | None:
    """Fit one stage; the value of `optimized_metric`, for sweepers. Started again in its folder, a run goes on where it was."""
    run_dir = Path(cfg.paths.run_dir)
    quiet()
    _possible(cfg)
    repro.seed_everything(cfg.seed)
    _writable(run_dir)
    with _config_errors("ckpt_path"):
        checkpoint = resume.find(cfg.ckpt_path, run_dir)
        content = resume.header(checkpoint)
    done = _finished(run_dir, checkpoint, content, cfg)
    if done is not None:
        return _objective(done, cfg.optimized_metric)
    stage, loader = make_stage(cfg)
    stage.identity, stage.strict_resume = identity(cfg), cfg.ckpt_strict
    benchmarks = build_named(cfg.get("benchmark"))
    callbacks = [c(benchmarks=benchmarks) if isinstance(c, partial) else c for c in build_all(cfg.callbacks)]
    trainer: Trainer = build(
        cfg.trainer, logger=build_all(cfg.logger) or False, callbacks=callbacks, plugins=plugins(cfg.trainer)
    )
    if content:
        with _config_errors("ckpt_path"):
            stage.must_match(content)
    if trainer.is_global_zero:
        _go_on_from(checkpoint, content, run_dir, trainer.loggers)
        save_config(cfg, run_dir, allowed=True)
        _write_json(run_dir / "manifest.json", redact(repro.manifest(plain(cfg))))
    started = time.perf_counter()
    try:
        for logger in trainer.loggers:
            logger.log_hyperparams(redact(plain(cfg)))
        trainer.fit(stage, train_dataloaders=loader, ckpt_path=checkpoint, weights_only=True)
    except Interrupted as stop:
        print(f"{stop}: the same command with ckpt_path=last (or hydra.run.dir={run_dir}) continues it", flush=True)
        raise SystemExit(128 + stop.number) from None
    finally:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.finish()  # a run of its own for the next stage in this process
    if not cfg.trainer.get("fast_dev_run"):
        stage.policy.save(run_dir / "hf")  # all ranks: sharded weights are gathered by all, and the first one writes
    logged = _logged(run_dir) | {name: float(value) for name, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero and not cfg.trainer.get("fast_dev_run"):
        _write_json(run_dir / SUMMARY, summary(logged, stage, time.perf_counter() - started))
    return _objective(logged, cfg.optimized_metric)


def plugins(trainer: DictConfig) -> list[Any]:
    """Those of the config; under SLURM also one that leaves the requeueing to the batch script (docs/scale-out.md): Lightning's own
    handler saves in the middle of a step and goes on from that. An environment in the config stays the only one."""
    given = trainer.get("plugins")
    nodes = [given] if isinstance(given, str | Mapping | None) else given
    found = [build(node) if isinstance(node, Mapping) else node for node in nodes if node is not None]
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()  # Lightning's order: torchrun inside a job wins
    if slurm and not any(isinstance(p, ClusterEnvironment) for p in found):
        found.append(SLURMEnvironment(auto_requeue=False))
    return found


def _go_on_from(checkpoint: Path | None, content: dict[str, Any], run_dir: Path, loggers: list[Any]) -> None:
    """Bring the run folder and the loggers to where the checkpoint stands."""
    (run_dir / SUMMARY).unlink(missing_ok=True)  # of an end that this run has not come to
    if checkpoint is None:
        return resume.rewind(run_dir, step=-1)
    for logger in loggers:
        known = content.get("r1_loggers", {}).get(type(logger).__name__)
        if known and isinstance(logger, WandbLogger):
            logger.resume(known)
    step = int(content["r1"]["state"]["rollout_step"])
    print(f"going on from step {step}: {checkpoint}", flush=True)
    resume.rewind(run_dir, step)


def _finished(run_dir: Path, checkpoint: Path | None, content: dict[str, Any], cfg: DictConfig) -> dict[str, float] | None:
    """The figures of a run that this folder holds to its end; None where there is something left to train, or to refuse."""
    if checkpoint is None or checkpoint.parent.parent != run_dir:
        return None
    then = content.get("r1", {}).get("identity", {})
    if any(then.get(name) != value for name, value in identity(cfg).items()):
        return None
    try:
        figures = json.loads((run_dir / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or a part of one: the end is made again
        return None
    print(f"{run_dir} is finished ({figures['steps']} steps): there is nothing to do. Another folder trains again", flush=True)
    return figures["metrics"]


def _possible(cfg: DictConfig) -> None:
    """Refuse what no part of the config can see alone, before anything is loaded."""
    strategy = cfg.trainer.get("strategy")
    kind = "" if strategy is None or isinstance(strategy, str) else strategy.get("_target_", "")
    if kind.endswith("ModelParallelStrategy") and cfg.policy.get("lora"):
        raise ConfigError(
            "policy/lora with sharded weights (trainer=fsdp2): the KL reference shares the adapter's frozen weights, which sharding would "
            "pull apart. trainer=ddp trains an adapter on several GPUs; policy/lora=null with trainer=fsdp2 trains the whole model."
        )


def _writable(folder: Path) -> None:
    """Say at the start that nothing could be kept, not after the first steps."""
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"paths.run_dir: nothing can be written in {folder} ({error.strerror}); choose another paths.runs"
        ) from error


@contextmanager
def _config_errors(key: str) -> Iterator[None]:
    """A checkpoint or a task that will not do is the user's to choose anew: shown by its key, without a traceback."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def make_stage(cfg: DictConfig) -> tuple[Stage, Any]:
    """The stage that `cfg.stage` names, built from the shared parts its constructor asks for, and the loader of its run."""
    policy = build(cfg.policy, template=build(cfg.template))
    shared = {
        "policy": policy,
        "reward": build(cfg.reward),
        "engine": build_with(cfg.rollout, policy=policy),
        "optimizer": build(cfg.optimizer),
        "objective": build(cfg.get("objective")),
        "advantage": build(cfg.get("advantage")),
    }
    wanted = parameters(locate(cfg.stage._target_)) or {}
    if cfg.audit and "reward" in wanted:
        _refuse_hackable(shared["reward"])
    stage = build_with(cfg.stage, **shared)
    task = build(cfg.task)
    with _config_errors("task"):
        return stage, stage.loader(First(task, cfg.overfit) if cfg.overfit else task)


def _refuse_hackable(reward: Reward) -> None:
    """The fast part of `r1 audit`, a second at the start: a policy finds what a reward pays for."""
    report = audit(reward, fast=True)
    if not report.ok:
        raise ValueError(
            f"{report.text()}\nThis reward pays for tricks. `r1 audit` shows all of them; audit=false trains on it anyway."
        )


def _logged(run_dir: Path) -> dict[str, float]:
    """The last value of every figure in metrics.csv: what was logged before this process went on with the run."""
    found: dict[str, float] = {}
    for row in read_rows(run_dir / FILE):
        found |= {name: float(value) for name, value in row.items() if value and name not in (metrics.STEP, "epoch")}
    return found


def summary(logged: Mapping[str, float], stage: Stage, seconds: float) -> dict[str, Any]:
    """The last value of every logged figure, with steps and seconds: what one run says in one file."""
    figures = {name: round(value, 6) for name, value in logged.items() if math.isfinite(value)}
    return {"stage": type(stage).__name__, "steps": stage.rollout_step, "seconds": round(seconds, 1), "metrics": figures}


def evaluate_all(cfg: DictConfig, show: bool = True) -> float | None:
    """Every benchmark of the config on one policy: a table, evaluations.json (figures), evaluations.jsonl (every answer) and the samples in
    traces/; the first pass@1."""
    import rich

    from r1.analysis.evaluation_table import evaluation_table
    from r1.evaluation.benchmark import evaluate, keep_report, summary
    from r1.policy.placement import sampling_on
    from r1.rollout.trace_file import TraceWriter

    run_dir = Path(cfg.paths.run_dir)
    quiet()
    policy = build(cfg.policy, template=build(cfg.template))
    engine, reward = build_with(cfg.rollout, policy=policy), build(cfg.reward)
    writer = TraceWriter(run_dir / "traces" / "evaluations.jsonl.zst", run=cfg.name)
    reports = {}
    for name, benchmark in build_named(cfg.benchmark).items():
        with sample_bar(name) as progress, sampling_on(policy, cfg.device, engine):
            report, traces = evaluate(policy, engine, benchmark, reward=reward, progress=progress)
        writer.write(traces, step=0, stage="eval", phase=f"eval/{name}")
        keep_report(run_dir, report, step=0)
        reports[name] = summary(report)
        if show:
            rich.print(evaluation_table(reports[name]))
    _write_json(run_dir / "evaluations.json", reports)
    if show:
        print(f"figures and samples are in {run_dir}")
    return next((figures.get("pass@1", figures.get("greedy")) for figures in reports.values()), None)


@contextmanager
def sample_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over samples, for `evaluate(progress=...)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _objective(logged: Mapping[str, Any], name: str | None) -> float | None:
    if name is None:
        return None
    if name not in logged:
        raise ValueError(f"optimized_metric={name} was never logged; logged were {sorted(logged)}")
    return float(logged[name])


def quiet() -> None:
    """Advertisements, shard bars and warnings about what we do on purpose would bury the run's own table."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for text in (
        "Found .* in eval mode",
        ".*LeafSpec.*",
        ".*does not have many workers",
        "Experiment logs directory",
        "`gradient_checkpointing_enable`",
    ):
        warnings.filterwarnings("ignore", message=text)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    files.replace(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
