from __future__ import annotations

import re
from random import Random

import pytest

from r1.grading import correct
from r1.tasks.countdown import Countdown, combine


def test_every_solution_uses_all_numbers_and_reaches_the_target() -> None:
    task = Countdown(size=300, validation=20, test=30, count=(3, 5))
    for problem in task.train + task.validation + task.test:
        numbers = sorted(map(int, re.findall(r"\d+", problem.answer)))
        assert numbers == problem.meta["numbers"]
        assert eval(problem.answer) == problem.meta["target"]
        assert 0 < problem.meta["target"] <= 999
        assert problem.meta["use"] == len(numbers)
        assert f"equals {problem.meta['target']}." in problem.question
    assert {p.meta["use"] for p in task.train} == {3, 4, 5}
    assert len({p.id for p in task.train}) == len(task.train)


def test_parts_share_no_numbers() -> None:
    task = Countdown(size=90, validation=10, test=15, count=(2, 2), highest=9)
    parts = [{tuple(p.meta["numbers"]) for p in part} for part in (task.train, task.validation, task.test)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))


def test_same_arguments_same_problems() -> None:
    assert Countdown(50, 5, 5).train == Countdown(50, 5, 5).train
    assert Countdown(50, 5, 5).train != Countdown(50, 5, 5, seed=1).train
    assert "写出" in Countdown(5, 1, 1, language="zh").train[0].question


def test_inner_values_are_positive_integers_within_the_limit() -> None:
    # 1 and 7 without + and *: only 7 - 1 and 7 / 1 are possible, 1 - 7 and 1 / 7 are not
    found = {combine(Random(i), [1, 7], "-/", 100) for i in range(50)}
    assert found == {(6, "7 - 1"), (7, "7 / 1"), None}
    assert {combine(Random(i), [9, 9], "*", 80) for i in range(5)} == {None}


def test_too_few_problems_and_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="different problems of the 520 asked for"):
        Countdown(size=500, validation=10, test=10, count=(2, 2), highest=4, operations="+")
    for arguments, message in (
        ({"count": (1, 3)}, "2 <= fewest"),
        ({"operations": "^"}, "any of"),
        ({"language": "fr"}, "en, zh"),
    ):
        with pytest.raises(ValueError, match=message):
            Countdown(**arguments)


def test_the_grader_accepts_any_solution_and_no_cheat() -> None:
    problem = next(
        p for p in Countdown(size=200, validation=1, test=1, count=(3, 3)).train if "*" not in p.answer and "/" not in p.answer
    )
    target = problem.meta["target"]
    assert correct(problem, problem.answer)
    assert correct(problem, f"({problem.answer})")
    assert not correct(problem, str(target))
    assert not correct(problem, f"{problem.answer} + 1 - 1")
    assert not correct(problem, " + ".join(map(str, problem.meta["numbers"][:2])))
