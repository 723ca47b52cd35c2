"""`equivalent` against a table of labelled answers, and what it promises besides being right.

answers.jsonl: 2,746 rows `{kind, gold, answer, equal, split}` written by hand. The rules were tuned on the `tune` rows; the 602
`held_out` rows were written last and measured once before anything was changed for them: 599 right, one wrong accept (5:3:1 for
5:3). math-verify alone, given the box, judges 471 of them right and accepts 25 wrong ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r1.grading import counts, equivalent
from r1.grading import equivalence as module
from r1.grading.pool import shared_pool

ROWS = [json.loads(line) for line in (Path(__file__).parent / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
ISSUES = (
    "percent",
    "degree",
    "interval",
    "complex",
    "root",
    "set",
    "chinese",
    "unit",
    "choice",
    "equation",
    "base",
    "scientific",
    "hostile",
)


def misjudged(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """(wrongly accepted, wrongly rejected)"""
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda row: equivalent(row["answer"], row["gold"]), rows))
    wrong = [(row, equal) for row, equal in zip(rows, found, strict=True) if equal != row["equal"]]
    return [row for row, equal in wrong if equal], [row for row, equal in wrong if not equal]


def test_the_table_is_large_and_covers_the_hard_kinds() -> None:
    assert len(ROWS) >= 2500
    assert sum(row["split"] == "held_out" for row in ROWS) >= 300
    for kind in ISSUES:
        assert sum(row["kind"] == kind and row["split"] == "held_out" for row in ROWS) >= 5, kind
    assert len({(row["gold"], row["answer"]) for row in ROWS}) == len(ROWS)


def test_held_out_answers() -> None:
    """At least 98 % right and nothing accepted that is wrong: a wrong accept is paid for by the reward, again and again."""
    rows = [row for row in ROWS if row["split"] == "held_out"]
    accepted, rejected = misjudged(rows)
    assert accepted == []
    assert len(rejected) <= 0.005 * len(rows), rejected


@pytest.mark.slow
def test_all_answers() -> None:
    accepted, rejected = misjudged(ROWS)
    assert accepted == []
    assert len(rejected) <= 2, rejected


CHEAP = [("9 * 6", "9 * 6", True), ("42", "42", True), ("042", "42", True), ("41", "42", False), ("0.5", "1/2", True), ("1,000", "1000", True),
         (r"\frac{2}{4}", r"\frac{1}{2}", True), ("10%", r"10\%", True), ("90°", r"90^\circ", True), ("B.", "B", True), ("5 cm", "5", True),
         ("(1, 2)", "(1,2)", True), ("x > 2", r"(2,\infty)", True), ("41=42", "42", False), ("1.6e-19", "1.6e-18", False)]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold", "equal"), CHEAP)
def test_plain_answers_never_wake_sympy(answer: str, gold: str, equal: bool, monkeypatch) -> None:
    monkeypatch.setattr(module, "shared_pool", lambda: pytest.fail("asked the pool"))
    module._cache.clear()
    assert equivalent(answer, gold) is equal


def test_no_answer_is_never_right() -> None:
    """Bug 34: "" is in every string."""
    for answer in (None, "", "  ", "\n", "$", "$$", "{}", "\\text{}", "."):
        assert equivalent(answer, "42") is False


def test_an_empty_gold_answer_is_an_error_of_the_data() -> None:
    for gold in ("", "  "):
        with pytest.raises(ValueError, match="gold answer is empty"):
            equivalent("42", gold)


def test_long_answers_are_refused_and_counted() -> None:
    before = counts()["refused"]
    start = time.process_time()
    assert equivalent("1" * 10**6, "1") is False
    assert equivalent("{" * 10**6, "1") is False
    assert time.process_time() - start < 0.5
    assert counts()["refused"] >= before + 2


HOSTILE = [r"9^{9^{9^{9}}}", r"(10000000!)!", r"10^{10^{10}}!", r"\sum_{k=1}^{10^9} \frac{1}{k^2}", r"\int_0^1 x^{x^{x}} dx", r"\frac{(10^7)!}{(10^7-1)! \cdot 2}",
           "(" * 140 + "1" + ")" * 140, "-" * 290 + "1", "^{2" * 60 + "}" * 60, "\\sqrt{" * 40 + "2" + "}" * 40]  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_answers_cost_at_most_the_limit(answer: str) -> None:
    """Bug 36: no verdict, no exception, no hang. (By the clock: the limit is CPU time, and this machine may be busy.)"""
    start = time.monotonic()
    assert equivalent(answer, "17", timeout=0.5) is False
    assert time.monotonic() - start < 5.0 + 60.0  # ten limits by the clock, and a new worker's start


def test_counts_tell_what_happened() -> None:
    """Bug 37: exceptions and timeouts of the grader are a metric, not silence."""
    module._cache.clear()
    before = counts()
    assert equivalent(r"\sqrt{8}", r"2\sqrt{2}")
    assert equivalent(r"\sqrt{8}", r"2\sqrt{2}")
    after = counts()
    assert after["comparisons"] == before["comparisons"] + 2
    assert after["cached"] == before["cached"] + 1
    assert after["pool"] == before["pool"] + 1
    assert set(after) == {"comparisons", "cached", "refused", "pool", "timeouts", "crashes", "errors"}


def test_threads_share_the_pool() -> None:
    """Bug 36: equivalent is called from rollout threads, where signals do not work."""
    module._cache.clear()
    pairs = [(rf"\sqrt{{{n * n * 2}}}", rf"{n}\sqrt{{2}}") for n in range(2, 30)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda pair: equivalent(*pair), pairs))


@pytest.fixture(autouse=True, scope="module")
def leave_no_workers() -> Iterator[None]:
    yield
    shared_pool().shut_down()
