"""Problems of reasoning-gym's generators (extra `tasks`): over a hundred procedural tasks with a scorer each."""

from __future__ import annotations

from typing import Any

from r1.records import Problem
from r1.tasks.base import distinct, split

TASKS_EXTRA = "pip install 'r1-lab[tasks]' (one of its dependencies needs a C compiler)"


class Gym:
    """`size` training, `validation` and `test` problems of the generator `dataset`; `config` is its difficulty.

    `verifier` is how the accuracy reward compares with the gold answer (exact, numeric, math). Where an answer is not unique,
    use the generator's own `score`: meta["gym"] holds what it needs. No question occurs twice. Raises ValueError where the
    package or the generator is missing.
    """

    def __init__(
        self,
        dataset: str,
        size: int = 2000,
        validation: int = 200,
        test: int = 500,
        config: dict[str, Any] | None = None,
        verifier: str = "exact",
        domain: str = "logic",
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        try:
            import reasoning_gym
        except ImportError as error:
            raise ValueError(f"task {dataset!r} needs the package reasoning-gym: {TASKS_EXTRA}") from error
        total = size + validation + test
        try:
            entries = reasoning_gym.create_dataset(dataset, size=2 * total, seed=seed, **(config or {}))
        except (ValueError, TypeError) as error:
            raise ValueError(f"reasoning-gym cannot make {dataset!r} with {config or {}}: {error}") from error
        self.name = name or dataset
        self.dataset, self.verifier, self.domain = dataset, verifier, domain

        def make(index: int) -> Problem | None:
            return self._problem(index, entries[index]) if index < len(entries) else None

        problems = distinct(make, total, lambda p: p.question)
        parts = split(problems, validation, test, seed, by=lambda p: p.question)
        self.train, self.validation, self.test = parts.train, parts.validation, parts.test

    def _problem(self, index: int, entry: dict[str, Any]) -> Problem:
        answer = None if entry["answer"] is None else str(entry["answer"])
        meta = {"verifier": self.verifier, "gym": {"dataset": self.dataset, "entry": entry}}
        return Problem(f"{self.name}/{index}", entry["question"], answer, self.domain, meta=meta)


def score(problem: Problem, answer: str | None) -> float:
    """What the generator's own scorer gives the answer, 0 to 1."""
    import reasoning_gym

    return float(reasoning_gym.get_score_answer_fn(problem.meta["gym"]["dataset"])(answer, problem.meta["gym"]["entry"]))
