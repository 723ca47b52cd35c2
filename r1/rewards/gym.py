"""Scorers of reasoning-gym (an extra: `pip install 'r1-lab[tasks]'`) as a reward part.

Its scorers are generous and brittle: several pay 0.01-0.05 for garbage and some raise on text they did not expect. So only full
marks count by default, and an exception is a wrong answer, counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1.records import Trace
from r1.rewards.base import read
from r1.tasks.gym import TASKS_EXTRA, score


class ReasoningGym:
    """1.0 or 0.0 for problems that reasoning-gym made (`meta["gym"]` holds its item), None for others.

    threshold  scores below it are worth 0; at or above it the score itself. 1.0 pays for full marks only
    """

    def __init__(self, threshold: float = 1.0) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], got {threshold}")
        self.threshold = threshold
        self.exceptions = 0

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        if "gym" not in trace.problem.meta:
            return None
        answer = read(trace).answer
        if answer is None:
            return 0.0
        try:
            value = score(trace.problem, answer)
        except ImportError as error:
            raise ValueError(f"problem {trace.problem.id!r} is scored by reasoning-gym: {TASKS_EXTRA}") from error
        except Exception:  # the scorer's, on text that a model wrote: any kind is possible
            self.exceptions += 1
            return 0.0
        return value if value >= self.threshold else 0.0
