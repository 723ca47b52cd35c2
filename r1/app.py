"""Make a command of a function of a config: Hydra's overrides, sweeps and flags, with errors that one can read."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from r1.build import CONF, finish, save_config
from r1.config_help import CONFIG_ERRORS, explain, show
from r1.redact import scrub, secret_overrides
from r1.schema import ConfigError

_FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


def hydra_app(
    config_name: str, after_sweep: Callable[[Path], None] | None = None
) -> Callable[[Callable[[DictConfig], Any]], Callable[..., Any]]:
    """Turn `main(cfg)` into `main(argv)`.

    The function gets its config resolved, validated, printed and stored in the run folder. What it returns is the objective
    of a sweeper, and `main(argv)` returns that of the last job. Works in any folder: the configs are found from `__file__`.

    after_sweep  called with the sweep's folder when its jobs are over, also when some of them failed
    """

    def decorate(run: Callable[[DictConfig], Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def main(argv: Sequence[str] | None = None) -> Any:
            arguments = list(sys.argv[2:] if argv is None else argv)
            if {"--help", "-h"} & set(arguments):
                arguments.append(f"hydra.help.header={quoted((sys.modules[run.__module__].__doc__ or '').strip())}")
            command = run.__module__.rpartition(".")[2]
            traceback_wanted = os.environ.get("HYDRA_FULL_ERROR")
            job = _Job(run, [_program(), command, *_flags(arguments)], traceback_wanted)
            hydra_main = hydra.main(config_path=str(CONF), config_name=config_name, version_base="1.3")(job)
            # HYDRA_FULL_ERROR=1 makes Hydra raise, where it would print and exit before a better message can be made.
            with _argv([sys.argv[0], *arguments, *_rank_overrides()]), _environ("HYDRA_FULL_ERROR", "1"):
                SweepFolder.last = None
                try:
                    try:
                        _refuse_lost_axis(arguments)
                        hydra_main()
                    finally:
                        if after_sweep is not None and SweepFolder.last is not None:
                            after_sweep(SweepFolder.last)
                except CONFIG_ERRORS as error:
                    if traceback_wanted == "1":
                        raise
                    message = explain(error, CONF, config_name, [a for a in arguments if "=" in a and a[0] != "-"])
                    print(f"r1 {command}: {message}\n(HYDRA_FULL_ERROR=1 shows where this was raised.)", file=sys.stderr)
                    raise SystemExit(1) from error
                except Exception as error:
                    if (
                        isinstance(error, ValueError | TypeError) and not job.started
                    ):  # Hydra's own, for policy=null or policy=[1]
                        raise SystemExit(f"r1 {command}: {explain(error, CONF, config_name, arguments)}") from error
                    if traceback_wanted != "1":
                        error.__traceback__ = _below_hydra(error.__traceback__)
                    raise
            return job.result

        return main

    return decorate


def _refuse_lost_axis(arguments: Sequence[str]) -> None:
    """An experiment on the command line would silently take the place of those that a sweep's file compares."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument and argument[0] not in "-+~")
    file = CONF / "sweep" / f"{given.get('sweep')}.yaml"
    if "experiment" in given and file.is_file():
        axes = OmegaConf.select(OmegaConf.load(file), "hydra.sweeper.params") or {}
        if "experiment" in axes:
            raise ConfigError(
                f"experiment={given['experiment']}: sweep={given['sweep']} compares experiments itself ({axes['experiment']}); leave "
                f"experiment= out, or sweep over others: r1 train -m policy=hf policy.path=... experiment=a,b seed=0,1,2"
            )


class SweepFolder(Callback):
    """Remembers where the sweep of this process writes: Hydra tells it to callbacks alone, and its own end-of-sweep hook is not
    called when a job failed. Named in conf/hydra/default.yaml."""

    last: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepFolder.last = Path(config.hydra.sweep.dir)


class _Job:
    """One run of a command's function. Pickled by name, so that launchers which start processes can send it."""

    def __init__(self, run: Callable[[DictConfig], Any], argv: list[str], traceback_wanted: str | None) -> None:
        self.run = run
        self.argv = argv
        self.traceback_wanted = traceback_wanted
        self.result: Any = None
        self.started = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _job_by_name, (self.run.__module__, self.run.__qualname__, self.argv, self.traceback_wanted)

    def __call__(self, cfg: DictConfig) -> Any:
        self.started = True
        settings = HydraConfig.get()
        run_dir = Path(settings.runtime.output_dir).resolve()
        if _rank() == 0 and settings.output_subdir:
            scrub(run_dir / settings.output_subdir)
        if secret_overrides(list(settings.overrides.task)):
            raise ConfigError(
                "an override holds a secret, which a process list, a shell history and W&B would show: put it in an environment "
                "variable and write name='${oc.env:MY_VARIABLE}'"
            )
        cfg = finish(cfg, run_dir)
        if _rank() == 0:
            if cfg.get("print_config"):
                show(cfg)
            save_config(cfg, run_dir)
        # The ranks that Lightning starts repeat sys.argv: they are given this job, not the whole sweep, and its folder.
        with (
            _argv([*self.argv, *settings.overrides.task]),
            _environ("R1_RUN_DIR", str(run_dir)),
            _environ("HYDRA_FULL_ERROR", self.traceback_wanted),
            _leaving_no_ranks(),
        ):
            self.result = self.run(cfg)
        return self.result


def _job_by_name(module: str, name: str, argv: list[str], traceback_wanted: str | None) -> _Job:
    return _Job(getattr(importlib.import_module(module), name).__wrapped__, argv, traceback_wanted)


def _below_hydra(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the command's own function on; all of it where the error came before that."""
    found = trace
    while found is not None:
        if found.tb_frame.f_code is _Job.__call__.__code__:
            return found.tb_next
        found = found.tb_next
    return trace


def _program() -> str:
    """The script a rank is started with: `r1` itself, or the module's file where Python was started in another way."""
    return sys.argv[0] if Path(sys.argv[0]).name == "r1" else str(Path(__file__).with_name("__main__.py"))


def _flags(arguments: Sequence[str]) -> list[str]:
    """The flags that say where configs come from, with their values; -m and the overrides are left out."""
    kept = []
    for i, argument in enumerate(arguments):
        named = argument.partition("=")[0] in _FLAGS_WITH_VALUE
        if named or (i > 0 and arguments[i - 1] in _FLAGS_WITH_VALUE):
            kept.append(argument)
    return kept


def quoted(path: str | Path) -> str:
    """A path as a value in Hydra's override grammar, whatever characters it holds."""
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _rank() -> int:
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


@contextlib.contextmanager
def _leaving_no_ranks() -> Iterator[None]:
    """Undo what a distributed job leaves in its first process, or the next job of a sweep would wait for ranks that have ended."""
    names = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        distributed: Any = sys.modules.get("torch.distributed")  # not imported for this: then there is nothing to undo
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def _rank_overrides() -> list[str]:
    folder = os.environ.get("R1_RUN_DIR")
    return [f"hydra.run.dir='{folder}'"] if folder and _rank() > 0 else []


@contextlib.contextmanager
def _argv(argv: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _environ(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
