"""Rollouts one step ahead: those of step t + 1 are sampled with the weights that step t starts from.

    sampler   | rollout t+1 |      | rollout t+2 |            where the engine has weights of its own, while the trainer updates;
    trainer   |  update t   |      | update t+1  |            in one process, before the update: the same samples, no time won

Every completion is then one step old when it is learned from. Which samples a run draws depends on nothing but its seed: the
weights are handed over before the update begins, and the draws are keyed by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from r1.records import Group, Problem, Trace


class Ahead:
    """The groups of the next step, being sampled or sampled already; None when there are none."""

    def __init__(self, concurrent: bool) -> None:
        self.concurrent = concurrent
        self.groups: list[Group] | None = None
        self._running: Future[list[Group]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rollout") if concurrent else None

    def start(self, sample: Callable[[], list[Group]]) -> None:
        """Begin to sample; the weights must not change under a sampler that is not `concurrent`, so that one is done on return."""
        if self._thread is None:
            self.groups = sample()
        else:
            self._running = self._thread.submit(sample)

    def finish(self) -> None:
        """Wait until they are there. Raises what the sampler raised."""
        if self._running is not None:
            running, self._running = self._running, None
            self.groups = running.result()

    def take(self) -> list[Group] | None:
        groups, self.groups = self.groups, None
        return groups


def pack_groups(ranks: Sequence[Sequence[Group]]) -> list[list[dict[str, Any]]]:
    """The groups of all ranks as plain dicts and lists, in the order in which `Stage.my_share` deals them."""
    dealt = (group for row in zip_longest(*ranks) for group in row if group is not None)
    return [[asdict(trace) for trace in group.traces] for group in dealt]


def unpack_groups(rows: Sequence[Sequence[dict[str, Any]]]) -> list[Group]:
    groups = []
    for row in rows:
        traces = tuple(Trace(**{**fields, "problem": Problem(**fields["problem"])}) for fields in row)
        groups.append(Group(traces[0].problem, traces))
    return groups
