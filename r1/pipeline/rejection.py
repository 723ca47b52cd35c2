"""Rejection sampling: what a reinforced model writes, sifted into data for the next supervised stage (v1 2.3.3; v2 B.3.3).

    problems ─decontaminate─▶ k samples each ─filters─▶ right and readable ─▶ no duplicates, capped a problem ─┐
    general lessons ─thought added by prompting─▶ filters ────────────────────────────────────────────────────┴─ 600 : 200 ─▶ rows

With no filters, cap or general data it is plain sampling (data=sample).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1.evaluation.benchmark import problems_of
from r1.pipeline.desk import Desk
from r1.pipeline.filters import Filter, sift
from r1.pipeline.general import General
from r1.pipeline.rows import Row
from r1.pipeline.samplers import Sampler
from r1.pipeline.select import capped, copied, mixed, without_duplicates, without_leaks
from r1.tasks.base import Task
from r1.tasks.decontaminate import decontaminate


class Rejection:
    """k samples of each problem, sifted, and mixed with general data.

    task, split, limit   whose problems: the first `limit` of this split
    sampler      who writes
    k            samples a problem
    filters      name -> filter, in this order; the verdict (rule or judge) is one of them
    duplicates   False drops a completion that the same question has already
    per_problem  at most so many rows a problem, the first ones; null: all
    against      name -> task: problems and general rows that repeat a test problem of these are left out, by common word n-grams
    n, share     words in a gram, and the share of the test problem's grams that must recur (0: any one; see tasks.decontaminate)
    general      general data; null: none
    copies       how often each general row that is kept goes into the mix: a small set would be drowned by its tokens otherwise
    ratio        reasoning : general among the rows that are kept (the paper: about 600k to 200k); null: all there are
    """

    def __init__(
        self,
        task: Task,
        sampler: Sampler | functools.partial,
        k: int = 4,
        split: Literal["train", "validation", "test"] = "train",
        limit: int | None = None,
        filters: Mapping[str, Filter | None] | None = None,
        duplicates: bool = False,
        per_problem: int | None = None,
        against: Mapping[str, Task | None] | None = None,
        n: int = 10,
        share: float = 0.0,
        general: General | None = None,
        copies: int = 1,
        ratio: Sequence[float] | None = None,
        name: str = "rejection",
    ) -> None:
        if per_problem is not None and per_problem < 1:
            raise ValueError(f"per_problem must be at least 1, or null for all, got {per_problem}")
        if general is None and (ratio is not None or copies != 1):
            raise ValueError(f"ratio and copies need general data, got ratio={ratio}, copies={copies} and general=null")
        if copies < 1:
            raise ValueError(f"copies must be at least 1, got {copies}")
        self.evaluation = [problem for other in (against or {}).values() if other is not None for problem in other.test]
        asked = problems_of(task, split, limit)
        self.problems, self.leaks = decontaminate(asked, self.evaluation, n, share)
        self.sampler, self.k, self.filters, self.duplicates = sampler, k, dict(filters or {}), duplicates
        self.per_problem, self.n, self.share = per_problem, n, share
        self.general, self.copies, self.ratio, self.name = general, copies, ratio, name

    def __call__(self, desk: Desk) -> tuple[list[Row], dict[str, Any]]:
        rows = sift(desk.sample(self.name, self.sampler, self.problems, self.k), self.filters)
        rows = capped(rows if self.duplicates else without_duplicates(rows), self.per_problem)
        others = self.general(desk) if self.general is not None else []
        if self.evaluation:
            others = without_leaks(others, self.evaluation, self.n, self.share)
        others = copied(without_duplicates(others), self.copies)
        return mixed(rows, others, self.ratio, desk.seed), {"problems": self._problems()}

    def _problems(self) -> dict[str, Any]:
        """How many problems were asked for, sampled and left out, and which they repeat."""
        leaks = [{"id": problem.id, "repeats": found.id} for problem, found in self.leaks]
        return {
            "read": len(self.problems) + len(leaks),
            "kept": len(self.problems),
            "dropped": {"contaminated": len(leaks)},
            "leaks": leaks,
        }
