"""A recipe: named nodes, each one command with overrides, in the YAML that a researcher edits, inserts into or runs in part.

    nodes:
      base:
        run: train
        set: [experiment=tiny_base]
      r1_zero:
        run: train
        set: [experiment=tiny_r1_zero, policy.path=@base/hf]   # what another node wrote: @NODE/PATH

`set` is what one would type after `r1 train`, `r1 generate` or `r1 eval`. A value that begins with @NODE is that node's folder,
and makes this node wait for it: inputs are never listed twice.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from r1.build import ConfigError
from r1.schema import closest

COMMANDS = ("train", "generate", "eval")
OWN = "run"  # @run is the folder of the node itself
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_REFERENCE = re.compile(rf"@({_NAME.pattern})(?:/(.*))?")
_EVALUATION = (
    ".eval"  # cannot be part of a written name: the evaluations that the ledger asks for never meet a node of the recipe
)


@dataclass(frozen=True)
class Node:
    """One command: `r1 <run> <set...>`. `about` is a line for the reader."""

    name: str
    run: str
    set: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class Claim:
    """What a paper says of two columns, to be held against the ledger: `figure` of `stage` is `is_` than that of `against`."""

    text: str
    figure: str
    stage: str
    against: str
    is_: str  # higher | lower | at_least, see `ledger.held_against`


@dataclass(frozen=True)
class Column:
    """One stage in the ledger. `against` is the column that its deltas are taken to; None takes none. `eval`: what its evaluation
    needs otherwise than the others', such as the template it was trained with."""

    node: str
    label: str
    against: str | None = None
    eval: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerPlan:
    """What is evaluated after each stage (`eval`: overrides of `r1 eval`), the stages in reading order, and what to look for."""

    eval: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """Nodes by name, in the order they were written, and the ledger. `common` goes before every node's own overrides; evaluations have `ledger.eval`."""

    name: str
    nodes: Mapping[str, Node]
    about: str = ""
    ledger: LedgerPlan = field(default_factory=LedgerPlan)


def read_recipe(content: Mapping[str, Any]) -> Recipe:
    """A recipe from its YAML content, names checked. ConfigError says what is wrong, where, and what there is to choose from."""
    _only(content, ("name", "about", "vars", "common", "nodes", "ledger"), "recipe")
    if not isinstance(content.get("nodes"), Mapping) or not content["nodes"]:
        raise ConfigError("recipe.nodes: expected a mapping from names to nodes such as `base: {run: train, set: [...]}`")
    common = _strings(content.get("common") or (), "recipe.common")
    nodes = {name: _node(str(name), value, common) for name, value in content["nodes"].items() if value is not None}
    ledger = _ledger(content.get("ledger") or {}, nodes)
    return Recipe(str(content.get("name") or "recipe"), nodes, str(content.get("about") or ""), ledger)


def with_evaluations(recipe: Recipe) -> dict[str, Node]:
    """The recipe's nodes, and after each one that the ledger shows the node that evaluates it."""
    shown = {column.node: column.eval for column in recipe.ledger.columns if recipe.ledger.eval}
    found: dict[str, Node] = {}
    for name, node in recipe.nodes.items():
        found[name] = node
        if name in shown:
            overrides = (f"policy.path=@{name}/hf", *recipe.ledger.eval, *shown[name])
            found[evaluation(name)] = Node(evaluation(name), "eval", overrides, f"what {name} can do")
    return found


def evaluation(name: str) -> str:
    """Name of the node that evaluates a stage."""
    return name + _EVALUATION


def references(config: Any) -> list[tuple[str, str]]:
    """(node, path in its folder) of every value that begins with @NODE, in order of appearance, each once; @run left out."""
    found = []
    for text in _texts(config):
        match = _REFERENCE.fullmatch(text)
        if match and match[1] != OWN:
            found.append((match[1], match[2] or ""))
    return list(dict.fromkeys(found))


def resolved(config: Any, folders: Mapping[str, str]) -> Any:
    """The config with every @NODE replaced by that node's folder."""
    if isinstance(config, Mapping):
        return {key: resolved(value, folders) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [resolved(value, folders) for value in config]
    match = _REFERENCE.fullmatch(config) if isinstance(config, str) else None
    if match is None or match[1] not in folders:
        return config
    return folders[match[1]] + (f"/{match[2]}" if match[2] else "")


def in_order(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Names such that each comes after what it needs, otherwise in the given order. ConfigError names what is unknown or a circle.

    >>> in_order({"student": ["teacher"], "base": [], "teacher": ["base"]})
    ['base', 'teacher', 'student']
    """
    for name, inputs in needs.items():
        for other in inputs:
            if other not in needs:
                raise ConfigError(
                    f"node {name}: there is no node '{other}'{closest(other, needs)}\nnodes are: {', '.join(needs)}"
                )
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        raise ConfigError(f"nodes need each other in a circle: {' -> '.join(reversed(error.args[1]))}") from error
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        for other in needs[name]:
            visit(other)
        done.setdefault(name)

    for name in needs:
        visit(name)
    return list(done)


def _node(name: str, value: Any, common: tuple[str, ...]) -> Node:
    where = f"recipe.nodes.{name}"
    if not _NAME.fullmatch(name) or name == OWN:
        raise ConfigError(f"{where}: a name is letters, digits, _ and -, begins with a letter, and is not '{OWN}'")
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected `run` and `set`, got {value!r}")
    _only(value, ("run", "set", "about"), where)
    command = value.get("run", "train")
    if command not in COMMANDS:
        raise ConfigError(f"{where}.run={command!r}: expected one of {', '.join(COMMANDS)}{closest(str(command), COMMANDS)}")
    return Node(name, command, (*common, *_strings(value.get("set") or (), f"{where}.set")), str(value.get("about") or ""))


def _ledger(value: Mapping[str, Any], nodes: Mapping[str, Node]) -> LedgerPlan:
    _only(value, ("eval", "stages", "claims"), "recipe.ledger")
    columns: list[Column] = []
    for name, given in (value.get("stages") or {}).items():
        where = f"recipe.ledger.stages.{name}"
        if given is None:
            continue
        given = {"label": given} if isinstance(given, str) else given
        _only(given, ("label", "against", "eval"), where)
        _known(name, nodes, where)
        before = columns[-1].node if columns else None
        own = _strings(given.get("eval") or (), f"{where}.eval")
        columns.append(Column(name, str(given.get("label") or name), given.get("against", before), own))
    names = [column.node for column in columns]
    for column in columns:
        if column.against is not None:
            _known(column.against, names, f"recipe.ledger.stages.{column.node}.against")
    claims = tuple(_claim(i, given, names) for i, given in enumerate(value.get("claims") or ()))
    return LedgerPlan(_strings(value.get("eval") or (), "recipe.ledger.eval"), tuple(columns), claims)


def _claim(index: int, given: Mapping[str, Any], names: Sequence[str]) -> Claim:
    where = f"recipe.ledger.claims[{index}]"
    keys = [f.name.rstrip("_") for f in fields(Claim)]
    _only(given, keys, where)
    missing = [key for key in keys if key not in given]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} missing; a claim has {', '.join(keys)}")
    if given["is"] not in ("higher", "lower", "at_least"):
        raise ConfigError(f"{where}.is={given['is']!r}: expected higher, lower or at_least")
    for key in ("stage", "against"):
        _known(given[key], names, f"{where}.{key}")
    return Claim(given["text"], given["figure"], given["stage"], given["against"], given["is"])


def _only(value: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a mapping with {', '.join(keys)}, got {value!r}")
    for key in value:
        if key not in keys:
            raise ConfigError(f"{where} has no '{key}'{closest(str(key), keys)}\n{where} has: {', '.join(keys)}")


def _known(name: str, nodes: Iterable[str], where: str) -> None:
    nodes = list(nodes)
    if name not in nodes:
        raise ConfigError(f"{where}: there is no '{name}'{closest(str(name), nodes)}\nthere are: {', '.join(nodes)}")


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or any(not isinstance(item, str) for item in value):
        raise ConfigError(f"{where}: expected a list of overrides such as [experiment=tiny_base, seed=1], got {value!r}")
    return tuple(value)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
