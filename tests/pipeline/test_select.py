from __future__ import annotations

from types import SimpleNamespace

import pytest

from r1.pipeline.rows import kept
from r1.pipeline.select import capped, copied, mixed, without_duplicates, without_leaks
from r1.records import Problem

ONE, TWO = Problem("q/1", "1 + 1?", "2"), Problem("q/2", "2 + 2?", "4")


def test_duplicates_are_of_one_question_and_differ_in_more_than_space_and_case(lab: SimpleNamespace) -> None:
    texts = [("A  b", ONE), ("a b", ONE), ("a b", TWO), ("a c", ONE), (" A B ", ONE)]
    rows = without_duplicates([lab.row(text, problem, id=str(i)) for i, (text, problem) in enumerate(texts)])
    assert [row.dropped for row in rows] == [None, "duplicate: of 0", None, None, "duplicate: of 0"]


def test_a_dropped_row_is_nobodys_original(lab: SimpleNamespace) -> None:
    rows = without_duplicates([lab.row("a", id="0", dropped="wrong"), lab.row("a", id="1")])
    assert [row.dropped for row in rows] == ["wrong", None]


def test_cap(lab: SimpleNamespace) -> None:
    rows = [lab.row(str(i), problem, id=str(i)) for i, problem in enumerate([ONE, ONE, TWO, ONE])]
    rows[0] = lab.row("0", ONE, id="0", dropped="wrong")  # takes no place
    assert [row.reason for row in capped(rows, 1)] == ["wrong", "", "", "over the cap"]
    assert [row.reason for row in capped(rows, 2)] == ["wrong", "", "", ""]
    assert capped(rows, None) == rows
    with pytest.raises(ValueError, match="at least 1 row"):
        capped(rows, 0)


def test_leaks(lab: SimpleNamespace) -> None:
    """In 3-grams: "find the sum of" shares "find the sum" with the exam's "now find the sum", "what is a sum" shares none."""
    exam = [Problem("exam/7", "now find the sum", "1")]
    rows = [
        lab.row("a", Problem("p/1", "find the sum of", "1"), id="1"),
        lab.row("b", Problem("p/2", "what is a sum", "1"), id="2"),
    ]
    assert [row.dropped for row in without_leaks(rows, exam, 3, 0.0)] == ["contaminated: repeats exam/7", None]
    assert [row.dropped for row in without_leaks(rows, exam, 3, 0.6)] == [None, None]  # one of the exam's two grams is half


@pytest.mark.parametrize(
    ("reasoning", "general", "ratio", "counts"),
    [
        (9, 9, [600, 200], (9, 3)),
        (9, 2, [600, 200], (6, 2)),
        (7, 9, [1, 1], (7, 7)),
        (9, 9, None, (9, 9)),
        (9, 0, [3, 1], (9, 0)),
    ],
)
def test_mix(lab: SimpleNamespace, reasoning: int, general: int, ratio, counts: tuple[int, int]) -> None:
    """9 and 9 at 3:1: nine reasoning rows want three general ones. 9 and 2: two general ones want six."""
    first = [lab.row("a", id=f"r{i}") for i in range(reasoning)]
    second = [lab.row("b", id=f"g{i}") for i in range(general)]
    rows = mixed(first, second, ratio, seed=0)
    assert len(rows) == reasoning + general
    names = [row.id for row in kept(rows)]
    assert (sum(n[0] == "r" for n in names), sum(n[0] == "g" for n in names)) == counts
    assert {row.reason for row in rows} <= {"", "surplus"}


def test_copies_are_rows_of_their_own_and_dropped_rows_have_none(lab: SimpleNamespace) -> None:
    rows = copied([lab.row("a", id="g0"), lab.row("b", id="g1", dropped="wrong: x")], 3)
    assert [(row.id, row.completion) for row in kept(rows)] == [("g0", "a"), ("g0*2", "a"), ("g0*3", "a")]
    assert len(rows) == 4  # 3 kept and 1 dropped: counts reconcile


def test_who_leaves_the_mix_is_drawn_by_seed_and_not_by_place(lab: SimpleNamespace) -> None:
    first, second = [lab.row("a", id=f"r{i}") for i in range(30)], [lab.row("b", id=f"g{i}") for i in range(10)]
    chosen = [{row.id for row in kept(mixed(first, second, [1, 1], seed))} for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert {row.id for row in kept(mixed(first[::-1], second, [1, 1], 0))} == chosen[0]
    assert chosen[0] != {f"r{i}" for i in range(10)} | {f"g{i}" for i in range(10)}
    with pytest.raises(ValueError, match="two positive numbers"):
        mixed(first, second, [1, 0], 0)
