"""Reference: 1 for a reply that says what one of the known right replies says."""

from __future__ import annotations

from collections.abc import Sequence

from r1.records import Trace
from r1.rewards.base import read


class Reference:
    """1.0 where the summary is one of `problem.meta["references"]`, white space and case aside, else 0.0; None for problems without.

    For worlds whose right replies are all known (tiny_general): there it says what a preference model should have learned.
    """

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        references = trace.problem.meta.get("references")
        if references is None:
            return None
        return float(_plain(read(trace).summary) in {_plain(text) for text in references})


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
