from __future__ import annotations

import re

import pytest

from r1.grading import correct
from r1.tasks.arithmetic import Arithmetic, evaluate


def test_gold_answers_are_exact() -> None:
    task = Arithmetic(size=400, validation=20, test=30, terms=(2, 6), digits=(1, 3), parentheses=0.5)
    everything = task.train + task.validation + task.test
    for problem in everything:
        expression = problem.question.removeprefix("Calculate ").removesuffix(".")
        assert eval(expression) == int(problem.answer)
    assert [len(task.train), len(task.validation), len(task.test)] == [400, 20, 30]
    assert len({p.question for p in everything}) == 450
    assert any("(" in p.question for p in everything)
    assert {len(re.findall(r"\d+", p.question)) for p in everything} == {2, 3, 4, 5, 6}


def test_precedence_by_hand() -> None:
    assert evaluate([2, 3, 4], ["+", "*"]) == 14
    assert evaluate([2, 3, 4], ["*", "-"]) == 2
    assert evaluate([5, 3, 4, 2], ["-", "*", "*"]) == -19
    assert evaluate([7], []) == 7


def test_difficulty_and_language() -> None:
    hard = Arithmetic(20, 1, 1, terms=(8, 8), digits=(4, 4), parentheses=0.0, language="zh")
    assert all(len(re.findall(r"\d{4}", p.question)) == 8 and p.question.startswith("计算") for p in hard.train)
    assert all(p.language == "zh" for p in hard.train)
    assert Arithmetic(20, 1, 1, seed=1).train != Arithmetic(20, 1, 1).train


def test_wrong_arguments_are_refused() -> None:
    for arguments, message in (
        ({"terms": (1, 2)}, "2 <= terms"),
        ({"operations": "/"}, "any of"),
        ({"language": "fr"}, "en, zh"),
        ({"size": 200, "digits": (1, 1), "terms": (2, 2), "operations": "+"}, "81 different problems"),
    ):
        with pytest.raises(ValueError, match=message):
            Arithmetic(**arguments)


def test_repeating_the_question_is_no_answer() -> None:
    for problem in Arithmetic(20, 1, 1).train:
        assert correct(problem, problem.answer)
        assert not correct(problem, problem.question.removeprefix("Calculate ").removesuffix("."))
        assert not correct(problem, str(int(problem.answer) + 1))
