"""Cold-start data: a few thousand long, readable solutions that teach a base model to think before reinforcement learning does.

The paper's four ways (v1 2.3.1) behind one interface, `way(desk, problems) -> rows`, every row with its provenance:

    prompted   a model is shown a few long solutions (few_shot), or asked to reflect and verify (direct)
    readable   R1-Zero's right and readable outputs, rewritten by a model into first person with a summary
    human      people refine rows in a plain-file queue (human.py)

What the ways bring is scored, filtered, freed of duplicates and capped a problem. A readable solution is `reasoning + summary`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from r1.evaluation.benchmark import problems_of
from r1.grading import parse
from r1.pipeline.desk import Desk
from r1.pipeline.filters import Filter, sift
from r1.pipeline.rewrite import Rewriter
from r1.pipeline.rows import Row, change, score
from r1.pipeline.samplers import Sampler
from r1.pipeline.select import capped, without_duplicates
from r1.records import Problem
from r1.tasks.base import Task

THINK_TAGS = "<think> {reasoning} </think> {summary}"
SPECIAL_TOKEN = "|special_token|{reasoning}|special_token|{summary}"  # as v1 2.3.1 writes it


class Way(Protocol):
    def __call__(self, desk: Desk, problems: Sequence[Problem], name: str) -> list[Row]:
        """Rows about these problems; `name` is the way's own in the recipe, and goes into their provenance."""


class Prompted:
    """Solutions of a model that is shown how (few_shot), or told to reflect and verify (direct): the template says which.

    sampler  a policy or an endpoint with such a template
    k        samples a problem
    stop     a completion ends where this text begins, and is then not truncated: a base model goes on with a question of its own
    """

    def __init__(self, sampler: Sampler | functools.partial, k: int = 4, stop: str | None = None) -> None:
        self.sampler, self.k, self.stop = sampler, k, stop

    def __call__(self, desk: Desk, problems: Sequence[Problem], name: str) -> list[Row]:
        return [self._stopped(row) for row in desk.sample(name, self.sampler, problems, self.k)]

    def _stopped(self, row: Row) -> Row:
        if not self.stop or self.stop not in row.completion:
            return row
        return replace(row, completion=row.completion.partition(self.stop)[0].strip(), truncated=False)


class Readable:
    """R1-Zero's outputs (v2: at temperature 1): those that pass `before` are rewritten.

    sampler   the R1-Zero policy; with rollout=replay, outputs that it wrote before
    rewriter  makes them readable
    before    filters on what was sampled: finished, right, readable as far as a draft must be
    most      how many a problem are rewritten, the first ones; null: all. Rewriting is what costs
    """

    def __init__(
        self,
        sampler: Sampler | functools.partial,
        rewriter: Rewriter,
        before: Mapping[str, Filter | None],
        k: int = 8,
        most: int | None = None,
    ) -> None:
        self.sampler, self.rewriter, self.before, self.k, self.most = sampler, rewriter, dict(before), k, most

    def __call__(self, desk: Desk, problems: Sequence[Problem], name: str) -> list[Row]:
        rows = sift(desk.sample(name, self.sampler, problems, self.k), self.before)
        return change(capped(rows, self.most), lambda live: self.rewriter(desk, live))


class ColdStart:
    """Rows of all ways, after the filters that a readable solution must pass.

    ways         name -> way; a way that is null is switched off
    task, split, limit   whose problems: the first `limit` of this split
    filters      what is asked of every row, whichever way it came
    per_problem  at most so many rows a problem, the first ones; null: all
    pattern      how reasoning and summary are written down, with these two names in braces. The default is what `parse`, the format
                 reward (structure r1) and chat templates read; the paper's own is "|special_token|{reasoning}|special_token|{summary}"
    """

    def __init__(
        self,
        task: Task,
        ways: Mapping[str, Way | None],
        filters: Mapping[str, Filter | None],
        split: Literal["train", "validation", "test"] = "train",
        limit: int | None = None,
        per_problem: int | None = None,
        pattern: str = THINK_TAGS,
    ) -> None:
        self.ways = {name: way for name, way in ways.items() if way is not None}
        if not self.ways:
            raise ValueError("cold start needs at least one way: +data/way@data.ways.readable=readable, for one")
        if not all(part in pattern for part in ("{reasoning}", "{summary}")):
            raise ValueError(f"a pattern needs the places {{reasoning}} and {{summary}}, got {pattern!r}")
        self.problems = problems_of(task, split, limit)
        self.filters, self.per_problem, self.pattern = dict(filters), per_problem, pattern

    def __call__(self, desk: Desk) -> tuple[list[Row], dict[str, Any]]:
        rows = [replace(row, id=f"{name}/{row.id}") for name, way in self.ways.items() for row in way(desk, self.problems, name)]
        rows = sift(score(rows, desk.reward), self.filters)
        rows = capped(without_duplicates(rows), self.per_problem)
        return change(rows, lambda live: [self._written(row) for row in live]), {"problems": len(self.problems)}

    def _written(self, row: Row) -> Row:
        parsed = parse(row.completion)
        text = self.pattern.replace("{reasoning}", parsed.think or "").replace("{summary}", parsed.summary)
        return replace(row, completion=text)
