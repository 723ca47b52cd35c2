"""Templates that ask for long solutions: the first two ways of cold start (v1 2.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1.policy.prompts import Template
from r1.tasks.rows import read_rows

EXAMPLES = Path(__file__).with_name("examples.jsonl")
FEW_SHOT = "Every question is answered by thinking aloud first, with checks and second thoughts, and then in a short summary."
DIRECT = (
    "Think the question through aloud before you answer, inside <think> and </think>. Work step by step. Look back at what you have "
    "found: is each step right, does the result fit the question? Check it in a second way, and when something is wrong, say so and try "
    "again. After </think> write a short summary of the solution that ends with the final answer in \\boxed{}. Write in the language of "
    "the question."
)
FRAME = "User: {question}\nAssistant: {solution}"


def few_shot(
    examples: str | Sequence[Mapping[str, str]] | None = None,
    shots: int = 2,
    chat: bool = False,
    intro: str = FEW_SHOT,
    frame: str = FRAME,
    join: str = "\n\n",
) -> Template:
    """A template that shows the first `shots` examples before the question.

    examples  a .jsonl file of {"question", "solution"}, or a list of these; null: two of our own
    chat      True: as the system line of a chat; False: as text that a base model continues
    frame     how an example is written; the question stands in it alike, up to its solution. `intro` goes first, `join` between
    """
    if "{question}" not in frame or "{solution}" not in frame:
        raise ValueError(f"a frame needs the places {{question}} and {{solution}}, got {frame!r}")
    shown = _examples(examples)[:shots]
    if not 0 < len(shown) == shots:
        raise ValueError(f"few-shot prompting shows at least 1 example; asked for {shots}, there are {len(shown)}")
    told = [frame.replace("{question}", one["question"]).replace("{solution}", one["solution"]) for one in shown]
    if chat:
        return Template("few_shot", None, join.join([intro, *told]))
    opened = frame.partition("{solution}")[0].rstrip()
    return Template("few_shot", join.join([*([intro] if intro else []), *told, opened]))


def direct(chat: bool = True, instruction: str = DIRECT, frame: str = FRAME) -> Template:
    """A template that asks for reflection and verification; as text for a model without a chat template."""
    if chat:
        return Template("direct", None, instruction)
    return Template("direct", f"{instruction}\n\n{frame.partition('{solution}')[0].rstrip()}")


def _examples(given: str | Sequence[Mapping[str, str]] | None) -> list[Mapping[str, str]]:
    rows: list[tuple[str, Any]]
    if given is not None and not isinstance(given, str):
        rows = [(f"example {i}", row) for i, row in enumerate(given, 1)]
    else:
        rows = [*read_rows(str(given or EXAMPLES))]
    for place, row in rows:
        if isinstance(row, ValueError) or not all(isinstance(row.get(key), str) and row[key] for key in ("question", "solution")):
            raise ValueError(
                f"{given if isinstance(given, str) else 'examples'}, {place}: expected a question and a solution, got {row}"
            )
        if "{question}" in row["question"] + row["solution"]:
            raise ValueError(f"{place} holds the text {{question}}, which is where the question will stand")
    return [row for _, row in rows]
