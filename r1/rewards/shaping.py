"""Shaping: small terms that steer how an answer is written. None of them is in the R1 papers; add them by weight."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from r1.grading import correct
from r1.records import Trace
from r1.rewards.base import read


class Overlong:
    """Soft overlong penalty (DAPO, eq. 13): 0 up to `limit - margin` tokens, then linearly down to -1 at `limit` and beyond.

    A hard cut punishes a sound thought as much as rambling; this one leaves a slope to follow.
    """

    def __init__(self, limit: int, margin: int) -> None:
        if not 0 < margin <= limit:
            raise ValueError(f"overlong needs 0 < margin <= limit (tokens), got margin={margin}, limit={limit}")
        self.limit, self.margin = limit, margin

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [max(-1.0, min(0.0, (self.limit - self.margin - len(t.token_ids)) / self.margin)) for t in traces]


class Cosine:
    """Length reward on a cosine (Yeo et al. 2025, "Demystifying long chain-of-thought"): short right answers earn most, short wrong
    ones least, so that the policy thinks longer exactly where it fails.

    right, wrong  (value at length 0, value at `limit`); beyond the limit: `exceeded`. None where accuracy cannot be judged.
    """

    def __init__(
        self,
        limit: int,
        right: tuple[float, float] = (1.0, 0.5),
        wrong: tuple[float, float] = (-1.0, -0.5),
        exceeded: float = -1.0,
    ) -> None:
        if limit < 1:
            raise ValueError(f"cosine needs a positive limit in tokens, got {limit}")
        self.limit, self.right, self.wrong, self.exceeded = limit, tuple(right), tuple(wrong), exceeded

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        problem, length = trace.problem, len(trace.token_ids)
        if problem.domain == "code" or (problem.answer is None and problem.meta.get("verifier") != "expression"):
            return None
        if length > self.limit or trace.truncated:
            return self.exceeded
        first, last = self.right if correct(problem, read(trace)) else self.wrong
        return last + 0.5 * (first - last) * (1 + math.cos(math.pi * length / self.limit))


class Repetition:
    """0.0 (no n-gram occurs twice) ... -1.0 (all the same): minus the share of n-grams that occurred before.

    Counted on token ids, so it means the same in every language and script. Completions shorter than `n` tokens: 0.
    """

    def __init__(self, n: int = 20) -> None:
        if n < 1:
            raise ValueError(f"repetition needs n >= 1, got {n}")
        self.n = n

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [-repeated_share(trace.token_ids, self.n) for trace in traces]


def repeated_share(items: Sequence[int], n: int) -> float:
    """Share of the n-grams of a sequence that occurred earlier in it.

    >>> repeated_share([1, 2, 1, 2, 1], 2)  # 12 21 12 21: two of four
    0.5
    """
    grams = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


_ANSWERS = re.compile(r"<answer>|\\boxed(?![A-Za-z])|\\fbox(?![A-Za-z])")


class AnswerOnce:
    """1.0 when exactly one answer is given after the thought (one `<answer>`, or one box), 0.0 otherwise.

    The last answer counts for accuracy, so listing guesses earns nothing there; this part also stops the listing.
    """

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        return [self._one(trace) for trace in traces]

    def _one(self, trace: Trace) -> float | None:
        parsed = read(trace)
        given = _ANSWERS.findall(parsed.summary)
        tags = given.count("<answer>")
        boxes = len(given) - tags
        return float(parsed.answer is not None and tags <= 1 and boxes <= 1)
