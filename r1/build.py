"""From a config to objects: the one place that knows Hydra. Everything below it can be used from a notebook without Hydra.

compose ──▶ resolve ──▶ validate (schema.py) ──▶ build ──▶ objects made from plain arguments
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from r1 import files
from r1.config_help import CONFIG_ERRORS, explain, read_config
from r1.redact import redact
from r1.schema import ConfigError, annotation, locate, parameters, validate

_HERE = Path(__file__).resolve().parent
# A wheel carries the configs inside the package; in a checkout (and an editable install of one) they lie beside it.
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"

__all__ = [
    "CONF",
    "ConfigError",
    "build",
    "build_all",
    "build_named",
    "compose",
    "finish",
    "identity",
    "plain",
    "reopen",
    "save_config",
]


def wandb_offline() -> bool:
    """Whether W&B should write to disk only: always, unless a key, a login or WANDB_MODE says otherwise."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return mode != "online"
    if os.environ.get("WANDB_API_KEY"):
        return False
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return not (netrc.is_file() and "api.wandb.ai" in netrc.read_text(errors="ignore"))


OmegaConf.register_new_resolver("wandb_offline", wandb_offline, replace=True)
OmegaConf.register_new_resolver("product", lambda a, b: int(a) * int(b), replace=True)  # devices times nodes


# What a run shows, keeps and is called decides nothing about its numbers; everything else in a config does.
_NOT_THE_RUN = {
    "name", "tags", "audit", "ckpt_path", "ckpt_strict", "optimized_metric", "print_config", "paths", "callbacks", "logger",
    "benchmark", "trainer", "hydra",
}  # fmt: skip


def identity(config: Any) -> dict[str, Any]:
    """The part of a config that a run must share with the checkpoint it goes on from: all but what it shows and keeps.
    Of the trainer that is the precision: batches may be spread differently, numbers may not be rounded differently."""
    kept = {name: redact(plain(config[name])) for name in config if name not in _NOT_THE_RUN}
    return {**kept, "precision": (config.get("trainer") or {}).get("precision")}


def _identity_in(file: Path) -> dict[str, Any] | None:
    """The identity of the run whose config.yaml this is; None where there is no such file, or only a part of one."""
    try:
        return identity(OmegaConf.load(file))
    except Exception:  # what is torn anywhere is refused anywhere: by YAML, by OmegaConf, by the shape of a section
        return None


def _run_dir(parent: str, time: str, *, _root_: DictConfig) -> str:
    """`hydra.run.dir`: a folder of its own for every run, but with ckpt_path=last the newest one that a run of this name and
    config has left a checkpoint in."""
    if _root_.get("ckpt_path") == "last":
        now = identity(_root_)
        for folder in sorted((path.parent for path in Path(parent).glob("*/checkpoints")), reverse=True):
            if _identity_in(folder / "config.yaml") == now:
                return str(folder)
    return f"{parent}/{time}"


OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)


def save_config(cfg: DictConfig, run_dir: Path, allowed: bool = False) -> None:
    """config.yaml of the run folder; that of another run whose checkpoints lie there stays, until the run is `allowed` to replace it."""
    file = run_dir / "config.yaml"
    another = _identity_in(file) not in (None, identity(cfg)) and any(run_dir.glob("checkpoints/*"))
    if another and cfg.get("ckpt_strict") and not allowed:
        return
    files.replace(file, OmegaConf.to_yaml(OmegaConf.create(redact(plain(cfg)))).encode())


def plain(cfg: Any) -> Any:
    """Dicts and lists instead of OmegaConf's: what loggers, checkpoints and `save_hyperparameters` must be given."""
    return OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg


def compose(
    config_name: str = "train", overrides: Sequence[str] = (), run_dir: str | Path | None = None, unfinished: bool = False
) -> DictConfig:
    """The config a command would run with, resolved and validated: for notebooks and tests.

    `run_dir` is where the run's files would go; a command lets Hydra choose it by name and time. `unfinished` leaves keys without a
    value out instead of asking for one: for what reads a config and runs nothing.
    Raises ConfigError with the options listed for a misspelt key, group or value.
    """
    overrides = list(overrides)
    try:
        cfg = read_config(CONF, config_name, overrides)
    except (*CONFIG_ERRORS, ValueError, TypeError) as error:  # Hydra's own, for policy=null or policy=[1]
        raise ConfigError(explain(error, CONF, config_name, overrides)) from error
    if unfinished:
        _leave_out_missing(cfg)
    return finish(cfg, run_dir)


def without_value(config_name: str, overrides: Sequence[str]) -> list[str]:
    """The keys that a command with these overrides would ask for."""
    return _missing(OmegaConf.to_container(read_config(CONF, config_name, overrides), resolve=False))


def _missing(config: Any, path: str = "") -> list[str]:
    """Keys that stand at `???`, in the order of the alphabet. Not `OmegaConf.missing_keys`: it raises at the first value that refers
    to one, and so names one where all are wanted."""
    if isinstance(config, Mapping):
        inside = [key for name, value in config.items() for key in _missing(value, f"{path}.{name}" if path else str(name))]
        return sorted(inside)
    return [path] if config == "???" else []


def _leave_out_missing(cfg: DictConfig) -> None:
    OmegaConf.set_struct(cfg, False)
    for key in _missing(OmegaConf.to_container(cfg, resolve=False)):
        parent, _, leaf = key.rpartition(".")
        del (OmegaConf.select(cfg, parent) if parent else cfg)[leaf]


def finish(cfg: DictConfig, run_dir: str | Path | None) -> DictConfig:
    """Set the run folder, resolve every interpolation, validate: after this nothing in the config can surprise."""
    if run_dir is not None and "paths" in cfg:
        cfg.paths.run_dir = str(run_dir)
    try:
        missing = _missing(OmegaConf.to_container(cfg, resolve=False))
        if missing:
            raise ConfigError("\n".join(f"{key} has no default: give it a value, {key}=..." for key in missing))
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}") from error
    OmegaConf.set_struct(cfg, True)
    name = cfg.get("name")
    if OmegaConf.is_config(name):
        raise ConfigError(f"name={plain(name)}: it is a part of the run folder's path, so expected a word")
    if name is not None and (Path(str(name)).is_absolute() or ".." in Path(str(name)).parts):
        raise ConfigError(f"name={name}: it is a part of the run folder's path, so it must stay inside: no '..', no leading '/'")
    validate(plain(cfg))
    return cfg


def reopen(content: Mapping[str, Any], run_dir: str | Path) -> DictConfig:
    """A resolved config from the plain dicts and lists it was kept as, validated again, for a run in this folder."""
    return finish(OmegaConf.create(dict(content)), run_dir)


def build(node: Any, /, **extra: Any) -> Any:
    """Build what a node's `_target_` names, from its keys and from `extra` objects that no YAML can hold. None stays None.

    Lists and dicts arrive as plain Python ones, and `extra` is passed by reference: Hydra would copy it into a config.
    Raises ConfigError, by config path, for missing or unknown arguments and for a ValueError raised by a constructor.
    """
    if node is None:
        return None
    path = (node._get_full_key(None) if OmegaConf.is_config(node) else "") or "config"
    _check_arguments(node, extra, path)
    try:
        maker = hydra.utils.instantiate(node, _partial_=True, _convert_="all")
        return functools.partial(maker, **extra) if node.get("_partial_") else maker(**extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | ImportError):
            inner = getattr(error, "full_key", None) or str(error).rpartition("full_key: ")[2].strip()
            raise ConfigError(f"{inner or path}: {cause}") from error
        raise
    except Exception as error:
        # Lightning's own says what the machine lacks; its class is not imported, for a config is read without Lightning.
        if isinstance(error, ValueError) or type(error).__name__ == "MisconfigurationException":
            raise ConfigError(f"{path}: {error}") from error
        raise


def build_with(node: Any, /, **shared: Any) -> Any:
    """`build` with those of the shared parts that the target's constructor asks for."""
    wanted = parameters(locate(node._target_)) or {} if node is not None else {}
    return build(node, **{name: part for name, part in shared.items() if name in wanted})


def _check_arguments(node: Any, extra: Mapping[str, Any], path: str) -> None:
    name = node.get("_target_")
    if not isinstance(name, str):
        raise ConfigError(f"{path}: expected a node with `_target_`, got keys {list(node)}")
    target = locate(name)
    known = parameters(target)
    if known is None or node.get("_partial_"):
        return
    given = set(node) | set(extra)
    needed = [p for p in known.values() if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p for p in needed[len(node.get("_args_", ())) :] if p.name not in given]
    if missing:
        spelt = ", ".join(f"{p.name}: {annotation(target, p) or p.annotation}" for p in missing)
        raise ConfigError(f"{path}: {name} needs {spelt}; set {path}.{missing[0].name}=...")


def build_named(group: Mapping[str, Any] | None, **extra: Any) -> dict[str, Any]:
    """Build each node of a group that holds several ({name: node or null}); null ones are left out, order is kept."""
    return {name: build(node, **extra) for name, node in (group or {}).items() if node is not None}


def build_all(group: Mapping[str, Any] | None, **extra: Any) -> list[Any]:
    """`build_named` without the names: callbacks, loggers."""
    return list(build_named(group, **extra).values())
