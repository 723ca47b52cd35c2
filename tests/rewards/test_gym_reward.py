"""reasoning-gym's scorers, with a stand-in for the package: generous ones, and one that raises."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from r1.records import Problem, Trace
from r1.rewards import ReasoningGym


def scorer(answer: str, entry: dict) -> float:
    if answer == "zzz":
        raise ValueError("not a factorisation")  # as prime_factorization does
    return {entry["answer"]: 1.0, "close": 0.5}.get(answer, 0.01)  # as countdown does for garbage


@pytest.fixture(autouse=True)
def package(monkeypatch) -> None:
    stub = ModuleType("reasoning_gym")
    stub.get_score_answer_fn = {"chain_sum": scorer}.__getitem__
    monkeypatch.setitem(sys.modules, "reasoning_gym", stub)


def trace(answer: str, made_by_gym: bool = True) -> Trace:
    meta = {"gym": {"dataset": "chain_sum", "entry": {"question": "2 + 2?", "answer": "4"}}} if made_by_gym else {}
    return Trace(
        Problem("gym/1", "2 + 2?", "4", meta=meta), [1], [2], [-0.1], f"<think>a</think> <answer>{answer}</answer>", "stop"
    )


def test_only_full_marks_count() -> None:
    assert ReasoningGym()([trace("4"), trace("close"), trace("garbage")]) == [1.0, 0.0, 0.0]
    assert ReasoningGym(threshold=0.5)([trace("4"), trace("close"), trace("garbage")]) == [1.0, 0.5, 0.0]


def test_an_exception_is_a_wrong_answer_and_counted() -> None:
    part = ReasoningGym()
    assert part([trace("zzz"), trace("4")]) == [0.0, 1.0]
    assert part.exceptions == 1


def test_other_problems_and_missing_answers() -> None:
    assert ReasoningGym()([trace("4", made_by_gym=False), trace("")]) == [None, 0.0]


def test_a_missing_package_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ValueError, match=r"pip install 'r1-lab\[tasks\]'"):
        ReasoningGym()([trace("4")])


def test_bad_threshold() -> None:
    with pytest.raises(ValueError, match="threshold"):
        ReasoningGym(threshold=0)
