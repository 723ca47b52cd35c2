"""Multiple choice: the letter is the right answer's, wherever the keyed order has put it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from r1.grading import correct
from r1.tasks.multiple_choice import MultipleChoice

COLUMNS = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3", "Record ID")


def table(folder: Path, *rows: tuple[str, ...]) -> str:
    path = folder / "gpqa.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return str(path)


def row(i: int) -> tuple[str, ...]:
    return (f"Which colour, \nnumber {i}?", f"red, {i}", "green", "blue", "grey", f"rec{i}")


def test_the_letter_is_the_one_beside_the_right_choice(tmp_path: Path) -> None:
    problems = MultipleChoice(table(tmp_path, *map(row, range(40)))).test
    assert [p.id for p in problems[:2]] == ["gpqa/rec0", "gpqa/rec1"]
    for i, problem in enumerate(problems):
        assert f"({problem.answer}) red, {i}\n" in problem.question + "\n"
        assert sorted(problem.meta["choices"]) == sorted([f"red, {i}", "green", "blue", "grey"])
        assert correct(problem, f"({problem.answer})")
        assert not correct(problem, "B" if problem.answer == "A" else "A")
    counts = Counter(p.answer for p in problems)
    assert set(counts) == set("ABCD")
    assert max(counts.values()) < 20  # not always the same letter


def test_the_order_is_keyed_by_question_and_seed_and_not_by_the_rows_before(tmp_path: Path) -> None:
    all_rows = MultipleChoice(table(tmp_path, *map(row, range(6)))).test
    alone = MultipleChoice(table(tmp_path, row(5))).test
    assert alone[0].question == all_rows[5].question
    other = MultipleChoice(table(tmp_path, *map(row, range(6))), seed=1).test
    assert [p.answer for p in other] != [p.answer for p in all_rows]


def test_rows_that_cannot_be_asked_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 2: its 4 choices are not all there and different"):
        MultipleChoice(table(tmp_path, row(0), ("Q?", "red", "red", "blue", "grey", "r1")))
    with pytest.raises(ValueError, match=r"row 2: the id 'rec0' occurs twice"):
        MultipleChoice(table(tmp_path, row(0), row(0)))
    with pytest.raises(ValueError, match="1 to 25 wrong answers, got 0"):
        MultipleChoice(table(tmp_path, row(0)), wrong=[])
    (tmp_path / "other.jsonl").write_text(json.dumps({"question": "Q?", "right": "1", "no": "2"}))
    (problem,) = MultipleChoice(str(tmp_path / "other.jsonl"), right="right", wrong=["no"]).test
    assert problem.answer in "AB"


def test_a_row_that_lost_a_quote_is_a_bad_row(tmp_path: Path) -> None:
    path = Path(table(tmp_path, row(0)))
    path.write_text(path.read_text() + "one cell alone\n")
    with pytest.warns(UserWarning, match="1 of 2 rows left out: row 2: it has not as many cells as the header"):
        assert len(MultipleChoice(str(path), on_bad="skip").test) == 1
