"""The first few training problems of a task: what a stage that works can learn by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.records import Problem
    from r1.tasks.base import Task


class First:
    """`size` training problems (and documents, where the task has them), validated and tested on the same problems.

    Raises ValueError where the task has fewer: a smaller number should be asked for, not given.
    """

    def __init__(self, task: Task, size: int) -> None:
        if not 0 < size <= len(task.train):
            raise ValueError(f"overfit must be 1 to {len(task.train)} (the training problems), got {size}")
        self.task, self.size, self.name = task, size, task.name
        self.train: list[Problem] = task.train[:size]
        self.validation = self.test = self.train

    @property
    def documents(self) -> list[Any]:
        return list(self.task.documents[: self.size])  # type: ignore[attr-defined]
