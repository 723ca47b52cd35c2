"""The strict templates against strings that try to look like them (bug 33: repeated tags, empty thoughts, text outside)."""

from __future__ import annotations

import pytest

from r1.grading.template import r1_format, r1_zero_format

GOOD = [
    "<think>a</think><answer>b</answer>",
    "<think> 9 * 6 is 54 </think> <answer> 9 * 6 </answer>",
    "<think>\nfirst\n\nsecond\n</think>\n<answer>\n42\n</answer>\n",
    "  <think>a</think>\n\n\n<answer>b</answer>  ",
    "<think>if a < b and b > c then a</think> <answer>a<b</answer>",
    "<think>想一想</think><answer>四十二</answer>",
    "<think>7</think><answer>7</answer>",
    r"<think>a</think><answer>\boxed{7}</answer>",
]

BAD = [
    # nothing, or nothing inside
    "",
    "42",
    "<think></think>",
    "<think></think><answer></answer>",
    "<think></think><answer>42</answer>",
    "<think>   </think><answer>42</answer>",
    "<think>\n\n</think><answer>42</answer>",
    "<think>...</think><answer>42</answer>",
    "<think>\u200b</think><answer>42</answer>",
    "<think>\u00a0\u2060</think><answer>42</answer>",
    "<think>a</think><answer></answer>",
    "<think>a</think><answer> </answer>",
    "<think>a</think><answer>?</answer>",
    r"<think>a</think><answer>\boxed{}</answer>",
    "<think><b></b></think><answer>42</answer>",
    # something missing
    "<think>a</think>",
    "<answer>42</answer>",
    "<think>a</think>42",
    "<think>a<answer>42</answer>",
    "a</think><answer>42</answer>",
    "<think>a</think><answer>42",
    "<think>a</think>42</answer>",
    "<think>a",
    # tags repeated
    "<think><think>a</think><answer>42</answer>",
    "<think>a</think></think><answer>42</answer>",
    "<think>a</think><think>b</think><answer>42</answer>",
    "<think>a</think><answer>42</answer><answer>42</answer>",
    "<think>a</think><answer>41</answer></answer>",
    "<think>a</think><answer><answer>42</answer>",
    "<think>a</think><answer>42</answer><think>a</think><answer>42</answer>",
    "<think>a <think>b</think> c</think><answer>42</answer>",
    "<think>a</think><answer>42<think>b</think></answer>",
    "<think>a <answer>41</answer> b</think><answer>42</answer>",
    "<think>a</think><answer>42</answer>" * 50,
    # wrong order
    "<answer>42</answer><think>a</think>",
    "</think>a<think><answer>42</answer>",
    "<think>a<answer></think>42</answer>",
    "<think>a</answer><answer>42</think>",
    "<answer><think>a</think>42</answer>",
    "<think><answer>42</answer></think>",
    # something outside
    "Sure! <think>a</think><answer>42</answer>",
    "<think>a</think> so <answer>42</answer>",
    "<think>a</think><answer>42</answer> Done.",
    "<think>a</think><answer>42</answer>\nUser: next question",
    "<think>a</think>.<answer>42</answer>",
    "\u200b<think>a</think><answer>42</answer>",
    # not the tags
    "<Think>a</Think><Answer>42</Answer>",
    "<thinking>a</thinking><answer>42</answer>",
    "<think >a</think ><answer >42</answer >",
    "< think>a</think><answer>42</answer>",
    "[think]a[/think][answer]42[/answer]",
    "＜think＞a＜/think＞＜answer＞42＜/answer＞",
    "&lt;think&gt;a&lt;/think&gt;&lt;answer&gt;42&lt;/answer&gt;",
    "<think>a</think\n><answer>42</answer>",
    "<think>a<\\think><answer>42<\\answer>",
    r"<think>a\end{think}<answer>42</answer>",
    "<тhink>a</тhink><answer>42</answer>",  # a Cyrillic letter
    "<think/>a<answer>42</answer>",
]


def test_enough_cases() -> None:
    assert len(BAD) >= 50


@pytest.mark.parametrize("text", GOOD)
def test_good(text: str) -> None:
    assert r1_zero_format(text)


@pytest.mark.parametrize("text", BAD)
def test_bad(text: str) -> None:
    """Bug 33."""
    assert not r1_zero_format(text)


def test_template_that_opens_the_thought() -> None:
    """Bug 32: with <think> in the prompt the completion must begin inside the thought, else format could never be paid."""
    assert r1_zero_format("a</think><answer>42</answer>", opened=True)
    assert not r1_zero_format("<think>a</think><answer>42</answer>", opened=True)
    assert not r1_zero_format("</think><answer>42</answer>", opened=True)


def test_thought_then_summary() -> None:
    assert r1_format(r"<think>a</think> The answer is \boxed{42}.")
    assert r1_format(r"a</think> \boxed{42}", opened=True)
    for wrong in (r"\boxed{42}", "<think>a</think>", "<think></think> 42", "<think>a</think> b <think>c</think> d",
                  "x <think>a</think> b", "<think>a</think><answer>42</answer>", "<think>a</think> </think> b"):  # fmt: skip
        assert not r1_format(wrong)
