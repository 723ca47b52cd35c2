"""Starting a run again: which checkpoint it goes on from, whether it may, and what of its files is later than that checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1 import checkpoints, loggers, metrics
from r1.analysis.reading import EVALUATIONS
from r1.rollout.trace_file import cut_after

FOLDER = "checkpoints"


def find(ckpt_path: str | None, run_dir: Path) -> Path | None:
    """The checkpoint to go on from; None to start at step 0.

    auto, last  the newest one in the run folder that can be read, if there is one
    null        none; raises ValueError where the folder holds a run that would be overwritten
    a path      that file

    Raises ValueError also where Lightning would take up, for want of a checkpoint, what its SLURM handler saved in the middle of a step.
    """
    folder = run_dir / FOLDER
    if ckpt_path in ("auto", "last"):
        found = checkpoints.newest(folder)
        if found is None and checkpoints.all_in(folder):
            raise ValueError(f"no checkpoint in {folder} can be read; move the folder away to start again from step 0")
        if found is not None:
            return found
        if ckpt_path == "last":
            print(f"ckpt_path=last: there is no checkpoint in {folder} yet, so this run starts at step 0", flush=True)
    elif ckpt_path is None:
        if checkpoints.all_in(folder):
            raise ValueError(
                f"{run_dir} holds a run already: ckpt_path=auto goes on with it, hydra.run.dir=<folder> starts elsewhere"
            )
    else:
        checkpoints.check(Path(ckpt_path))
        return Path(ckpt_path)
    torn = next(run_dir.glob("hpc_ckpt_*"), None)
    if torn is not None:
        raise ValueError(f"{torn} was saved in the middle of a step, so a run cannot go on from it; remove it to start at step 0")
    return None


def header(checkpoint: Path | None) -> dict[str, Any]:
    """What a checkpoint says of its run, without its tensors. Empty for none."""
    if checkpoint is None:
        return {}
    content = checkpoints.read(checkpoint)
    return {name: content[name] for name in ("r1", "r1_loggers") if name in content} | {"optimizer_states": []}


def rewind(run_dir: Path, step: int) -> None:
    """Take what is later than `step` out of metrics.csv, evaluations.jsonl and traces/, and put later checkpoints aside: the resumed
    run writes it again.

    step  the step of the checkpoint; -1 for a run that starts anew, whose folder then holds what a run wrote that died before its
          first checkpoint
    """
    for path in checkpoints.put_aside(run_dir / FOLDER, step):
        print(f"{path} is of the steps that are made again; remove it when it is not needed", flush=True)
    table = run_dir / loggers.FILE
    rows = loggers.read_rows(table)
    kept = [row for row in rows if float(row[metrics.STEP] or "inf") <= step]
    if table.is_file():
        loggers.write_rows(table, kept, loggers.read_columns(table))
    gone = len(rows) - len(kept)
    for path in [run_dir / EVALUATIONS, *sorted((run_dir / "traces").glob("*.jsonl*"))]:
        if path.is_file() and not path.name.endswith(".new"):
            gone += cut_after(path, step)
    if gone:
        print(f"{gone} rows of steps after {max(step, 0)} were taken out of {run_dir}: they are made again", flush=True)
