"""Filters: from rows to one text each, None to keep or "reason: detail" to drop. One idea each.

The paper's for cold start and rejection sampling (v1 2.3.1, 2.3.3; v2 B.3.2): right answers only, no mixed languages, no repetition, no
long paragraphs, no code blocks. They run in their order, each on what those before it kept, so a row has one reason, the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from r1.analysis.reflection import repetition
from r1.grading import parse
from r1.grading.language import word_counts
from r1.grading.template import r1_format, r1_zero_format
from r1.pipeline.rows import Row, drop, kept

Filter = Callable[[Sequence[Row]], Sequence[str | None]]


def sift(rows: Sequence[Row], filters: Mapping[str, Filter | None]) -> list[Row]:
    """The rows with the reason of the first filter that refuses them; a filter that is None is switched off."""
    for one in filters.values():
        if one is not None:
            rows = drop(rows, one(kept(rows)))
    return list(rows)


class Truncated:
    """Cut by the token limit: the model would learn not to stop."""

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return ["truncated: ended at the token limit" if row.truncated else None for row in rows]


class Verdict:
    """Wrong by rule or by judge: the first of `parts` that applies to the problem decides, and has to be at least `at_least`.

    parts  parts of the shared reward, which has scored the rows: accuracy (a rule), code (tests), judge (a model) ...
    Rows that no part applies to, or whose judge gave no verdict, are dropped as "not judged": neither right nor wrong.
    """

    def __init__(self, parts: Sequence[str] = ("accuracy",), at_least: float = 1.0) -> None:
        if not parts:
            raise ValueError("a verdict needs at least one part of the reward to ask, e.g. [accuracy]")
        self.parts, self.at_least = list(parts), at_least

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> str | None:
        score = row.score
        assert score is not None, "rows are scored before they are filtered"
        unknown = sorted(set(self.parts) - set(score.parts))
        if unknown:
            raise ValueError(f"the verdict asks for {', '.join(unknown)}, but the reward has {', '.join(sorted(score.parts))}")
        values = [(name, value) for name in self.parts if (value := score.parts[name]) is not None]
        if not values:
            return f"not judged: none of {', '.join(self.parts)} applies"
        name, value = values[0]
        if math.isnan(value):
            return f"not judged: {name} gave no verdict"
        return None if value >= self.at_least else f"wrong: {name} is {value:g}"


class Format:
    """Another structure than `<think> thought </think> summary` (r1), or the template of R1-Zero (r1_zero)."""

    def __init__(self, structure: Literal["r1", "r1_zero"] = "r1") -> None:
        if structure not in ("r1", "r1_zero"):
            raise ValueError(f"structure is 'r1' or 'r1_zero', got {structure!r}")
        self.structure = structure
        self.check = r1_format if structure == "r1" else r1_zero_format

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return [None if self.check(row.completion) else f"format: not the structure {self.structure}" for row in rows]


class MixedLanguage:
    """More than `share` of the thought's words are not in its main language. Mathematics belongs to no language."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = _share(share)

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return [self._one(word_counts(thought(row))) for row in rows]

    def _one(self, words: Mapping[str, int]) -> str | None:
        total, most = sum(words.values()), max(words.values())
        if total - most <= self.share * total:
            return None
        return f"mixed language: {total - most} of {total} words are not {max(words, key=lambda name: words[name])}"


class OtherLanguage:
    """More than `share` of the thought's words are not in the language of the question."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = _share(share)

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return [self._one(row.problem.language, word_counts(thought(row))) for row in rows]

    def _one(self, language: str, words: Mapping[str, int]) -> str | None:
        total = sum(words.values())
        foreign = total - words.get(language, 0)
        return f"other language: {foreign} of {total} words are not {language}" if foreign > self.share * total else None


class Repetition:
    """More than `share` of the completion's word n-grams occurred before in it."""

    def __init__(self, n: int = 20, share: float = 0.2) -> None:
        if n < 1:
            raise ValueError(f"repetition needs n >= 1 words, got {n}")
        self.n, self.share = n, _share(share)

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        repeated = [repetition(row.completion, self.n) for row in rows]
        return [f"repetition: {r:.0%} of the {self.n}-grams occurred before" if r > self.share else None for r in repeated]


class LongParagraph:
    """A paragraph of more than `characters`: text between empty lines that nobody wants to read."""

    def __init__(self, characters: int = 2000) -> None:
        if characters < 1:
            raise ValueError(f"a paragraph may have at least 1 character, got {characters}")
        self.characters = characters

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        longest = [max(len(paragraph.strip()) for paragraph in row.completion.split("\n\n")) for row in rows]
        return [f"long paragraph: {size} characters" if size > self.characters else None for size in longest]


class CodeBlock:
    """A fenced block of code, where the problem is not about code."""

    def __init__(self, allowed: Sequence[str] = ("code",)) -> None:
        self.allowed = frozenset(allowed)

    def __call__(self, rows: Sequence[Row]) -> list[str | None]:
        return [
            "code block: the completion holds fenced code"
            if "```" in r.completion and r.problem.domain not in self.allowed
            else None
            for r in rows
        ]


def thought(row: Row) -> str:
    """What the row thinks, all of it where no thought is marked."""
    parsed = parse(row.completion, truncated=row.truncated)
    return row.completion if parsed.think is None else parsed.think


def _share(share: float) -> float:
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share between 0 and 1, got {share}")
    return share
