"""Accuracy: 1 for the right final answer, 0 for a wrong one or none (R1 v1 2.2.2: checked by rule, no neural model)."""

from __future__ import annotations

from collections.abc import Sequence

from r1.grading import correct
from r1.records import Trace
from r1.rewards.base import read


class Accuracy:
    """1.0 right, 0.0 wrong or no answer; None where the problem has nothing a rule could check.

    The verifier is the problem's own choice (`meta["verifier"]`: math, numeric, exact, choice, expression), so that problems of
    several kinds may share a batch. Only the answer after the last closed thought is read. Code is judged by its tests, in `code`.
    """

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        problem = trace.problem
        if problem.domain == "code" or (problem.answer is None and problem.meta.get("verifier") != "expression"):
            return None
        return float(correct(problem, read(trace)))
