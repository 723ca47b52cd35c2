"""Language consistency: the share of target-language words in the thought (R1 v2 eq. 7)."""

from __future__ import annotations

from collections.abc import Sequence

from r1.grading.language import word_counts
from r1.records import Trace
from r1.rewards.base import read


class Language:
    """0.0 ... 1.0, the share of the thought's words that are in the target language; words by script, mathematics neutral.

    An empty thought earns 0, or leaving it empty would be the safest way to be consistent. A thought without words but with
    something in it (numbers, formulas) is in no language: None. Where no thought is marked at all, the whole text counts as one.

    target  "en" or "zh"; by default the problem's own language
    """

    def __init__(self, target: str | None = None) -> None:
        if target not in (None, "en", "zh"):
            raise ValueError(f"language target must be 'en', 'zh' or null (the problem's language), got {target!r}")
        self.target = target

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        target = self.target or trace.problem.language
        if target not in ("en", "zh"):
            raise ValueError(f"language reward can tell 'en' and 'zh' apart, problem {trace.problem.id!r} asks for {target!r}")
        thought = read(trace).think
        text = trace.text if thought is None else thought
        words = word_counts(text)
        total = sum(words.values())
        if total == 0:
            return None if any(c.isalnum() for c in text) else 0.0
        return words[target] / total
