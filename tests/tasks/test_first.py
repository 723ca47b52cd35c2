"""The task that debug=overfit trains on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from r1.records import Problem
from r1.tasks.first import First

PROBLEMS = [Problem(id=f"p/{i}", question=str(i), answer=str(i)) for i in range(5)]


def test_the_first_problems_are_all_there_is() -> None:
    task = First(SimpleNamespace(name="toy", train=PROBLEMS, validation=[], test=[], documents=["a", "b", "c"]), 2)
    assert [p.id for p in task.train] == ["p/0", "p/1"]
    assert task.validation == task.test == task.train  # what was learnt by heart is what is asked
    assert task.documents == ["a", "b"]


@pytest.mark.parametrize("size", [0, 6])
def test_a_task_is_not_made_smaller_than_asked(size: int) -> None:
    with pytest.raises(ValueError, match=r"overfit must be 1 to 5 \(the training problems\), got"):
        First(SimpleNamespace(train=PROBLEMS), size)
