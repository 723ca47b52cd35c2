from __future__ import annotations

import pytest

from r1.grading import correct
from r1.tasks.base import Task
from r1.tasks.pair_countdown import PairCountdown, ask, candidates


@pytest.fixture(scope="module")
def task() -> PairCountdown:
    return PairCountdown(test_limit=None)


def test_candidates_of_three_numbers() -> None:
    # pairs in list order (9,6) (9,2) (6,2); differences larger first
    assert [(c.expression, c.value) for c in candidates([9, 6, 2])] == [
        ("9 + 6", 15), ("9 - 6", 3), ("9 * 6", 54), ("9 + 2", 11), ("9 - 2", 7), ("9 * 2", 18), ("6 + 2", 8), ("6 - 2", 4), ("6 * 2", 12),
    ]  # fmt: skip
    assert candidates([2, 9])[1] == (9, "-", 2, 7)
    assert ask([9, 6, 2], 54) == "use two of 9 6 2 to make 54"
    assert ask([9, 6, 2]) == "use two of 9 6 2"


def test_counts_of_the_default_task(task: PairCountdown) -> None:
    # 220 = C(12, 3) number sets; 1,884 problems in all
    assert [len(task.sets.train), len(task.sets.validation), len(task.sets.test)] == [154, 22, 44]
    assert [len(task.train), len(task.validation), len(task.test)] == [1319, 188, 377]
    assert PairCountdown().test == task.test[:250]
    # nine candidates a problem, 1,980 (candidate, target) hits: a blind valid guess is right in 11.7 %
    problems = task.train + task.validation + task.test
    hits = sum(sum(c.value == p.meta["target"] for c in candidates(p.meta["numbers"])) for p in problems)
    assert hits == 1980
    assert round(hits / 9 / len(problems), 3) == 0.117


def test_every_answer_solves_its_problem(task: PairCountdown) -> None:
    for problem in task.train + task.validation + task.test:
        a, _, b = problem.answer.split()
        assert eval(problem.answer) == problem.meta["target"] > 0
        assert a != b
        assert {int(a), int(b)} <= set(problem.meta["numbers"])
        assert problem.question == ask(problem.meta["numbers"], problem.meta["target"])
        assert problem.meta["verifier"] == "expression"
        assert problem.meta["use"] == 2


def test_the_grader_agrees_on_every_candidate(task: PairCountdown) -> None:
    """Right are the candidates that reach the target, in either order of + and *; nothing else is."""
    for problem in task.validation:
        for choice in candidates(problem.meta["numbers"]):
            assert correct(problem, choice.expression) == (choice.value == problem.meta["target"])
        a, op, b = problem.answer.split()
        assert correct(problem, f"{b} {op} {a}") == (op != "-")
        assert not correct(problem, str(problem.meta["target"]))


def test_no_number_set_in_two_parts(task: PairCountdown) -> None:
    parts = [{tuple(sorted(p.meta["numbers"])) for p in part} for part in (task.train, task.validation, task.test)]
    assert [len(part) for part in parts] == [154, 22, 44]
    assert len(parts[0] | parts[1] | parts[2]) == 220


def test_problems_are_the_same_every_time_and_move_with_the_split_seed(task: PairCountdown) -> None:
    assert PairCountdown(test_limit=None).train == task.train
    assert PairCountdown(split_seed=1).test != task.test[:250]
    assert len({p.id for p in task.train + task.validation + task.test}) == 1884
    assert isinstance(task, Task)


def test_four_number_variant() -> None:
    task = PairCountdown(count=4, highest=10, test_limit=None)
    assert len(candidates(task.train[0].meta["numbers"])) == 18
    assert [len(part) for part in (task.sets.train, task.sets.validation, task.sets.test)] == [147, 21, 42]
    assert len(task.train + task.validation + task.test) == 3108


@pytest.mark.parametrize(
    ("arguments", "message"), [({"count": 5, "highest": 4}, "count <= highest"), ({"highest": 15}, "14 at most")]
)
def test_impossible_sizes_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairCountdown(**arguments)
