"""Lists, tuples, sets, intervals and inequalities: taken apart here, so that only their elements need algebra.

(1, 2]              -> Collection("(", "]", ["1", "2"])
1 < x \\le 2         -> the same interval
x < 1 or x \\ge 3    -> a union of two intervals
\\{1, 2\\}, and 1, 2  -> a set, and a bare list: order does not count
"""

from __future__ import annotations

import re
from typing import NamedTuple

_OPENERS = {"(": ")", "[": "]", "\\{": "\\}"}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_AND_OR = re.compile(r"\s+(?:or|and)\s+|\s*(?:或者|或|和|以及)\s*|\\(?:lor|vee)(?![A-Za-z])", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+|\s*(?:或者|或)\s*|\\(?:lor|vee|cup)(?![A-Za-z])", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_COMPARISON = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]=?|≤|≥")
_MEMBER = re.compile(r"^[A-Za-z](?:_\{?\w\}?)?\s*\\in(?![A-Za-z])\s*")
_SET_BUILDER = re.compile(
    r"^\\\{\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\{?R\}?\s*)?(?:\||:|\\mid(?![A-Za-z])|\\vert(?![A-Za-z]))\s*(.*)\\\}$"
)
_VARIABLE = re.compile(r"\s*(?:[A-Za-z]|\\[a-z]+|f\s*\([A-Za-z]\))(?:_\{?\w+\}?)?\s*")
_INFINITY = re.compile(r"\+?\s*\\infty|\+?\s*(?:oo|inf|infinity)", re.IGNORECASE)


class Collection(NamedTuple):
    """Elements between brackets; `opening` is "" for a bare list and "union" for several intervals."""

    opening: str
    closing: str
    elements: list[str]

    @property
    def ordered(self) -> bool:
        return self.opening in ("(", "[")


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at separators that stand outside all brackets; thousands commas do not separate (`1,000`)."""
    pieces, depth, start, position = [], 0, 0, 0
    for match in _TOKEN.finditer(text):
        token, position = match.group(), match.start()
        if token in ("(", "[", "{", "\\{"):
            depth += 1
        elif token in (")", "]", "}", "\\}"):
            depth -= 1
        elif token == separator and depth == 0:
            pieces.append(text[start:position])
            start = match.end()
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces]


def collection(text: str) -> Collection | None:
    """The collection `text` writes down, None when it is a single value."""
    text = _MEMBER.sub("", text.strip())
    if builder := _SET_BUILDER.match(text):
        text = builder.group(1).strip()
    interval = inequality(text)
    if interval is not None:
        return interval
    parts = split_top(text.replace("\\cup", "\x00"), "\x00")
    if len(parts) > 1:
        return Collection("union", "", parts)
    whole = _enclosed(text)
    if whole is not None:
        opening, inside, closing = whole
        elements = split_top(inside)
        if len(elements) > 1 or opening == "\\{":
            return Collection(opening, closing, [e for e in elements if e])
        return None
    if "|" not in text:
        text = _AND_OR.sub(",", text)
    if text.count("\\pm") == 1 and "," not in text and "=" not in text:
        return Collection("", "", [text.replace("\\pm", "+").lstrip("+ "), text.replace("\\pm", "-")])
    elements = [re.sub(r"^(?:or|and)\s+", "", e) for e in split_top(text.replace(";", ","))]
    if len(elements) > 1 and not _thousands(text):
        return Collection("", "", [e for e in elements if e])
    return None


def inequality(text: str) -> Collection | None:
    r"""An inequality in one variable as an interval, `x<1 or x>3` as a union; None for anything else.

    >>> inequality(r"1 < x \le 2")
    Collection(opening='(', closing=']', elements=['1', '2'])
    """
    if not _COMPARISON.search(text):
        return None
    branches = [b for b in _OR.split(text) if b.strip()]
    if len(branches) > 1:
        intervals = [inequality(branch) for branch in branches]
        if any(i is None for i in intervals) or len({v for b in branches for v in _LETTER.findall(b)}) != 1:
            return None
        return Collection("union", "", [f"{i.opening}{','.join(i.elements)}{i.closing}" for i in intervals if i])
    signs = _COMPARISON.findall(text)
    sides = [side.strip() for side in _COMPARISON.split(text)]
    if "\\ne" in signs or not all(sides):
        return None
    rising = [s.startswith(("<", "\\le", "≤")) for s in signs]
    strict = [s in ("<", ">") for s in signs]
    if len(signs) == 2 and rising[0] == rising[1] and _VARIABLE.fullmatch(sides[1]):
        low, high, open_low, open_high = sides[0], sides[2], strict[0], strict[1]
        if not rising[0]:
            low, high, open_low, open_high = high, low, open_high, open_low
        return Collection("(" if open_low else "[", ")" if open_high else "]", [low, high])
    if len(signs) == 1:
        left, right, up = sides[0], sides[1], rising[0]
        if _VARIABLE.fullmatch(right) and not _VARIABLE.fullmatch(left):
            left, right, up = right, left, not up
        if _VARIABLE.fullmatch(left):
            if up:
                return Collection("(", ")" if strict[0] else "]", ["-\\infty", right])
            return Collection("(" if strict[0] else "[", ")", [right, "\\infty"])
    return None


_MATRIX = re.compile(r"\(?\s*\\begin\{([pbB]?matrix|array)\}(?:\s*\{[clr|]*\})?(.*)\\end\{\1\}\s*\)?", re.DOTALL)


def matrix(text: str) -> list[list[str]] | None:
    """Rows of cells of a matrix in round or square brackets; None for anything else, a determinant included."""
    match = _MATRIX.fullmatch(text.strip().removeprefix("[").removesuffix("]").strip())
    if match is None:
        return None
    rows = [[cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\(?:\[[^\]]*\])?", match.group(2)) if row.strip()]
    return rows or None


def same_infinity(a: str, b: str) -> bool | None:
    """Whether both are the same infinity; None where neither is infinite."""
    signs = [_infinite(a), _infinite(b)]
    return None if signs == [None, None] else signs[0] == signs[1]


def _infinite(text: str) -> str | None:
    text = text.strip()
    if _INFINITY.fullmatch(text.lstrip("-").strip()):
        return "-" if text.startswith("-") else "+"
    return None


def _enclosed(text: str) -> tuple[str, str, str] | None:
    """(opening, inside, closing) where one pair of brackets holds the whole text; `(1, 2]` mixes the kinds."""
    opening = next((o for o in _OPENERS if text.startswith(o)), None)
    closing = next((c for c in _OPENERS.values() if text.endswith(c)), None)
    if opening is None or closing is None or len(text) < len(opening) + len(closing):
        return None
    inside, depth = text[len(opening) : -len(closing)], 0
    for match in _TOKEN.finditer(inside):
        depth += (match.group() in ("(", "[", "{", "\\{")) - (match.group() in (")", "]", "}", "\\}"))
        if depth < 0:
            return None
    return opening, inside.strip(), closing


def _thousands(text: str) -> bool:
    return re.fullmatch(r"[^,]*?\d{1,3}(?:,\d{3})+(?!\d)[^,]*", text) is not None
