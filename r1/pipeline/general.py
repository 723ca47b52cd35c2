"""General data beside the reasoning data: writing, factual questions, self-cognition, translation (v1 2.3.3; v2 B.3.3, Table 5).

The replies are there already; what they lack is a thought. A model is asked for one, except for trivial queries, which the paper answers
without a thought ("for simpler queries, such as hello").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from r1.grading import parse
from r1.pipeline.desk import Desk
from r1.pipeline.filters import Filter, sift
from r1.pipeline.rows import Row, score
from r1.pipeline.samplers import Sampler
from r1.records import Problem
from r1.tasks.documents import Lesson

INSTRUCTION = """A user asked the question below and was given the reply below it. Write down what a careful assistant thinks, in the \
first person, between reading the question and giving this reply: what is asked, what matters, how the reply is arrived at. Write in \
the language of the question. Do not repeat the reply and do not mention that it was given. Write the thinking only.

Question:
{question}

Reply:
{reply}"""


class General:
    """Lessons of a task as rows, each with a thought.

    task      anything with `documents` of lessons: task=documents with a file, or tiny_general
    sampler   who adds thoughts by prompting; null: lessons without a thought stay without
    trivial   questions of at most so many words (Chinese: characters) are trivial and get no thought
    filters   on the finished rows
    limit     the first so many lessons; null: all
    """

    def __init__(
        self,
        task: Any,
        sampler: Sampler | functools.partial | None = None,
        filters: Mapping[str, Filter | None] | None = None,
        trivial: int = 2,
        limit: int | None = None,
        instruction: str = INSTRUCTION,
    ) -> None:
        lessons = getattr(task, "documents", None)
        if not lessons or not isinstance(lessons[0], Lesson):
            raise ValueError("general data needs a task with lessons, such as task=documents with a file, or tiny_general")
        if "{question}" not in instruction or "{reply}" not in instruction:
            raise ValueError("the instruction must show the model {question} and {reply}")
        self.lessons: list[Lesson] = list(lessons)[:limit]
        self.sampler, self.filters, self.trivial, self.instruction = sampler, dict(filters or {}), trivial, instruction

    def __call__(self, desk: Desk) -> list[Row]:
        rows = [self._row(number, lesson) for number, lesson in enumerate(self.lessons)]
        bare = [row for row in rows if row.provenance["thought"] == "none" and words(row.problem.question) > self.trivial]
        if self.sampler is not None and bare:
            asked = [Problem(row.id, self._ask(row), domain="general", language=row.problem.language) for row in bare]
            replies = desk.sample("thought", self.sampler, asked, n=1, scored=False)
            thoughtful = {row.id: self._with_thought(row, reply) for row, reply in zip(bare, replies, strict=True)}
            rows = [thoughtful.get(row.id, row) for row in rows]
        return sift(score(rows, desk.reward), self.filters)

    def _row(self, number: int, lesson: Lesson) -> Row:
        problem = lesson.problem
        thought = "given" if parse(lesson.body).think else "none"
        provenance = {"way": "general", "category": problem.meta.get("category", problem.domain), "thought": thought}
        return Row(f"general/{number}", replace(problem, id=f"general/{number}"), lesson.body, provenance)

    def _ask(self, row: Row) -> str:
        return self.instruction.replace("{question}", row.problem.question).replace("{reply}", row.completion)

    def _with_thought(self, row: Row, reply: Row) -> Row:
        parsed = parse(reply.completion, truncated=reply.truncated)
        text = (parsed.think or parsed.summary).strip()  # a reasoning model may write the thinking inside its own tags
        if reply.truncated or not text:
            return replace(row, dropped=f"no thought: the model's was {'cut' if reply.truncated else 'empty'}")
        provenance = {**row.provenance, "thought": "prompted", "model": reply.provenance["model"]}
        return replace(row, completion=f"<think>\n{text}\n</think>\n\n{row.completion}", provenance=provenance)


def words(text: str) -> int:
    """Words of a question; Chinese counts characters.

    >>> words("Hello there!"), words("你是谁")
    (2, 3)
    """
    return len(re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+", text))
