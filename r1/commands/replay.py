"""Make one step of a run again and say whether it comes out the same: `r1 replay RUN --step N`.

Rollouts, loss and gradient norm are built anew from the run's config, starting at the newest checkpoint before the step (or at step
0) without touching the run's files, with as many threads as the run had, and compared with what the run wrote down. It exits with 0
where everything is the same to the last bit, and 1 where something differs: another machine, another version, or a bug.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.records import Trace


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="r1 replay", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--step", type=int, required=True, help="the training step to make again, from 1")
    parser.add_argument("--from-start", action="store_true", help="make every step from 0 again, whatever checkpoints there are")
    options = parser.parse_args(list(argv))
    try:
        said = replay(options.run, options.step, options.from_start)
    except ValueError as error:
        raise SystemExit(f"r1 replay: {error}") from error
    print("\n".join(text for _, text in said))
    return 0 if all(same for same, _ in said) else 1


def replay(run: Path, step: int, from_start: bool = False) -> list[tuple[bool, str]]:
    """(whether it matches, a sentence) for the loss, the gradient norm and the rollouts of a step. ValueError where the folder is no
    run, or the run never made this step."""
    from r1 import metrics

    recorded = _recorded(run, step)
    threads = _same_threads(run)
    figures, now, again_from = _make_again(run, step, from_start)
    said = [(True, f"step {step} of {run}, made again from step {again_from}"), (True, threads)]
    for name in (metrics.LOSS, metrics.GRAD_NORM, metrics.REWARD):
        if name in recorded:
            same = float(recorded[name]) == figures[name]
            said.append(
                (same, f"{name}: {float(recorded[name])!r} then, {figures[name]!r} now: {'the same' if same else 'DIFFERENT'}")
            )
    return [*said, _rollouts(run, step, now)] if now else said


def _recorded(run: Path, step: int) -> dict[str, str]:
    """The figures of a step in metrics.csv."""
    if not (run / "config.yaml").is_file() or not (run / "metrics.csv").is_file():
        raise ValueError(f"no run at {run}: expected a folder with config.yaml and metrics.csv, as `r1 train` writes it")
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, str] = {}
    for row in rows:
        if row["step"] == str(step):
            found |= {name: value for name, value in row.items() if value}
    if not any(name.startswith("train/") for name in found):
        steps = [int(row["step"]) for row in rows if row.get("train/loss")]
        raise ValueError(f"{run} has no training step {step}" + (f"; it has {min(steps)} to {max(steps)}" if steps else ""))
    return found


def _same_threads(run: Path) -> str:
    """As many CPU threads as the run had: sums of floats come out in another order, and other last digits, with another number."""
    import torch

    manifest = run / "manifest.json"
    wanted = json.loads(manifest.read_text(encoding="utf-8")).get("threads") if manifest.is_file() else None
    if wanted:
        torch.set_num_threads(wanted)
    now = torch.get_num_threads()
    if now == wanted:
        return f"threads: {now}, as then"
    then = f"{wanted} then, which cannot be had here" if wanted else "not known of the run"
    return f"threads: {now} now, {then}: last digits may differ for that alone"


def _make_again(run: Path, step: int, from_start: bool) -> tuple[dict[str, float], list[Trace], int]:
    """The figures and the traces of the step, and the step that it was made again from."""
    from lightning import Callback
    from omegaconf import OmegaConf

    from r1 import checkpoints, repro
    from r1.build import build, finish, identity
    from r1.loggers import Last
    from r1.run import make_stage, quiet

    class Enough(Exception):
        pass

    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            if pl_module.rollout_step == step:
                raise Enough

    quiet()
    warnings.filterwarnings("ignore", message="(?s).*callbacks used to create the checkpoint need to be provided")
    saved: Any = OmegaConf.load(run / "config.yaml")
    cfg = finish(saved, run)
    before = [path for path in checkpoints.all_in(run / "checkpoints") if checkpoints.step_of(path) < step and not from_start]
    repro.seed_everything(cfg.seed)
    stage, loader = make_stage(cfg)
    stage.identity = identity(cfg)
    trainer = build(
        cfg.trainer, logger=(figures := Last()), callbacks=[Stop()], enable_checkpointing=False, default_root_dir=None
    )
    with suppress(Enough):
        trainer.fit(stage, train_dataloaders=loader, ckpt_path=before[-1] if before else None, weights_only=True)
    traces = [trace for group in getattr(stage, "last_groups", []) for trace in group.traces]
    return figures.figures, traces, checkpoints.step_of(before[-1]) if before else 0


def _rollouts(run: Path, step: int, now: list[Trace]) -> tuple[bool, str]:
    """Whether the traces of the step are those in the run's files: prompts, tokens, log-probabilities as stored, scores."""
    from r1.rollout.trace_file import read_traces

    then = [trace for path in run.glob("traces/rollouts.jsonl*") for trace, row in read_traces(path) if row["step"] == step]
    if not then:
        return True, f"rollouts: the run kept none of step {step}"
    same = [_stored(a) == b for a, b in zip(now, then)]
    count = sum(same)
    if count == len(then) == len(now):
        return True, f"rollouts: all {count} completions are the same, with their log-probabilities and scores"
    first = next((b for a, b, ok in zip(now, then, same) if not ok), then[-1])
    return (
        False,
        f"rollouts: {count} of {len(then)} completions are the same; the first that differs is of problem {first.problem.id!r}",
    )


def _stored(trace: Trace) -> Trace:
    """As a trace file keeps it."""
    return replace(trace, logps=[round(logp, 5) for logp in trace.logps])
