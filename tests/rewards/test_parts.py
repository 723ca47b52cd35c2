"""Accuracy, format and language on whole completions: one table each, wrong beside right."""

from __future__ import annotations

import pytest

from r1.records import Problem, Trace
from r1.rewards import Accuracy, Format, Language

FOUR = Problem("p/1", "2 + 2?", "4")
TINY = Problem(
    "c/1", "use two of 9 6 2 to make 54", "9 * 6", meta={"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54}
)


def trace(text: str, problem: Problem = FOUR, finish: str = "stop") -> Trace:
    return Trace(problem, [1], [2], [-0.1], text, finish)


ACCURACY = [
    (trace(r"<think>a</think> \boxed{4}"), 1.0),
    (trace(r"<think>a</think> \boxed{5}"), 0.0),
    (trace(r"<think>\boxed{4}</think>"), 0.0),
    (trace(r"<think>\boxed{4}</think> \boxed{5}"), 0.0),
    (trace(r"<think>\boxed{4}"), 0.0),
    (trace("<think>a</think><answer></answer>"), 0.0),
    (trace(""), 0.0),
    (trace(r"\boxed{1} \boxed{2} \boxed{3} \boxed{4} \boxed{5}"), 0.0),
    (trace(r"\boxed{41=42}", Problem("p", "?", "42")), 0.0),
    (trace("<think>a</think><answer> 4", finish="length"), 0.0),
    (trace("<think> 9 * 6 is 54 yes </think> <answer> 9 * 6 </answer>", TINY), 1.0),
    (trace("<think> a </think> <answer> 54 </answer>", TINY), 0.0),
    (trace("print(4)", Problem("code/1", "?", "print(4)", domain="code")), None),
    (trace("hello", Problem("chat/1", "?", None, domain="general")), None),
]


@pytest.mark.parametrize(("row", "value"), ACCURACY)
def test_accuracy(row: Trace, value: float | None) -> None:
    assert Accuracy()([row]) == [value]


def test_special_tokens_pay_the_same() -> None:
    """Bug 38."""
    texts = [r"<think>a</think> \boxed{4}" + end for end in ("", "<|im_end|>", "</s>", "<eos>")]
    assert Accuracy()([trace(t) for t in texts]) == [1.0] * 4


FORMAT = [
    (trace("<think>a</think> <answer>4</answer>"), 1.0),
    (trace("<think></think> <answer>4</answer>"), 0.0),
    (trace("<think>a</think> <answer>4</answer><answer>4</answer>"), 0.0),
    (trace("<think>a</think> <answer>4</answer>", finish="length"), 0.0),
    (trace(r"<think>a</think> \boxed{4}"), 0.0),
]


@pytest.mark.parametrize(("row", "value"), FORMAT)
def test_format(row: Trace, value: float) -> None:
    """Bug 33; the long table is beside the check itself."""
    assert Format()([row]) == [value]


def test_format_with_a_summary() -> None:
    assert Format("r1")([trace(r"<think>a</think> so \boxed{4}")]) == [1.0]
    with pytest.raises(ValueError, match="one of r1_zero, r1, got 'xml'"):
        Format("xml")


CHINESE = Problem("zh/1", "二加二", "4", language="zh")
LANGUAGE = [
    (trace("<think> so we add </think> <answer> 4 </answer>"), 1.0),
    (trace("<think> 我们 add </think> <answer> 4 </answer>"), 1 / 3),
    (trace("<think> 我们 add </think> <answer> 4 </answer>", CHINESE), 2 / 3),
    (trace("<think> 我们相加 </think> The answer is 4."), 0.0),  # the summary is not the thought
    (trace("<think></think> The answer is 4."), 0.0),
    (trace("<think> ... </think> The answer is 4."), 0.0),
    (trace("<think> 2 + 2 = 4 </think> <answer> 4 </answer>"), None),
    (trace("<think> $x + y$ </think> <answer> 4 </answer>"), None),
    (trace("try 2 plus 2"), 1.0),  # no thought marked: the whole text is one
    (trace("<think> try 2 加 2"), 0.5),  # cut off, but a thought
]


@pytest.mark.parametrize(("row", "value"), LANGUAGE)
def test_language(row: Trace, value: float | None) -> None:
    assert Language()([row]) == [value]


def test_language_target() -> None:
    row = trace("<think> 我们 add </think> <answer> 4 </answer>")
    assert Language(target="zh")([row]) == [2 / 3]
    with pytest.raises(ValueError, match="'en', 'zh' or null"):
        Language(target="fr")
    with pytest.raises(ValueError, match="problem 'fr/1' asks for 'fr'"):
        Language()([trace("<think>a</think>", Problem("fr/1", "?", "4", language="fr"))])
