"""Making a right but unreadable solution readable: the third way of cold start (v1 2.3.1; v2 B.3.2).

The paper has a model turn R1-Zero's outputs into a thought in the first person and a summary, in the language of the question. A
rewriter is any `(desk, rows) -> rows`: what it cannot rewrite it drops with a reason. Nothing is trusted: rewritten rows are scored and
filtered anew.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from r1.grading import parse
from r1.pipeline.desk import Desk
from r1.pipeline.rows import Row
from r1.pipeline.samplers import Sampler
from r1.records import Problem
from r1.tasks.words import LEXICON

LANGUAGES = {"en": "English", "zh": "Chinese"}
INSTRUCTION = """Below stand a question and a draft of its solution. Rewrite the draft so that it is pleasant to read.

- Write the thinking in the first person, as your own, in {language}, the language of the question; translate what is in another.
- Keep its course: every step, every check, every mistake that is noticed and mended. Solve nothing anew and leave nothing out.
- Plain prose in short paragraphs, formulas in LaTeX, no code blocks, no headings.
- After the thinking, give a short summary of the solution. It ends with the draft's final answer, unchanged, in \\boxed{}.

Write the thinking between <think> and </think> and the summary after it, and nothing else.

Question:
{question}

Draft:
{draft}"""


class Rewriter(Protocol):
    def __call__(self, desk: Desk, rows: Sequence[Row]) -> list[Row]: ...


class ModelRewriter:
    """A model rewrites (the paper: DeepSeek-V3).

    sampler      a policy or an endpoint, with the template of a chat model
    instruction  text with {question}, {draft} and {language}
    """

    def __init__(self, sampler: Sampler | functools.partial, instruction: str = INSTRUCTION) -> None:
        missing = [name for name in ("{question}", "{draft}") if name not in instruction]
        if missing:
            raise ValueError(f"the instruction of a rewriter must show the model {' and '.join(missing)}")
        self.sampler, self.instruction = sampler, instruction

    def __call__(self, desk: Desk, rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        name = f"{rows[0].provenance['way']}-rewritten"  # two ways may have a rewriter each
        replies = desk.sample(name, self.sampler, [self._ask(row) for row in rows], n=1, scored=False)
        return [self._read(row, reply) for row, reply in zip(rows, replies, strict=True)]

    def _ask(self, row: Row) -> Problem:
        language = LANGUAGES.get(row.problem.language, row.problem.language)
        text = self.instruction.replace("{language}", language)
        text = text.replace("{question}", row.problem.question).replace("{draft}", row.completion)
        return Problem(row.id, text, domain="general", language=row.problem.language)

    def _read(self, row: Row, reply: Row) -> Row:
        parsed = parse(reply.completion, truncated=reply.truncated)
        if reply.truncated or not parsed.think or not parsed.summary:
            why = "it was cut" if reply.truncated else "it has no thought and summary"
            return replace(row, dropped=f"not rewritten: {why}")
        text = f"<think>\n{parsed.think}\n</think>\n\n{parsed.summary}"
        return replace(row, completion=text, provenance={**row.provenance, "rewriter": reply.provenance["model"]})


# The first word of a thought in the first person, and the summary of a solution.
TINY_WORDS = {"en": ("i", "the answer is {answer} ."), "zh": ("我", "答案 是 {answer} 。")}


class TinyRewriter:
    """Rewrites by rule what the tiny task family writes: no model, and good for nothing else.

    The thought is put word by word into the language of the question and begins in the first person; the summary says the answer
    in a sentence:   <think> i try 9 plus 6 is 15 want 54 no . wait , try 9 times 6 is 54 want 54 yes . </think> the answer is 9 * 6 .
    """

    def __call__(self, desk: Desk, rows: Sequence[Row]) -> list[Row]:
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> Row:
        parsed = parse(row.completion, truncated=row.truncated)
        if not parsed.think or not parsed.answer:
            return replace(row, dropped="not rewritten: it has no thought or no answer")
        language = row.problem.language
        if language not in TINY_WORDS:
            raise ValueError(
                f"the tiny rewriter speaks {' and '.join(TINY_WORDS)}, problem {row.problem.id!r} asks for {language!r}"
            )
        first, summary = TINY_WORDS[language]
        text = f"<think> {first} {in_language(parsed.think, language)} </think> {summary.format(answer=parsed.answer)}"
        return replace(row, completion=text, provenance={**row.provenance, "rewriter": "rule"})


def in_language(text: str, language: str) -> str:
    """The words of the tiny family put into one language; others stay.

    >>> in_language("试 9 加 6 得 15 要 54 no 。", "en")
    'try 9 plus 6 is 15 want 54 no .'
    """
    known = {word: key for lexicon in LEXICON.values() for key, word in lexicon.items()}
    return " ".join(LEXICON[language][known[word]] if word in known else word for word in text.split())
