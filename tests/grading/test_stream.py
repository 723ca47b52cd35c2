"""The splitter gives the same thought and answer however the text is cut, and agrees with the parser."""

from __future__ import annotations

import pytest

from r1.grading import parse
from r1.grading.stream import ThinkSplitter


def split(pieces: list[str], opened: bool = False) -> tuple[str, str]:
    """(thought, answer), joined."""
    splitter = ThinkSplitter(opened)
    parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
    assert all(text for _, text in parts)
    return tuple("".join(text for kind, text in parts if kind == wanted) for wanted in ("thought", "answer"))  # type: ignore[return-value]


# (completion, prompt opened the thought, thought, answer)
CASES = [
    ("<think> 9 * 6 is 54 </think> <answer> 54 </answer>", False, "9 * 6 is 54", "<answer> 54 </answer>"),
    ("9 * 6\nis 54\n</think>\n\nIt is 54.\n", True, "9 * 6\nis 54", "It is 54."),
    ("no tags, 3 < 4 and 5 <t", False, "", "no tags, 3 < 4 and 5 <t"),
    ("<think> cut off at the lim", False, "cut off at the lim", ""),
    ("</think> straight on", True, "", "straight on"),
    ("<thinking>a</Think>b", False, "a", "b"),  # the spellings that the parser forgives
    ("x \\end{think> y", True, "x", "y"),
    ("so: <think> a </think> b <think> c </think> d", False, "a\n\nc", "so:\n\nb\n\nd"),
    ("<think> 答案是 4。 </think> 四", False, "答案是 4。", "四"),
    ("", False, "", ""),
]


@pytest.mark.parametrize(("text", "opened", "thought", "answer"), CASES)
def test_cut_at_every_place(text: str, opened: bool, thought: str, answer: str) -> None:
    assert split([text], opened) == (thought, answer)
    assert split(list(text), opened) == (thought, answer)
    for at in range(len(text)):
        assert split([text[:at], text[at:]], opened) == (thought, answer), at


def test_text_is_given_as_soon_as_it_cannot_be_a_tag() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("<think> a") == [("thought", "a")]
    assert splitter.feed(" b </th") == [("thought", " b")]
    assert splitter.feed("e c") == [("thought", " </the c")]
    assert splitter.feed("</think>d") == [("answer", "d")]


@pytest.mark.parametrize(("text", "opened", "thought", "answer"), [case for case in CASES if case[0].count("ink>") == 2])
def test_whole_completions_split_as_the_parser_reads_them(text: str, opened: bool, thought: str, answer: str) -> None:
    parsed = parse(text, opened)
    assert (parsed.think, parsed.summary) == (thought, answer)


def test_a_server_that_tells_them_apart_itself() -> None:
    splitter = ThinkSplitter()
    deltas = [("", ""), (" 9 *", ""), (" 6 ", ""), ("", " It is"), ("", " 54 \n")]
    parts = [part for delta in deltas for part in splitter.feed_apart(*delta)] + splitter.finish()
    assert parts == [("thought", "9 *"), ("thought", " 6"), ("answer", "It is"), ("answer", " 54")]
    splitter = ThinkSplitter()  # and one that leaves the tags in the text
    assert splitter.feed_apart("", "<think> a </think> b") == [("thought", "a"), ("answer", "b")]
