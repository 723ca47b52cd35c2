from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from r1.tasks.gym import Gym, score


def fake(name: str, size: int, seed: int, **config: Any) -> list[dict[str, Any]]:
    """Entries of reasoning-gym's shape; every second question repeats the one before it."""
    if name != "chain_sum":
        raise ValueError(f"Dataset '{name}' not registered")
    return [{"question": f"{seed} + {i // 2}?", "answer": str(seed + i // 2), "metadata": config} for i in range(size)]


def test_problems_carry_what_the_scorer_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", SimpleNamespace(create_dataset=fake))
    task = Gym("chain_sum", size=10, validation=3, test=4, config={"max_terms": 6}, seed=1)
    everything = task.train + task.validation + task.test
    assert [len(task.train), len(task.validation), len(task.test)] == [10, 3, 4]
    assert len({p.question for p in everything}) == len({p.id for p in everything}) == 17
    problem = next(p for p in everything if p.question == "1 + 5?")
    assert problem.answer == "6"
    entry = {"question": "1 + 5?", "answer": "6", "metadata": {"max_terms": 6}}
    assert problem.meta == {"verifier": "exact", "gym": {"dataset": "chain_sum", "entry": entry}}
    with pytest.raises(ValueError, match="cannot make 'chian_sum'"):
        Gym("chian_sum")


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ValueError, match=r"pip install 'r1-lab\[tasks\]'"):
        Gym("chain_sum")


def test_a_real_generator() -> None:
    pytest.importorskip("reasoning_gym", reason="reasoning-gym comes with the extra `tasks`")
    task = Gym("chain_sum", size=20, validation=2, test=2, config={"max_terms": 3})
    for problem in task.train:
        assert score(problem, problem.answer) == 1.0
        assert score(problem, "no") < 0.5
        assert score(problem, None) < 0.5
