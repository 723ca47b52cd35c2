"""A recipe made ready to run: every node's config composed and checked before the first node starts, and what it will be known by.

    identity = hash(command, resolved config, code, inputs)

config   as the command would run it, without the keys that cannot change what is made (`UNSEEN`: names, folders, loggers)
code     every source file that the parts named in the config are made of, found by following their imports (see `sources`)
inputs   the content of every @NODE/PATH the config names, and of every file of the disk that it names
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from r1.build import ConfigError, compose, plain
from r1.pipeline.recipe import OWN, Node, Recipe, in_order, references, with_evaluations
from r1.pipeline.sources import digests, module_of
from r1.pipeline.store import content_hash

# Keys of a config that do not change what a node makes.
UNSEEN = ("name", "tags", "paths", "logger", "print_config", "ckpt_path")
# Parts that watch a stage: their code is no part of what it makes. An evaluation's own code is what an `eval` node makes.
WATCHERS = ("callbacks", "benchmark", "logger", "trainer")
# The function that runs a node, as the module whose own file counts.
ENTRY = {"train": "r1.run", "generate": "r1.pipeline.generate", "eval": "r1.evaluation.benchmark"}
# What other nodes, and the ledger, may rely on: hashed when the node is done.
OUTPUTS = {"train": ("hf",), "generate": ("rows.jsonl",), "eval": ("evaluations.json",)}


@dataclass(frozen=True)
class Step:
    """A node with its config, in which @NODE/PATH and @run still stand for folders."""

    node: Node
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return self.node.name

    @cached_property
    def inputs(self) -> list[tuple[str, str]]:
        """(node, path in its folder), each once."""
        return references(self.config)

    @cached_property
    def needs(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.inputs))

    @cached_property
    def seen(self) -> dict[str, Any]:
        """The config without what cannot change the result: the keys of `UNSEEN`, and how progress is shown."""
        seen = {key: value for key, value in self.config.items() if key not in UNSEEN}
        if "callbacks" in seen:
            seen["callbacks"] = {name: part for name, part in seen["callbacks"].items() if name != "progress"}
        return seen

    @cached_property
    def code(self) -> dict[str, str]:
        """Source file -> digest, of everything this node's result is made by."""
        watched = WATCHERS if self.node.run == "train" else ()
        parts = {key: value for key, value in self.seen.items() if key not in watched}
        modules = [module for target in sorted(set(_targets(parts))) for module in module_of(target)]
        if self.node.run == "train":  # what it calls is named in the config; its own imports reach everything there is
            return digests(modules) | digests([ENTRY["train"]], follow=False)
        return digests([*modules, ENTRY[self.node.run]])

    @cached_property
    def files(self) -> dict[str, str]:
        """File of the disk that the config names -> digest (see `file_digest`)."""
        return {name: file_digest(Path(name)) for name in sorted(_paths(self.seen))}

    def ingredients(self, inputs: Mapping[str, str]) -> dict[str, Any]:
        """Everything the identity is the hash of. `inputs`: "node/path" -> content hash."""
        return {"run": self.node.run, "config": self.seen, "code": self.code, "files": self.files, "inputs": dict(inputs)}


def identity(ingredients: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the ingredients as canonical JSON."""
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plan(recipe: Recipe, searchpath: Sequence[str] = ()) -> dict[str, Step]:
    """The recipe's steps, each after what it needs; every config composed and validated. ConfigError names the node.

    searchpath  further config folders, where a recipe uses experiments that lie outside this package
    """
    extra = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in searchpath)}]"] if searchpath else []
    steps = {name: _step(node, extra) for name, node in with_evaluations(recipe).items()}
    order = in_order({name: step.needs for name, step in steps.items()})
    return {name: steps[name] for name in order}


def _step(node: Node, extra: Sequence[str]) -> Step:
    try:
        cfg = compose(node.run, [*extra, *node.set], run_dir=f"@{OWN}")
    except ConfigError as error:
        raise ConfigError(f"node {node.name} (r1 {node.run}): {error}") from error
    return Step(node, plain(cfg))


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)


def _paths(value: Any) -> Iterator[str]:
    """Values that name something on the disk. Only those with a separator or a suffix: "train" may well be a folder here."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, str) and _names_something(value):
        yield value


def _names_something(text: str) -> bool:
    looks_like_it = ("/" in text or bool(Path(text).suffix)) and not text.startswith("@")
    return looks_like_it and len(text) < 4096 and "\n" not in text and Path(text).exists()


def file_digest(path: Path) -> str:
    """Content hash of a file; of a folder, that of the names, sizes and spread samples of what is in it: a model is too large to
    read every time, and one that was trained on differs nearly everywhere."""
    if path.is_file():
        return content_hash(path)
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    return identity({"listing": [(str(file.relative_to(path)), file.stat().st_size, _spread(file)) for file in files]})


def _spread(file: Path) -> str:
    """Hash of 64 blocks of 16 KiB at equal distances, the first and the last byte among them; of a file no larger than they, all of it."""
    blocks, width, size = 64, 2**14, file.stat().st_size
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        for i in range(blocks):
            opened.seek(i * (size - width) // (blocks - 1) if size > blocks * width else i * width)
            digest.update(opened.read(width))
    return digest.hexdigest()[:16]
