"""The one parser: where the answer is looked for, and where it is not."""

from __future__ import annotations

import time

import pytest

from r1.grading.parse import last_box, parse, strip_special

# (completion, answer): what the reader of the completion would say the final answer is.
ANSWERS = [
    # the thought and its end
    (r"<think>easy</think> \boxed{4}", "4"),
    (r"thought without an opening tag </think> \boxed{4}", "4"),
    (r"<think>\boxed{3}</think> \boxed{4}", "4"),
    (r"<think>\boxed{3}</think>", None),
    (r"<think>\boxed{3}</think> I am not sure.", None),
    (r"<think>one</think> \boxed{1} <think>no, two</think> \boxed{2}", "2"),
    (r"<think>one</think> \boxed{1} </think>", None),
    (r"<think> \boxed{3} and the limit cuts it", None),
    (r"<think>one</think> \boxed{1} <think>hm, let me see", None),
    (r"<think>a</thinking> \boxed{4}", "4"),
    (r"<think>a = $\frac{1}{2}\end{think} <answer>45</answer>", "45"),  # seen in real outputs of a 3 B model
    (r"<THINK>a</THINK> \boxed{4}", "4"),
    # boxes
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\sqrt{\frac{a}{\{b\}}}}", r"\sqrt{\frac{a}{\{b\}}}"),
    (r"\fbox{7}", "7"),
    (r"\boxed {7}", "7"),
    (r"\boxed 7", "7"),
    (r"\boxed{\boxed{7}}", "7"),
    (r"$x = \boxed{7}.$", "7"),
    (r"(a) \boxed{3} (b) \boxed{4}", "4"),
    (r"\boxed{3}, no wait, \boxed{4}", "4"),
    (r"\boxed{3}, " + "no wait, " * 2000 + r"\boxed{4}", "4"),
    (r"\boxed{3}, " + "that is it. " * 2000, "3"),
    (r"\boxed{3}, no wait, \boxed{4", None),
    (r"\boxed{}", None),
    (r"\boxed{ }", None),
    (r"so \boxedanswer{3} it is", None),
    ("\\boxed{\n12\n}", "12"),
    (r"{{{ stray braces \boxed{5}", "5"),
    (r"}}} stray braces \boxed{5}", "5"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    # answer tags
    ("<think>a</think><answer>42</answer>", "42"),
    ("<think> a </think> <answer> 9 * 6 </answer>", "9 * 6"),
    (r"<think>a</think><answer> \boxed{42} </answer>", "42"),
    (r"<think>a</think><answer> \boxed{42}", "42"),
    ("<think>a</think><answer> 42", "42"),
    ("<think>a</think><answer>41</answer><answer>42</answer>", "42"),
    ("<think>a</think><answer>The final answer is 42.</answer>", "42"),
    ("<think>a</think><answer></answer>", None),
    ("<think>a</think><answer>  </answer>", None),
    ("<think><answer>42</answer></think>", None),
    ("<think><answer>42</answer>", None),
    # no box: a phrase
    ("<think>a</think> The answer is 42.", "42"),
    ("So the final answer is: $\\frac{1}{2}$.", r"\frac{1}{2}"),
    ("**Final Answer:** 17", "17"),
    ("The answer is 12, because 3 * 4 = 12.", "12"),
    ("The answer is 3. Wait, the answer is 4.", "4"),
    ("The answer is 3.14", "3.14"),
    ("最终答案：42。", "42"),
    ("因此,答案是 $\\sqrt{3}$。", r"\sqrt{3}"),
    ("综上所述，故选 B。", "B"),
    ("故选：C", "C"),
    ("Natalia sold 72 clips.\n#### 72", "72"),
    # no box, no phrase
    ("42", "42"),
    (r"<think>a</think> $\frac12$", r"$\frac12$"),
    ("<think>a</think> 6 * 7 = 42, so we are done.", None),
    ("There are 42 of them.", None),
    ("", None),
    ("   ", None),
    ("</think>", None),
]


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_answer(text: str, answer: str | None) -> None:
    """Bugs 34 and 35: an empty answer is no answer; braces nest; the last box counts; \\fbox is a box."""
    assert parse(text).answer == answer


def test_opened_by_the_template() -> None:
    """Bug 32: where the prompt already ends with <think>, a completion without any tag is a thought that was cut off."""
    drafted = r"so far \boxed{3}"
    assert parse(drafted).answer == "3"
    assert parse(drafted, opened=True).answer is None
    assert parse(drafted, opened=True).think == drafted
    finished = parse(r"a thought </think> \boxed{4}", opened=True)
    assert (finished.think, finished.answer, finished.closed) == ("a thought", "4", True)
    assert parse(r"<think> twice opened </think> \boxed{4}", opened=True).think == "twice opened"


def test_thought_and_summary() -> None:
    parsed = parse(r"<think> one two </think> Therefore \boxed{3}.")
    assert parsed.think == "one two"
    assert parsed.summary == r"Therefore \boxed{3}."
    assert (parsed.source, parsed.closed) == ("box", True)
    assert parse("no thought, 3").think is None
    assert parse("begins inside </think> 3").think == "begins inside"
    assert parse("Sure! <think>a</think> 3").think == "a"
    cut = parse("<think> one two")
    assert (cut.think, cut.summary, cut.closed) == ("one two", "", False)
    assert parse("<think>a</think> b <think>c</think> d").think == "a</think> b <think>c"


@pytest.mark.parametrize(
    "ending", ["<|im_end|>", "</s>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<eos>", "<pad><pad><pad>", "<|eot_id|>\n"]
)
def test_special_tokens_change_nothing(ending: str) -> None:
    """Bug 38: engines that leave special tokens in the text get the same grade."""
    for text in (r"<think>a</think> \boxed{42}", "<think>a</think> <answer> 42 </answer>", "The answer is 42", "42"):
        assert parse(text + ending) == parse(text)
    assert strip_special("a <b" + ending) == "a <b"


def test_truncated_by_the_token_limit() -> None:
    """42 cut to 4 must not be right for the problem whose answer is 4; a stop string that ate the tag is no cut."""
    assert parse("<think>a</think><answer> 4", truncated=True).answer is None
    assert parse("<think>a</think><answer> 4", truncated=False).answer == "4"
    assert parse("<think>a</think><answer> 4 </answer> And", truncated=True).answer == "4"
    assert parse(r"<think>a</think><answer> \boxed{4}", truncated=True).answer == "4"
    assert parse("So the answer is 4", truncated=True).answer is None
    assert parse("So the answer is 4. Indeed", truncated=True).answer == "4"


def test_last_box_says_whether_one_was_left_open() -> None:
    assert last_box(r"\boxed{1} \boxed{2") == ("1", True)
    assert last_box(r"\boxed{1} {2") == ("1", False)
    assert last_box("none") == (None, False)


MEGABYTES = [
    "{" * 10**6,
    "\\boxed{" * 150_000,
    "\\boxed{" * 150_000 + "}" * 150_000,
    "<think>" * 150_000,
    "</think>" * 130_000,
    "<answer>" * 130_000,
    "\\" * 10**6,
    " " * 10**6,
    "the answer is " * 70_000,
    "答案" * 500_000,
    "<pad>" * 200_000,
    "<|a|>" * 200_000,
    "x " * 500_000 + "\\boxed{5}",
    "$" * 10**6,
]


@pytest.mark.parametrize("text", MEGABYTES, ids=lambda t: t[:12])
def test_a_megabyte_takes_no_time(text: str) -> None:
    """Bug 35: extractors that look for every closing brace from every opening one take minutes for this. CPU time, best of 3."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        parse(text)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05
