"""The answer that an unfinished thought has reached: what it would say if it stopped here.

    "try 9 plus 6 is 15 want 54 no ."       expression problems: the last combination, "9 + 6"
    "... so x = 12. Let me check"           others: a box or "the answer is" where there is one, else the last result, "12"

A draft is read off the text, so it is cheap and works on any trace file; asking the policy itself is `analysis.importance`'s
forced answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from r1.grading.parse import parse

if TYPE_CHECKING:
    from r1.records import Problem

_TAGS = re.compile(r"</?(?:think|thinking|answer)>", re.IGNORECASE)
_WINDOW = 4000  # characters before the cut that are read: a result further back has been left behind
_OPERATORS = {"+": "+", "-": "-", "*": "*", "/": "/", "−": "-", "×": "*", "·": "*", "÷": "/", "\\times": "*", "\\cdot": "*",
              "\\div": "/", "plus": "+", "minus": "-", "times": "*", "over": "/", "加": "+", "减": "-", "乘": "*", "除以": "/"}  # fmt: skip
_SPELT = "|".join(re.escape(word) for word in sorted(_OPERATORS, key=len, reverse=True))
_COMBINATION = re.compile(rf"(?<![\d.])\d+(?:\s*(?:{_SPELT})\s*\d+)+(?![\d.])")
_PIECE = re.compile(rf"\d+|{_SPELT}")
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?(?:\s*\\?%)?|-?\\d?frac\{[^{}]{1,40}\}\{[^{}]{1,40}\}"
_RESULT = re.compile(
    r"(?:=|≈|\\approx|\b(?:is|are|be|equals|gives|approximately|about)\b|得|是|为)\s*(?:approximately|about|[$*\\( ])*"
    # not a part of a longer number, and not the first term of an expression; 45^\circ is 45
    rf"({_NUMBER})(?!\w|[.,]\d)(?!\s*(?:[+*/(-]|\^(?!\{{?\\circ)|\\(?:cdot|times|sqrt|pi|d?frac)))"
)


def draft(text: str, problem: Problem | None = None) -> str | None:
    """The answer that a completion has reached at the end of `text`, None where it has none yet. `text` begins where the completion does.

    >>> draft("<think> 3 apples and 4 pears: 3 + 4 = 7. ")
    '7'
    >>> draft("<think> Let me see.") is None
    True
    """
    parsed = parse(text, truncated=True)
    if parsed.answer is not None:
        return parsed.answer
    body = _TAGS.sub(" ", text)[-_WINDOW:]
    if problem is not None and problem.meta.get("verifier") == "expression":
        return _combination(body)
    claimed = parse(body, truncated=True).answer
    return claimed if claimed is not None else _result(body)


def _combination(body: str) -> str | None:
    """The last numbers joined by operators, in signs or in words, spelt with signs."""
    found = [match.group() for match in _COMBINATION.finditer(body)]
    return " ".join(_OPERATORS.get(piece, piece) for piece in _PIECE.findall(found[-1])) if found else None


def _result(body: str) -> str | None:
    results = _RESULT.findall(body)
    return results[-1].strip().rstrip(",") if results else None
