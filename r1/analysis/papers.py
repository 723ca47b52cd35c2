"""Where a config departs from the papers: the facts in papers.yaml, compared with a composed config. Reads numbers, runs nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).with_name("papers.yaml")
ABSENT = "(absent)"
PREFERENCES = ("helpfulness", "harmlessness")


@dataclass(frozen=True)
class Departure:
    """One setting that is not the paper's. `copied` says where the value comes from, if it is a known one."""

    paper: str
    key: str
    here: Any
    stated: str
    source: str
    why: str
    copied: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A config beside one recipe of one paper."""

    paper: str
    recipe: str
    stated: int
    departures: list[Departure]


@functools.cache
def facts() -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Stage class -> paper -> recipe -> key -> fact, with every `like` filled in."""
    table = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    return {
        stage: {paper: {name: _filled(recipes, name) for name in recipes} for paper, recipes in papers.items()}
        for stage, papers in table.items()
    }


def _filled(recipes: Mapping[str, Any], name: str) -> dict[str, Any]:
    own = dict(recipes[name])
    inherited = _filled(recipes, own.pop("like")) if "like" in own else {}
    return {key: fact for key, fact in (inherited | own).items() if fact is not None}


def compare(config: Mapping[str, Any], against: str | None = None) -> list[Comparison]:
    """The config (plain dicts) beside each paper that has a recipe for its stage.

    Of each paper the recipe `against`, else the one with the config's own name, else its first. Raises ValueError for a stage that
    no paper describes, or a recipe that there is not.
    """
    stage = str(config.get("stage", {}).get("_target_", "")).rpartition(".")[2]
    papers = facts().get(stage)
    if papers is None:
        raise ValueError(f"the papers describe the stages {', '.join(facts())}; this config has {stage or 'none'}")
    known = sorted({name for recipes in papers.values() for name in recipes})
    if against is not None and against not in known:
        raise ValueError(f"no paper describes {against!r} for {stage}; there are {', '.join(known)}")
    figures = flat(config) | derived(config)
    wanted = against or str(config.get("name"))
    chosen = {paper: wanted if wanted in recipes else next(iter(recipes)) for paper, recipes in papers.items()}
    return [
        Comparison(paper, name, len(papers[paper][name]), _departures(paper, papers[paper][name], figures))
        for paper, name in chosen.items()
    ]


def _departures(paper: str, recipe: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Departure]:
    found = []
    for key, fact in recipe.items():
        here = figures.get(key, ABSENT)
        if not _agrees(here, fact):
            low, high = fact.get("between", (None, None))
            above = "or more" if high == math.inf else f"to {_shown(high)}"
            stated = _shown(fact["value"]) if low is None else f"{_shown(low)} {above}"
            copied = next((note for value, note in fact.get("copies", {}).items() if here == value), None)
            found.append(Departure(paper, key, here, stated, fact["source"], fact["why"], copied))
    return found


def _agrees(here: Any, fact: Mapping[str, Any]) -> bool:
    number = isinstance(here, int | float) and not isinstance(here, bool)
    if "between" in fact:
        return number and fact["between"][0] <= here <= fact["between"][1]
    value = fact["value"]
    if value is None:
        return here is None or here == ABSENT
    return math.isclose(here, value) if number and isinstance(value, int | float) else here == value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"stage": {"steps": 1}} -> {"stage": {...}, "stage.steps": 1}."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found[f"{prefix}{name}"] = value
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
    return found


def derived(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the papers state and a config says with several keys."""
    stage, lr = config.get("stage", {}), config.get("optimizer", {}).get("lr")
    figures: dict[str, Any] = {}
    schedule = stage.get("schedule") or {}
    decay = 1.0 if schedule.get("decay") in (None, "constant") else schedule.get("final")
    figures["derived.lr_decay"] = decay
    if isinstance(lr, int | float):
        figures["derived.last_lr"] = lr * decay
    if "group_size" in stage and "minibatches" in stage:
        outputs = stage["prompts_per_step"] * stage["group_size"]
        updates = stage["steps"] * stage["minibatches"] * stage["epochs"]
        figures["derived.outputs_per_rollout"] = outputs
        figures["derived.outputs_per_update"] = outputs // stage["minibatches"]
        figures["derived.updates"] = updates
        lengths = stage.get("length_schedule") or {}
        figures["derived.longest"] = max([stage["sampling"]["max_new_tokens"], *lengths.values()])
        figures["derived.longer_from"] = min(map(int, lengths), default=ABSENT)
        general = (config.get("task", {}).get("starts") or {}).get("general")
        figures["derived.general_updates"] = ABSENT if general is None else updates - general
        starts = [start for part, start in (config["reward"].get("starts") or {}).items() if part in PREFERENCES]
        figures["derived.preference_updates"] = updates - min(starts) if starts else ABSENT
    return figures
