"""A thousand inputs that nobody meant to give: an answer, or a ValueError that says what is wrong; never another exception, never slow."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from r1.build import ConfigError, compose
from r1.grading import parse
from r1.policy.prompts import named
from r1.policy.tiny import word_tokenizer
from r1.records import Problem, Trace
from r1.rewards import Format
from r1.rollout.trace_file import TraceWriter, read_traces

PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "{", "\\fbox{", "$", "\\frac", "<", ">", "/", "\n", " ", "1", "x", "9^9^9",
    "答案", "\u2028", "\x00", "\ud83d", "<eos>", "{question}", "%s", "\\", "\"", "'", "NaN", "1e999", "-" * 40, "(" * 30, "</think", "<THINK>",
]  # fmt: skip


def soup(rng: random.Random, longest: int = 40) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(longest)))


def quick(work: Callable[[], object], limit: float = 0.05) -> None:
    """CPU seconds, the best of three if the first was slow (the machine may be busy collecting garbage)."""
    for _ in range(3):
        started = time.process_time()
        work()
        if time.process_time() - started < limit:
            return
    raise AssertionError(f"more than {limit} s")


def answer(work: Callable[[], object], refusal: type[Exception] = ValueError) -> object:
    """What it returns, or the text of the refusal."""
    try:
        return work()
    except refusal as error:
        return str(error)


def test_400_completions_through_parser_and_format() -> None:
    rng = random.Random(1)
    for _ in range(400):
        text, cut = soup(rng), rng.random() < 0.3
        trace = Trace(Problem("p", "q", "1"), [1], [2], [-1.0], text, "length" if cut else "stop")
        quick(lambda text=text, cut=cut: parse(text, truncated=cut))
        (value,) = Format()([trace])
        assert value in (0.0, 1.0)


def test_200_questions_through_every_template() -> None:
    """Whatever a question holds, it stands in the prompt as it is: braces are no fields, tags are no template."""
    rng = random.Random(2)
    tokenizer = word_tokenizer(["a", "b"])
    for i in range(200):
        question = soup(rng).replace("\ud83d", "")
        template = named(("r1_zero", "tiny")[i % 2])
        assert question in template.render(Problem("p", question), tokenizer)


@pytest.mark.filterwarnings("ignore:.*torn")
def test_300_damaged_trace_files(tmp_path: Path) -> None:
    rng = random.Random(3)
    for name in ("t.jsonl", "t.jsonl.zst"):
        path = tmp_path / name
        writer = TraceWriter(path)
        for step in range(3):
            writer.write([Trace(Problem("p", "q", "1"), [1, 2], [3], [-1.0], "1", "stop")] * 2, step=step, stage="s", phase="p")
        whole = path.read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(data))
                if rng.random() < 0.3:
                    del data[at : at + rng.randrange(1, 30)]
                else:
                    data[at] = rng.randrange(256)
            path.write_bytes(data)
            said = answer(lambda path=path: [trace for trace, _ in read_traces(path)])
            assert len(said) <= 6 if isinstance(said, list) else str(path) in said


@pytest.mark.slow
def test_150_overrides() -> None:
    """A wrong override is a ConfigError with a message; a right one composes."""
    rng = random.Random(4)
    keys = [
        "stage",
        "stage.steps",
        "optimizer.lr",
        "reward.weights.format",
        "policy",
        "seed",
        "task.count",
        "trainer",
        "nonsense",
        "name",
        "rollout",
    ]
    values = [
        "1",
        "-1",
        "abc",
        "null",
        "1e999",
        "[1,2]",
        "{a:1}",
        "'",
        "${seed}",
        "${nothing}",
        "${oc.env:NOT_SET}",
        "true",
        "",
        "grpo",
        "../x",
        "é",
    ]
    for _ in range(150):
        override = f"{rng.choice(['', '', '+', '++', '~'])}{rng.choice(keys)}={rng.choice(values)}"
        said = answer(lambda override=override: compose("train", [override]), ConfigError)
        assert not isinstance(said, str) or len(said) > 10, override
