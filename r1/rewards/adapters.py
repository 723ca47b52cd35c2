"""Rewards written for other libraries, as parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1.records import Trace


def locate(function: str | Callable[..., Any]) -> Callable[..., Any]:
    """A callable, or the one that a dotted path names: "package.module.function"."""
    if callable(function):
        return function
    module, _, name = function.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"no function {function!r} ({error}); write package.module.function, importable from here") from error
    if not callable(found):
        raise ValueError(f"{function!r} is not a function")
    return found


class Trl:
    """A reward function of TRL's signature, unchanged: `f(prompts, completions, completion_ids, **columns) -> list[float | None]`.

    Columns are what the problem knows: answer (also as `solution` and `ground_truth`), domain, language, id, and its meta entries.
    conversational  give prompts and completions as chat messages, which some functions expect
    arguments       further keyword arguments for every call
    An exception of the function is a bug and stops the run.
    """

    def __init__(
        self,
        function: str | Callable[..., Any],
        conversational: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.function, self.conversational, self.arguments = locate(function), conversational, dict(arguments or {})

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        prompts: list[Any] = [t.problem.question for t in traces]
        completions: list[Any] = [t.text for t in traces]
        if self.conversational:
            prompts = [[{"role": "user", "content": p}] for p in prompts]
            completions = [[{"role": "assistant", "content": c}] for c in completions]
        meta_names = sorted({name for t in traces for name in t.problem.meta})
        columns: dict[str, list[Any]] = {name: [t.problem.meta.get(name) for t in traces] for name in meta_names}
        answers = [t.problem.answer for t in traces]
        columns |= {"answer": answers, "solution": answers, "ground_truth": answers, "domain": [t.problem.domain for t in traces]}
        columns |= {"language": [t.problem.language for t in traces], "id": [t.problem.id for t in traces]}
        ids = [t.token_ids for t in traces]
        return list(self.function(prompts=prompts, completions=completions, completion_ids=ids, **columns, **self.arguments))
