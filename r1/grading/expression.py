"""Arithmetic expressions of countdown-like tasks: read by a small parser (never `eval`), computed exactly, compared by form.

A tree is a number or a tuple (operator, left, right). `value` gives a Fraction, `numbers` the leaves, `form` a spelling in which
operands that may change places are sorted, so that `9 * 6` and `6*9` are one vote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Tree = int | tuple[str, "Tree", "Tree"]

_LONGEST = 200
_DEEPEST = 40
_SPELLINGS = (("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("×", "*"), ("·", "*"), ("÷", "/"), ("−", "-"), ("–", "-"), ("$", ""), ("\\left", ""), ("\\right", ""), ("（", "("), ("）", ")"))  # fmt: skip
_FRAC = re.compile(r"\\d?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_TOKENS = re.compile(r"\s*(?:(0|[1-9][0-9]{0,9})|([-+*/()]))")


def read(text: str) -> Tree | None:
    """The tree of an expression of non-negative integers, + - * / and parentheses; None for anything else, a unary minus included."""
    if len(text) > _LONGEST:
        return None
    for old, new in _SPELLINGS:
        text = text.replace(old, new)
    text = _FRAC.sub(r"((\1)/(\2))", text).strip()
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKENS.match(text, position)
        if match is None or (match.group(1) and tokens and tokens[-1].isdigit()):
            return None
        tokens.append(match.group(1) or match.group(2))
        position = match.end()
    tree, end = _sum(tokens, 0, 0)
    return tree if end == len(tokens) else None


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Tree | None, int]:
    tree, at = _product(tokens, at, depth)
    while tree is not None and at < len(tokens) and tokens[at] in "+-":
        operator = tokens[at]
        right, at = _product(tokens, at + 1, depth)
        tree = None if right is None else (operator, tree, right)
    return tree, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Tree | None, int]:
    tree, at = _atom(tokens, at, depth)
    while tree is not None and at < len(tokens) and tokens[at] in "*/":
        operator = tokens[at]
        right, at = _atom(tokens, at + 1, depth)
        tree = None if right is None else (operator, tree, right)
    return tree, at


def _atom(tokens: list[str], at: int, depth: int) -> tuple[Tree | None, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        return None, at
    if tokens[at].isdigit():
        return int(tokens[at]), at + 1
    if tokens[at] == "(":
        tree, at = _sum(tokens, at + 1, depth + 1)
        if tree is not None and at < len(tokens) and tokens[at] == ")":
            return tree, at + 1
    return None, at


def value(tree: Tree) -> Fraction | None:
    """Exact; None where something is divided by zero."""
    if isinstance(tree, int):
        return Fraction(tree)
    operator, left, right = tree[0], value(tree[1]), value(tree[2])
    if left is None or right is None or (operator == "/" and right == 0):
        return None
    return {"+": left + right, "-": left - right, "*": left * right}[operator] if operator != "/" else left / right


def numbers(tree: Tree) -> list[int]:
    """The leaves, left to right."""
    return [tree] if isinstance(tree, int) else numbers(tree[1]) + numbers(tree[2])


def form(tree: Tree) -> str:
    """One spelling for all orders of a sum or product: `6 * 9` and `9 * 6` -> "(6*9)"; `a - b + c` and `a + c - b` alike."""
    if isinstance(tree, int):
        return str(tree)
    pair = "+-" if tree[0] in "+-" else "*/"
    direct, inverse = _operands(tree, pair)
    text = pair[0].join(sorted(map(form, direct)))
    return "(" + text + "".join(pair[1] + spelt for spelt in sorted(map(form, inverse))) + ")"


def _operands(tree: Tree, pair: str) -> tuple[list[Tree], list[Tree]]:
    """(added, subtracted) operands of a nested sum, or (multiplied, divided by) of a nested product."""
    if isinstance(tree, int) or tree[0] not in pair:
        return [tree], []
    left, left_inverse = _operands(tree[1], pair)
    right, right_inverse = _operands(tree[2], pair)
    if tree[0] == pair[1]:
        right, right_inverse = right_inverse, right
    return left + right, left_inverse + right_inverse


def split_target(answer: str, target: Any) -> str:
    """Without a trailing `= target`: "9 * 6 = 54" answers "make 54". Any other equation stays, and is no expression."""
    left, equals, right = answer.rpartition("=")
    return left if equals and right.strip(" $.") == str(target) else answer


def solves(answer: str, meta: Mapping[str, Any]) -> bool:
    """Does the expression use the given numbers, each at most once, as many as asked, and equal the target?

    meta: `numbers` (a list), `target`, and `use`: how many of them must be used, or "all"; without `use` any number will do.
    """
    tree = read(split_target(answer, meta["target"]))
    if tree is None or (isinstance(tree, int) and meta.get("use") not in (None, 1)):
        return False
    used, given = Counter(numbers(tree)), Counter(int(n) for n in meta["numbers"])
    if used - given:
        return False
    wanted = meta.get("use")
    if wanted is not None and used.total() != (given.total() if wanted == "all" else int(wanted)):
        return False
    return value(tree) == Fraction(str(meta["target"]))
