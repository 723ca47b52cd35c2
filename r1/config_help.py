"""What a person sees of a config: the resolved tree, and an answer with the options when an override is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from r1.redact import redact
from r1.schema import ConfigError, closest

_REFUSED = re.compile(r"Could not (?:override|append to config|delete)[^']*'([^']+)'")


# What can go wrong before a config is whole. Each is the user's to repair, so each is shown as a message.
CONFIG_ERRORS = (HydraException, OmegaConfBaseException, ConfigError, yaml.YAMLError)


def read_config(conf: Path, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose without running anything; whatever Hydra state there was (a notebook inside a job) is put back."""
    state = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(config_dir=str(conf), version_base="1.3"):
            return hydra.compose(config_name, overrides=list(overrides))
    finally:
        GlobalHydra.instance().hydra = state


def explain(error: Exception, conf: Path, config_name: str, overrides: Sequence[str]) -> str:
    """Hydra's complaint as one message: what was written, what is nearest, what there is to choose from."""
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, TypeError):
        return f"{' '.join(overrides)}: a group takes the name of a file, or a list of names, such as policy=tiny ({error})"
    if isinstance(error, MissingConfigException) and error.options is not None and "/" in str(error.missing_cfg_file):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = sorted(error.options)
        return f"{group}={name}: there is no such choice{closest(name, options)}\n{group} can be: {', '.join(options)}"
    if isinstance(error, OverrideParseException) and error.override.count("=") > 1:
        key, _, value = error.override.partition("=")
        return f"""{error.override}: a value that holds '=' needs quotes that the shell leaves in place: "{key}='{value}'\""""
    refused = _REFUSED.search(str(error))
    if refused:
        return _explain_refused(refused[1], conf, config_name, overrides) or str(error)
    cause = error.__cause__
    lines = [str(error)] + ([str(cause)] if isinstance(cause, OmegaConfBaseException) else [])
    return "\n".join(line for line in "\n".join(lines).splitlines() if line.strip() and "object_type=" not in line)


def _explain_refused(key: str, conf: Path, config_name: str, overrides: Sequence[str]) -> str | None:
    """The keys beside a key that does not exist, read from the config composed without it."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    written = next((o.input_line for o in parsed if o.key_or_group == key), key)
    others = [_first_choice(o) for o in parsed if o.key_or_group != key and not o.key_or_group.startswith("hydra")]
    try:
        cfg: Any = read_config(conf, config_name, others)
    except CONFIG_ERRORS:
        try:
            cfg = read_config(conf, config_name, [])
        except CONFIG_ERRORS:
            return None
    above, *rest = key.replace("/", ".").split("@")[0].split(".")
    path: list[str] = []
    for part in [above, *rest]:
        if not OmegaConf.is_dict(cfg) or part not in cfg:
            break
        path.append(part)
        cfg = cfg._get_node(part)
    else:
        return None  # it exists: the complaint is about something else
    options = list(cfg) if OmegaConf.is_dict(cfg) and not cfg._is_none() else []
    if not path:
        options = sorted({*options, *(p.name for p in conf.iterdir() if p.is_dir())})
    missing, prefix = [above, *rest][len(path)], ".".join(path)
    if path and missing in options:
        return (
            f"{written}: a sweep is composed once without the groups that it sweeps over, and there {prefix} has no '{missing}'. Name "
            f"what has it as well, for instance {prefix}=hf beside experiment=a,b"
        )
    listing = (
        f"{prefix or 'the config'} has: {', '.join(map(str, options))}"
        if options
        else f"{prefix} is empty so far: +{written} adds a key"
    )
    return f"{written}: {prefix or 'the config'} has no '{missing}'{closest(missing, map(str, options))}\n{listing}"


def _first_choice(override: Any) -> str:
    """One plain override of a sweep's `key=a,b`: enough to know which keys the config has."""
    if not override.is_sweep_override() or not override.is_choice_sweep():
        return override.input_line
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def show(cfg: DictConfig) -> None:
    """Print the resolved config as a tree, a branch a group."""
    from rich import print as rich_print
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree("config", guide_style="dim")
    for key in cfg:
        value = OmegaConf.to_container(cfg[key], resolve=True) if OmegaConf.is_config(cfg[key]) else cfg[key]
        _grow(tree, str(key), redact({key: value})[key], escape)
    rich_print(tree)


def _grow(tree: Any, key: str, value: Any, escape: Any) -> None:
    if isinstance(value, dict) and value:
        target = value.get("_target_")
        label = f"[bold]{escape(key)}[/bold]" + (f" [cyan]{escape(str(target))}[/cyan]" if target else "")
        branch = tree.add(label)
        for inner, content in value.items():
            if inner != "_target_":
                _grow(branch, str(inner), content, escape)
    else:
        tree.add(f"{escape(key)}: {escape(str(value))}")
