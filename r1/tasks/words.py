"""The words of the tiny task family, in both languages. One word is one token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

OPERATIONS = ("+", "-", "*")
THINK = ("<think>", "</think>")
ANSWER = ("<answer>", "</answer>")
PROMPT = ("User", ":", "Assistant", "use", "two", "of", "to", "make")
HIGHEST = 204  # the largest number with a token: 14 * 14 is 196

# A thought, word by word: "try 9 plus 6 is 15 want 54 no . wait , try 9 times 6 is 54 want 54 yes ."
LEXICON: dict[str, dict[str, str]] = {
    "en": {"try": "try", "+": "plus", "-": "minus", "*": "times", "is": "is", "want": "want", "yes": "yes", "no": "no",
           "stop": ".", "wait": "wait", "comma": ","},
    "zh": {"try": "试", "+": "加", "-": "减", "*": "乘", "is": "得", "want": "要", "yes": "对", "no": "不",
           "stop": "。", "wait": "等等", "comma": "，"},
}  # fmt: skip


def vocabulary() -> list[str]:
    """Every word that a prompt, a thought or an answer of the family can hold: 242 of them.

    >>> len(vocabulary()), len(set(vocabulary()))
    (242, 242)
    """
    spoken = [word for lexicon in LEXICON.values() for word in lexicon.values()]
    return [*THINK, *ANSWER, *PROMPT, *OPERATIONS, *spoken, *(str(number) for number in range(HIGHEST + 1))]


def speaker(
    rng: Random, english: float, mixed: float, lexicon: Mapping[str, dict[str, str]] = LEXICON
) -> Callable[[], dict[str, str]]:
    """The words of the next sentence: one language for a whole document or, in the share `mixed`, a new draw per sentence."""

    def draw() -> dict[str, str]:
        return lexicon["en" if rng.random() < english else "zh"]

    if rng.random() < mixed:
        return draw
    words = draw()
    return lambda: words
