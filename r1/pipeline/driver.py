"""Runs a recipe: what is done is reused, what was interrupted goes on inside the stage, what fails leaves the rest as it was.

driver = Driver(recipe, plan(recipe), Store("runs/store"), "runs/r1_tiny")
driver.states()["dev2"].kind     # done | next | stale | waiting | unfinished | new
driver.run(last="dev2")
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from r1.analysis.reading import PIPELINE
from r1.build import ConfigError
from r1.pipeline.execute import Execute, in_process
from r1.pipeline.plan import OUTPUTS, Step, identity
from r1.pipeline.recipe import OWN, Recipe, evaluation, resolved
from r1.pipeline.store import ERROR, Record, Store, content_hash, point, write_atomically
from r1.schema import closest

Kind = Literal["done", "next", "stale", "unfinished", "waiting"]


@dataclass(frozen=True)
class State:
    """Where a node stands. `record` is the finished version that others build on; `previous` the newest one of another identity."""

    kind: Kind
    ingredients: dict[str, Any] | None = None  # None: an input is not there yet, so its hash is not known
    record: Record | None = None
    previous: Record | None = None

    @property
    def identity(self) -> str | None:
        return None if self.ingredients is None else identity(self.ingredients)


class NodeFailed(Exception):
    """A node did not finish. The message says what to do; `error` is what happened."""

    def __init__(self, name: str, folder: Path, error: Exception) -> None:
        self.error = error
        goes_on = "goes on from its last checkpoint" if (folder / "checkpoints").is_dir() else "starts this node again"
        super().__init__(
            f"node {name} failed: {type(error).__name__}: {error}\n"
            f"  the other nodes are as they were; the traceback is in {folder / ERROR}\n"
            f"  started again, the pipeline {goes_on}; after a change of its config or code the node gets a new folder"
        )


class Driver:
    """One recipe, one store, one folder `root` with a link to each node's present version, pipeline.json and the ledger.

    execute   how a node is run (`execute.in_process` or `in_own_process`)
    after     called with the states after every node that was made: the ledger
    say       where the progress lines go
    """

    def __init__(
        self,
        recipe: Recipe,
        steps: Mapping[str, Step],
        store: Store,
        root: str | Path,
        execute: Execute = in_process,
        after: Callable[[Mapping[str, State]], Any] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.recipe, self.steps, self.store, self.root = recipe, dict(steps), store, Path(root)
        self.execute, self.after, self.say = execute, after, say

    def states(self, as_they_are: Iterable[str] = ()) -> dict[str, State]:
        """The state of every node, in order. Nodes of `as_they_are` count with their newest version of this seed, though it be stale."""
        kept = set(as_they_are)
        found: dict[str, State] = {}
        for name, step in self.steps.items():
            state = self._state(step, found)
            if name in kept and state.record is None:
                seed = step.seen.get("seed")
                ours = [version for version in self.store.versions(name) if version.ingredients["config"].get("seed") == seed]
                if ours:
                    state = State("done", state.ingredients, ours[0], ours[0])
            found[name] = state
        return found

    def _state(self, step: Step, before: Mapping[str, State]) -> State:
        versions = self.store.versions(step.name)
        missing = [name for name in step.needs if before[name].record is None]
        if missing:
            return State("stale" if versions else "waiting", previous=next(iter(versions), None))
        ingredients = step.ingredients({f"{n}/{path}": _input_hash(before[n].record, path) for n, path in step.inputs})
        own = identity(ingredients)
        record = self.store.find(step.name, own)
        previous = next((version for version in versions if version.identity != own), None)
        if record is not None:
            return State("done", ingredients, record, previous)
        begun = self.store.folder(step.name, own).is_dir()
        return State("unfinished" if begun else "stale" if previous else "next", ingredients, None, previous)

    def run(self, first: str | None = None, last: str | None = None, only: str | None = None) -> dict[str, State]:
        """Make what is selected and not done, in order; the states after it. NodeFailed stops the run.

        first   start here: what comes before is taken as it is, the newest of this seed, even if its config or code has changed since
        last    stop here: this node and what it needs
        only    this node alone
        """
        chosen = self.select(first, last, only)
        as_they_are = set(self.steps) - set(chosen)
        self._tell_what_is_taken(as_they_are & {need for name in chosen for need in self.steps[name].needs}, as_they_are)
        for number, name in enumerate(chosen, start=1):
            states = self.states(as_they_are)
            place = f"[{number:>{len(str(len(chosen)))}}/{len(chosen)}] {name:<{max(map(len, chosen))}}"
            if states[name].record is not None:
                self.say(f"{place}  as it was   {_took(states[name].record)}")
            else:
                self._check_inputs(name, states)
                self.say(f"{place}  {_doing(self.steps[name], self._folder(name, states))}")
                record = self._make(name, states)
                self.say(f"{place}  done        {_took(record)}")
            states = self.states(as_they_are)
            self._publish(states)
        return self.states(as_they_are)

    def _tell_what_is_taken(self, names: Iterable[str], as_they_are: Iterable[str]) -> None:
        states = self.states(as_they_are)
        for name in sorted(names):
            record = states[name].record
            if record is not None and record.identity != states[name].identity:
                self.say(f"{name} is taken as it is, {record.folder.name}, though its config, code or inputs have changed since")

    def select(self, first: str | None, last: str | None, only: str | None) -> list[str]:
        """Names of the nodes that a run makes, in order. ConfigError for an unknown name or an empty choice."""
        for option, name in (("from", first), ("until", last), ("only", only)):
            if name is not None and name not in self.steps:
                raise ConfigError(
                    f"{option}={name}: there is no such node{closest(name, self.steps)}\nnodes are: {', '.join(self.recipe.nodes)}"
                )
        if only is not None and (first or last):
            raise ConfigError(f"only={only} is one node; leave from= and until= away, or leave only= away")
        if only is not None:
            chosen = {only}
        else:
            chosen = set(self.steps) if last is None else self._needed_by(last)
            chosen &= set(self.steps) if first is None else self._built_on(first)
        chosen |= {evaluation(name) for name in chosen} & set(self.steps)
        if not chosen:
            raise ConfigError(f"from={first} until={last}: no node lies between them; {last} does not build on {first}")
        return [name for name in self.steps if name in chosen]

    def _needed_by(self, name: str) -> set[str]:
        return {name}.union(*(self._needed_by(other) for other in self.steps[name].needs))

    def _built_on(self, name: str) -> set[str]:
        found = {name}
        for other, step in self.steps.items():  # in order, so one pass is enough
            if found & set(step.needs):
                found.add(other)
        return found

    def _check_inputs(self, name: str, states: Mapping[str, State]) -> None:
        """Every input is there and holds what it held when it was made."""
        for other, path in self.steps[name].inputs:
            record = states[other].record
            if record is None:
                raise ConfigError(
                    f"node {name} needs {other}, which is not done: leave only= or from= away, or run {other} first"
                )
            if path in record.outputs and content_hash(record.folder / path) != record.outputs[path]:
                raise ConfigError(
                    f"node {name}: {record.folder / path} is not what {other} wrote there; put it back, or delete {record.folder} to make "
                    f"it again"
                )

    def _folder(self, name: str, states: Mapping[str, State]) -> Path:
        return self.store.folder(name, str(states[name].identity)).resolve()

    def _make(self, name: str, states: Mapping[str, State]) -> Record:
        step, folder = self.steps[name], self._folder(name, states)
        folders = {other: str(states[other].record.folder.resolve()) for other in step.needs} | {OWN: str(folder)}
        with self.store.lock(folder):
            begun = (folder / "manifest.json").exists()
            wall, cpu = time.perf_counter(), _cpu_seconds()
            try:
                self.execute(step.node.run, resolved(step.config, folders), folder)
                outputs = {path: content_hash(folder / path) for path in self._outputs(step)}
            except SystemExit:  # a signal: the stage has saved itself
                self.say(f"stopped in {name}; started again, the pipeline goes on there")
                raise
            except Exception as error:
                write_atomically(folder / ERROR, traceback.format_exc())
                raise NodeFailed(name, folder, error) from error
            (folder / ERROR).unlink(missing_ok=True)
            record = Record(
                name, str(states[name].identity), states[name].ingredients, outputs,
                round(time.perf_counter() - wall, 2), round(_cpu_seconds() - cpu, 2), _threads(), begun,
                datetime.now(UTC).isoformat(), folder,
            )  # fmt: skip
            self.store.finish(record)
        return record

    def _outputs(self, step: Step) -> list[str]:
        """What is hashed: what the command always writes, and what other nodes of this recipe read."""
        read = [path for other in self.steps.values() for name, path in other.inputs if name == step.name]
        return list(dict.fromkeys([*OUTPUTS[step.node.run], *read]))

    def _publish(self, states: Mapping[str, State]) -> None:
        """Links to the present versions, pipeline.json, and whoever wants to know (the ledger)."""
        nodes = {}
        for name, state in states.items():
            if state.record is not None:
                point(self.root / name, state.record.folder)
                nodes[name] = {
                    "run": self.steps[name].node.run,
                    "identity": state.record.identity,
                    "about": self.steps[name].node.about,
                }
        content = {"recipe": self.recipe.name, "about": self.recipe.about, "nodes": nodes}
        write_atomically(self.root / PIPELINE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        if self.after is not None:
            self.after(states)


def _input_hash(record: Record, path: str) -> str:
    """The hash noted when the node was done; of something it was not asked for then, the hash of now."""
    if path in record.outputs:
        return record.outputs[path]
    try:
        return content_hash(record.folder / path)
    except ValueError as error:
        there = ", ".join(sorted(p.name for p in record.folder.iterdir() if not p.name.startswith(".")))
        raise ConfigError(f"@{record.node}/{path}: node {record.node} wrote no such thing; its folder has {there}") from error


def _doing(step: Step, folder: Path) -> str:
    goes_on = (folder / "manifest.json").exists()
    inputs = ", ".join(f"@{name}/{path}" for name, path in step.inputs)
    words = {"train": "training", "generate": "generating", "eval": "evaluating"}[step.node.run]
    return f"{'going on   ' if goes_on else f'{words:<11}'} {f'from {inputs}' if inputs else 'from nothing'}  in {folder.name}"


def _took(record: Record) -> str:
    return f"{record.seconds:.1f} s{' (since it was resumed)' if record.resumed else ''}"


def _cpu_seconds() -> float:
    """Of this process and of those it has waited for: a node may run in one of its own."""
    return sum(os.times()[:4])


def _threads() -> int:
    import torch

    return torch.get_num_threads()
