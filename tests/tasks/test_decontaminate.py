from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.records import Problem
from r1.tasks.base import Task
from r1.tasks.competition import Competition
from r1.tasks.decontaminate import Decontaminated, decontaminate, ngrams


def ids(problems: list[Problem]) -> list[str]:
    return [p.id for p in problems]


def test_planted_leaks_are_found() -> None:
    """bug 49: evaluation problems in the training set. A copy, a light edit and a Chinese copy are found; a paraphrase is not."""
    exam = [
        Problem("exam/1", "Let $x$ and $y$ be positive integers with $x + y = 30$. Find the largest value of $xy$ that is odd."),
        Problem("exam/2", "芳芳买了一本书有99页，看了90页，她还剩多少页没有看？"),
        Problem("exam/3", "Compute 7!."),
    ]
    train = [
        Problem("copy", exam[0].question),
        Problem("edit", "A warm-up: let x and y be positive integers with X+Y=30; find the largest value of xy!"),
        Problem("zh", "小明说：芳芳买了一本书有 99 页，看了 80 页。"),
        Problem("short", "compute 7!"),
        Problem("paraphrase", "Two natural numbers sum to thirty. What is the biggest odd product they can have?"),
        Problem("other", "Compute 7! + 1."),
    ]
    clean, leaks = decontaminate(train, exam)
    assert [(a.id, b.id) for a, b in leaks] == [("copy", "exam/1"), ("edit", "exam/1"), ("zh", "exam/2"), ("short", "exam/3")]
    assert ids(clean) == ["paraphrase", "other"]


def test_ngrams_by_hand() -> None:
    assert ngrams("A b, C d", 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert ngrams("书有99页", 3) == {("书", "有", "99"), ("有", "99", "页")}
    assert ngrams("two words", 10) == {("two", "words")}
    assert ngrams("?!", 10) == set()


def test_set_phrases_of_aime_are_not_leaks_when_a_share_is_asked(data_dir: Path) -> None:
    """No problem of 1983-2023 recurs in 2024-2026; any common 10-gram would throw 257 of 975 away, 40 % of them none."""

    def load(name: str) -> list[Problem]:
        return Competition(str(data_dir / f"{name}.jsonl")).test

    exam = load("aime2024") + load("aime2025") + load("aime2026")
    past = load("aime1983_2023")
    assert [len(decontaminate(past, exam, share=share)[1]) for share in (0.0, 0.3, 0.4)] == [257, 3, 0]
    clean, leaks = decontaminate([*past, exam[7]], exam, share=0.4)
    assert (len(clean), ids(leaks[0])) == (975, [exam[7].id] * 2)


def test_a_task_without_its_leaks() -> None:
    words = "one two three four five six seven eight nine ten eleven"
    own, other, kept = Problem("own", words), Problem("other", "zero " + words[::-1]), Problem("kept", "something else")
    task = SimpleNamespace(
        name="t", train=[Problem("a", own.question), Problem("b", other.question), kept], validation=[], test=[own]
    )
    clean = Decontaminated(task, {"exam": SimpleNamespace(name="exam", train=[kept], validation=[], test=[other])})
    assert clean.train == [kept]
    assert [(a.id, b.id) for a, b in clean.leaks] == [("a", "own"), ("b", "other")]
    assert (clean.name, clean.test) == ("t", [own])
    assert isinstance(clean, Task)
    assert clean.phases == [(0, [kept])]
    task.phases = [(0, task.train[:1]), (7, task.train)]
    assert Decontaminated(task, {}).phases == [(0, []), (7, task.train[1:])]


def test_impossible_settings_are_refused() -> None:
    for n, share in ((0, 0.0), (10, 1.5)):
        with pytest.raises(ValueError, match="n >= 1 words and a share"):
            decontaminate([], [], n, share)
