"""The thought apart from the answer while a completion is still arriving, with the spellings that `grading.parse` knows.

    splitter = ThinkSplitter()
    for piece in ("<thi", "nk> 9 * 6 </think> 5", "4"):
        for kind, text in splitter.feed(piece): ...   # ("thought", "9 * 6"), ("answer", "5"), ("answer", "4")
    splitter.finish()

However the text is cut into pieces, the thoughts joined and the answers joined are the same. `parse` sees the whole text and can
look back; here what was given away stays given away, so a closing tag without an opening one only ends the answer's first part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from r1.grading.parse import CLOSE_TAGS, OPEN_TAGS

Kind = Literal["thought", "answer"]
Part = tuple[Kind, str]
THOUGHT = ("reasoning_content", "reasoning")  # the fields in which servers of OpenAI's protocol give a thought


class ThinkSplitter:
    """Takes text in pieces of any size, gives ("thought" | "answer", text) pairs without the tags.

    opened  the prompt already ended with `<think>`: the text begins inside the thought

    White space at the ends of the thought and of the answer is left out; a second thought is set off by an empty line.
    """

    def __init__(self, opened: bool = False) -> None:
        self.kind: Kind = "thought" if opened else "answer"
        self._held = ""  # may be the beginning of a tag, or white space that may turn out to be the last
        self._inside = False  # something was given since the last tag
        self._given: set[Kind] = set()
        self._told = False  # a server tells thought and answer apart itself

    def feed(self, text: str) -> list[Part]:
        """What is certain after this piece."""
        self._held += text
        return list(self._parts(final=False))

    def feed_apart(self, thought: str, text: str) -> list[Part]:
        """One delta of a server that may tell the thought apart itself; until it has done so, `text` may hold tags."""
        parts: list[Part] = []
        if thought:
            self._told = True
            parts += [*self._turn("thought"), *self.feed(thought)]
        if text:
            parts += [*(self._turn("answer") if self._told else ()), *self.feed(text)]
        return parts

    def finish(self) -> list[Part]:
        """The rest, when no more text comes: half a tag is text after all."""
        parts = list(self._parts(final=True))
        self._held = ""
        return parts

    def _parts(self, final: bool) -> Iterator[Part]:
        while found := _first_tag(self._held):
            start, end, kind = found
            rest, self._held = self._held[end:], self._held[:start]
            yield from self._turn(kind, always=True)
            self._held = rest
        keep = 0 if final else _begun_tag(self._held)
        text, tag = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        shown = text.rstrip()
        self._held = text[len(shown) :] + tag
        yield from self._give(shown)

    def _turn(self, kind: Kind, always: bool = False) -> Iterator[Part]:
        """End the part that is being given, with what is held of it, and begin one of this kind."""
        if always or kind != self.kind:
            yield from self._give(self._held.rstrip())
            self.kind, self._held, self._inside = kind, "", False

    def _give(self, text: str) -> Iterator[Part]:
        text = text if self._inside else text.lstrip()
        if text:
            again = not self._inside and self.kind in self._given
            self._inside = True
            self._given.add(self.kind)
            yield self.kind, f"\n\n{text}" if again else text


def _first_tag(text: str) -> tuple[int, int, Kind] | None:
    """(begin, end, what comes after it) of the earliest tag."""
    found: list[tuple[int, int, Kind]] = [(at, at + len(tag), "thought") for tag in OPEN_TAGS if (at := text.find(tag)) >= 0]
    found += [(at, at + len(tag), "answer") for tag in CLOSE_TAGS if (at := text.find(tag)) >= 0]
    return min(found) if found else None


def _begun_tag(text: str) -> int:
    """Characters at the end that may be the beginning of a tag."""
    tags = (*OPEN_TAGS, *CLOSE_TAGS)
    longest = max(map(len, tags)) - 1
    return next((n for n in range(min(longest, len(text)), 0, -1) if any(tag.startswith(text[-n:]) for tag in tags)), 0)
