"""Where figures go: metrics.csv of the run folder, which a resumed run continues, and W&B, which never holds a run up."""

from __future__ import annotations

import csv
import io
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from r1 import files
from r1 import metrics as names

FILE = "metrics.csv"


class Last(loggers.Logger):
    """Keeps the figures of the last step in memory, in full precision (the trainer's own metrics are float32)."""

    name, version = "last", ""

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, float] = {}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Not kept."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.figures = dict(metrics)


class CSVLogger(loggers.Logger):
    """Appends rows to metrics.csv: the step, and a column for each figure. A figure's first row rewrites the file with its column.

    The file is always a whole one: a row is written at once, and a rewrite goes to a second file that replaces the first. When
    the disk refuses, the rows wait in memory for the next save.

    save_dir   the run folder
    save_every rows kept back before they are written; a checkpoint and the end of the run write what there is
    """

    def __init__(self, save_dir: str | Path, save_every: int = 20) -> None:
        super().__init__()
        if save_every < 1:
            raise ValueError(f"save_every must be at least 1, got {save_every}")
        self.folder, self.save_every = Path(save_dir), save_every
        self.rows: list[dict[str, float]] = []
        self._warned = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def path(self) -> Path:
        return self.folder / FILE

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows.append({names.STEP: step, **{name: float(value) for name, value in metrics.items()}})
        if len(self.rows) >= self.save_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        try:
            self._save()
        except OSError as error:
            if not self._warned:
                warnings.warn(f"{self.path} cannot be written, its rows wait in memory: {error}", stacklevel=1)
            self._warned = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    def _save(self) -> None:
        if not self.rows:
            return
        columns = read_columns(self.path)
        fresh = sorted({name for row in self.rows for name in row} - set(columns))
        if fresh:
            old = read_rows(self.path)
            write_rows(self.path, [*old, *self.rows], sorted([*columns, *fresh]))
        else:
            files.append(self.path, _text(self.rows, columns, header=False).encode())
        self.rows, self._warned = [], False


def read_columns(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics.csv; a last line that was torn by a kill is left out."""
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return list(csv.DictReader(io.StringIO(whole)))


def write_rows(path: Path, rows: list[Any], columns: list[str]) -> None:
    files.replace(path, _text(rows, columns, header=True).encode())


def _text(rows: list[Any], columns: list[str], header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class WandbLogger(loggers.WandbLogger):
    """W&B for a run that must not wait for it: without a key, a server or an answer within `patience` seconds it writes to disk
    instead (`wandb sync` uploads that later) and says so once; an error while logging switches it off, never the run.

    patience  seconds for the start, and again for the last uploads in `finish`; W&B's service may take one more to end
    """

    def __init__(
        self,
        save_dir: str | Path,
        project: str = "r1",
        name: str | None = None,
        tags: list[str] | None = None,
        offline: bool = True,
        entity: str | None = None,
        group: str | None = None,
        id: str | None = None,
        patience: float = 4.0,
    ) -> None:
        if patience <= 0:
            raise ValueError(f"patience must be more than 0 seconds, got {patience}")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # reports of W&B's own errors would hold the exit up
        import wandb

        settings = wandb.Settings(init_timeout=patience, login_timeout=patience)
        super().__init__(
            name, save_dir, offline=offline, id=id, project=project, tags=tags, entity=entity, group=group, settings=settings
        )
        self._wandb_init.pop("anonymous", None)  # no longer a setting of W&B's, which warns at every start that it was given
        self._experiment: Any = None
        self._offline: bool = offline
        self.patience = patience
        self._off = False

    def resume(self, run_id: str) -> None:
        """Go on in this W&B run. Before the first figure is logged."""
        self._id = self._wandb_init["id"] = run_id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is not None or self._offline:
            return super().experiment
        try:
            return super().experiment
        except Exception as error:  # UsageError (no key), CommError (no server), AuthenticationError, timeouts: the same to a run
            print(
                f"W&B is not to be had ({_first_line(error)}): this run is written to disk, `wandb sync` uploads it later",
                flush=True,
            )
            self._offline, self._wandb_init["mode"] = True, "offline"  # the environment is read only once by W&B
            return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._never_raise(lambda: super(WandbLogger, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        self._never_raise(lambda: super(WandbLogger, self).log_hyperparams(params))

    @rank_zero_only
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        self._never_raise(lambda: super(WandbLogger, self).log_table(*args, **kwargs))

    def _never_raise(self, log: Callable[[], Any]) -> None:
        if self._off:
            return
        try:
            log()
        except Exception as error:
            if not self._off:
                warnings.warn(f"W&B failed and is switched off for this run: {_first_line(error)}", stacklevel=1)
            self._off = True

    @rank_zero_only
    def finish(self) -> None:
        """End the W&B run; after `patience` seconds the rest of the upload is left to `wandb sync`."""
        if self._experiment is None:
            return
        import wandb

        run, self._experiment = self._experiment, None
        if _aside(lambda: self._never_raise(run.finish), self.patience):
            return
        print(f"W&B was still uploading after {self.patience:g} s; what it did not send is in {self.save_dir}/wandb", flush=True)
        self._off = True  # nothing is said about the end of its service, which comes now:
        _aside(wandb.teardown, seconds=1.0)  # else W&B waits at exit for as long as its server does not answer


def _aside(work: Callable[[], Any], seconds: float) -> bool:
    """Whether `work` was done within `seconds`; else it goes on in a thread that no program waits for."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
