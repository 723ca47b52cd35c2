"""What a person is told about a recipe: where each node stands, and why one would be made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from r1.pipeline.driver import Driver, State

MEANS = {
    "done": "made, and nothing it depends on has changed",
    "next": "never made; everything it needs is there",
    "unfinished": "begun and interrupted; goes on where it stopped",
    "stale": "made, but its config, code or inputs have changed since",
    "waiting": "never made; needs a node that is not done",
}


def status_table(driver: Driver, chosen: Sequence[str] | None = None, asked: str = "") -> Table:
    """Each node (of those chosen) with its state, what it took, where it is or what it waits for; below it what the words mean.

    asked  what a user adds to `r1 pipeline why NODE` to be told of the same recipe
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    colours = {"done": "green", "next": "bold cyan", "unfinished": "bold yellow", "stale": "yellow", "waiting": "dim"}
    states = driver.states()
    table = Table(title=driver.recipe.name, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for heading in ("node", "command", "state", "took", ""):
        table.add_column(heading, justify="right" if heading == "took" else "left", no_wrap=heading != "", overflow="fold")
    chosen = list(states) if chosen is None else chosen
    for name in chosen:
        state = states[name]
        took = f"{state.record.seconds:.1f} s" if state.record else ""
        table.add_row(
            name,
            driver.steps[name].node.run,
            f"[{colours[state.kind]}]{state.kind}[/]",
            took,
            escape(_remark(name, driver, states, asked)),
        )
    used = [kind for kind in MEANS if any(states[name].kind == kind for name in chosen)]
    table.caption = "\n".join(f"{kind}: {MEANS[kind]}" for kind in used)
    return table


def _remark(name: str, driver: Driver, states: Mapping[str, State], asked: str) -> str:
    state = states[name]
    if state.record is not None:
        return state.record.folder.name
    missing = [other for other in driver.steps[name].needs if states[other].record is None]
    if missing:
        return f"waits for {', '.join(missing)}"
    return f"r1 pipeline why {name} {asked}".rstrip() if state.previous else driver.steps[name].node.about


def why(driver: Driver, name: str) -> list[str]:
    """Sentences: what differs between the newest finished version of a node and what it would be made of now."""
    driver.select(None, None, name)  # an unknown name is answered with the names there are
    state = driver.states()[name]
    if state.record is not None:
        return [
            f"{name} is done: nothing it depends on has changed since {state.record.finished[:19]} ({state.record.folder.name})."
        ]
    missing = [other for other in driver.steps[name].needs if driver.states()[other].record is None]
    if missing:
        told = [f"{name} waits for {', '.join(missing)}: what they make is part of what it is made of."]
        return told + [f"  {line}" for other in missing for line in why(driver, other)]
    begun = driver.store.folder(name, str(state.identity))
    if state.kind == "unfinished":
        return [f"{name} was begun and interrupted: it goes on in {begun.name}."]
    if state.previous is None:
        return [f"{name} was never made."]
    lines = list(differences(state.previous.ingredients, state.ingredients or {}))
    return [f"{name} would be made again; since {state.previous.folder.name} this has changed:", *(f"  {line}" for line in lines)]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One line for every value of the config, file, input or source file that differs."""
    if before["run"] != now["run"]:
        yield f"command: {before['run']} -> {now['run']}"
    yield from (f"config  {line}" for line in _tree(before["config"], now["config"]))
    for kind, changed in (("inputs", "has other content"), ("files", "has other content"), ("code", "its code has changed")):
        old, new = before[kind], now[kind]
        for name in sorted({*old, *new}):
            if name not in new:
                yield f"{kind:<7} {name}: no longer part of it"
            elif name not in old:
                yield f"{kind:<7} {name}: new"
            elif old[name] != new[name]:
                yield f"{kind:<7} {name}: {changed}"


def _tree(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in now:
                yield f"{inner}: {_short(before[key])} -> left out"
            elif key not in before:
                yield f"{inner}: {_short(now[key])}, was not there"
            else:
                yield from _tree(before[key], now[key], inner)
    else:
        yield f"{path}: {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
