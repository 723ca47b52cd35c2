"""Prompts that nothing but a preference model can judge: the general data of R1's last stage (v2 Table 4: 66k and 12k)."""

from __future__ import annotations

from r1.records import Problem
from r1.tasks.columns import QUESTION_COLUMNS, column, question_text
from r1.tasks.rows import BadRow, OnBad, Row, collect, read_rows


class Prompts:
    """Questions without an answer from a .jsonl or .parquet file or a hub dataset; all of them are for training.

    question  column; None: the usual ones (problem, question, prompt). Chat messages give their last user message
    domain    of rows without a column `domain`: "general", or "safety" for requests that should be refused
    on_bad    "error" names the line of a row that cannot be used, "skip" leaves it out and counts it
    """

    def __init__(
        self,
        path: str,
        name: str = "prompts",
        question: str | None = None,
        domain: str = "general",
        language: str = "en",
        hub_split: str = "train",
        hub_subset: str | None = None,
        on_bad: OnBad = "error",
    ) -> None:
        self.name, self.question, self.domain, self.language = name, question, domain, language
        self.seen: set[str] = set()
        self.train, self.bad = collect(path, read_rows(path, hub_split, hub_subset), self._problem, on_bad)
        self.validation: list[Problem] = []
        self.test: list[Problem] = []

    def _problem(self, row: Row) -> Problem:
        question = question_text(column(row, self.question, (*QUESTION_COLUMNS, "messages")))
        if question in self.seen:
            raise BadRow(f"the question occurs twice: {question[:60]!r}")
        self.seen.add(question)
        language, domain = str(row.get("language") or self.language), str(row.get("domain") or self.domain)
        return Problem(f"{self.name}/{len(self.seen)}", question, None, domain=domain, language=language)
