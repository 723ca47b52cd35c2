"""References: 1 for a final summary that is one of the replies the problem lists as right, word for word, 0 otherwise.

For questions whose replies are known though no grammar of answers is (`meta["references"]`, see `tasks.tiny_general`): what a
preference model was taught can then be checked by rule. A benchmark takes it as its judge.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1.records import Trace
from r1.rewards.base import read


class References:
    """1.0 or 0.0; None for problems without references. White space does not count; a completion that was cut off is wrong."""

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        known = trace.problem.meta.get("references")
        if not known:
            return None
        said = " ".join((read(trace).summary or "").split())
        return float(not trace.truncated and said in {" ".join(reply.split()) for reply in known})
