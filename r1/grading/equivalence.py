"""Is this answer the gold answer? Exact and cheap first, algebra last, and nothing that cannot be killed.

    string equal ──▶ numbers, percent, units (Fractions) ──▶ equations, bases, lists, intervals ──▶ math-verify in a worker process

Each step either decides or passes on. What decides the most answers (integers, decimals, fractions) costs microseconds and never
wakes sympy. `counts()` says how often each way was taken, and how many comparisons timed out: a grader that fails silently looks
like a model that does not learn.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter, OrderedDict

from r1.grading.latex import squeeze, tidy
from r1.grading.pool import shared_pool
from r1.grading.quantity import quantity, same_quantity, same_unit, split_unit
from r1.grading.structure import Collection, collection, matrix, same_infinity, split_top

LONGEST = 300  # characters: a longer "answer" is prose or an attack, and no gold answer is that long
_CACHE_SIZE = 20_000

_CHOICE = re.compile(r"\(?\s*([A-Z])\s*\)?")
_CHOICE_ANSWER = re.compile(
    r"(?:(?i:option|choice)|选项|故选|应选|选)?\s*[(\[]?\s*([A-Z]|[a-e])\s*[)\]]?\s*(?:[.:,)]\s*.*)?", re.DOTALL
)
_CHOICES = re.compile(r"(?=[A-H]{2,8}$)A?B?C?D?E?F?G?H?")
_BASE_NAMES = {
    name: str(2 + i)
    for i, name in enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])
} | {"sixteen": "16"}
_BASE = re.compile(rf"\(?\s*([0-9A-Fa-f]+)\s*\)?\s*_\s*\{{?\s*\(?\s*(\d{{1,2}}|{'|'.join(_BASE_NAMES)})\s*\)?\s*\}}?")
_LABEL = re.compile(  # what stands before an equals sign and only names the value: x, a_{10}, f(2), |AB|, m + n, (x, y), 面积, total area
    r"(?:\\?[A-Za-z]+|\([A-Za-z](?:,\s*[A-Za-z])+\)|\|.*\||[A-Za-z]\s*\(\w+\)|\\(?:angle|triangle)\s*[A-Z]+"
    r"|[A-Za-z](?:\s*[-+]\s*[A-Za-z])+|[A-Za-z ]{3,40}|[\u4e00-\u9fff]{1,12})(?:_\{?\w+\}?)?'?"
)
_EQUALS = re.compile(r"(?<![<>!])=|\\approx(?![A-Za-z])")
_BOMB = re.compile(r"\^\s*\{?\s*[^{}^]*\^\s*\{?\s*[^{}^]*\^|\^\s*\{?\s*\(?\d{5,}|\d{4,}\s*!|!\s*!|\)\s*!\s*\)\s*!")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTERS = re.compile(r"[A-Za-z]{3,}")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_ALGEBRA = re.compile(  # LaTeX that math-verify reads for what it says; it drops what it does not know, arrows and negations too
    r"\\(?:frac|sqrt|cdot|times|pi|pm|binom|ln|log|exp|(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|[lr]floor|[lr]ceil|[lr]?vert|theta|alpha|beta"
    r"|gamma|delta|lambda|mu|omega|phi|varphi|psi|rho|sigma|tau|epsilon|sum|prod|int|infty|max|min|gcd|overline|bar|mathbb|emptyset|bmod)"
)
_PROSE = re.compile(r"[^\x00-\x7f]|[?\"#@&;~'%]|(?<![_\d])\d+\s+\d|\.\d+\.|[-+*/]\s*[-+*/]|[-+*/^_]\s*$")

_counts: Counter[str] = Counter()
_cache: OrderedDict[tuple[str, str], bool] = OrderedDict()
_lock = threading.Lock()


def equivalent(answer: str | None, gold: str, timeout: float = 2.0) -> bool:
    """Whether `answer` (as `parse` found it) says the same as `gold`. Never raises for what a model wrote.

    At most `timeout` seconds of CPU time; a comparison that needs more is False, and counted as a timeout.
    Raises ValueError for an empty gold answer, which every empty answer would match, and WorkerFailed when math-verify is broken.
    """
    if not gold or not gold.strip():
        raise ValueError("the gold answer is empty: no answer can be graded against it; drop the problem or fill the column")
    if answer is None or not answer.strip():
        return False
    key = (answer, gold)
    with _lock:
        _counts["comparisons"] += 1
        if key in _cache:
            _cache.move_to_end(key)
            _counts["cached"] += 1
            return _cache[key]
    equal = answer.strip() == gold.strip() or (_bounded(answer) and _same(tidy(answer), tidy(gold), timeout))
    with _lock:
        _cache[key] = equal
        if len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return equal


def counts() -> dict[str, int]:
    """How the comparisons of this process went: comparisons, cached, refused, pool (asked), timeouts, crashes, errors."""
    with _lock:
        found = dict(_counts)
    pool = shared_pool().counts if found.get("pool") else {}
    return {
        "comparisons": found.get("comparisons", 0),
        "cached": found.get("cached", 0),
        "refused": found.get("refused", 0),
        "pool": found.get("pool", 0),
        "timeouts": pool.get("timeouts", 0),
        "crashes": pool.get("crashes", 0),
        "errors": pool.get("errors", 0),
    }


def _count(what: str) -> None:
    with _lock:
        _counts[what] += 1


def _bounded(answer: str) -> bool:
    if len(answer) > LONGEST:
        _count("refused")
        return False
    return True


def _same(answer: str, gold: str, timeout: float) -> bool:
    """Both tidied. The order of the questions is the order of certainty."""
    if not answer or not gold:
        return False
    if squeeze(answer) == squeeze(gold):
        return True
    if choice := _CHOICE.fullmatch(gold):
        chosen = _CHOICE_ANSWER.fullmatch(answer)
        return chosen is not None and chosen.group(1).upper() == choice.group(1)
    if _CHOICES.fullmatch(gold):  # several letters are right: ABD
        return re.sub(r"[\s,()]|and|和", "", answer) == gold
    if _BASE.fullmatch(gold) or _BASE.fullmatch(answer):
        return _same_base(answer, gold)

    gold_number, answer_number = quantity(gold), quantity(answer)
    if gold_number is not None and answer_number is not None:
        return same_quantity(answer_number, gold_number)
    if _EQUALS.search(answer) or _EQUALS.search(gold):
        return _same_equation(answer, gold, timeout)
    terms = [split_top(text, ":") for text in (answer, gold)]
    if max(map(len, terms)) > 1 and "\\{" not in answer + gold:
        return _same_ratio(terms[0], terms[1], timeout)
    gold_rows, answer_rows = matrix(gold), matrix(answer)
    if gold_rows is not None or answer_rows is not None:
        return gold_rows is not None and answer_rows is not None and _same_matrix(answer_rows, gold_rows, timeout)
    gold_parts, answer_parts = collection(gold), collection(answer)
    if gold_parts is not None or answer_parts is not None:
        return gold_parts is not None and answer_parts is not None and _same_collection(answer_parts, gold_parts, timeout)
    infinite = same_infinity(answer, gold)
    if infinite is not None:
        return infinite
    return _same_value(answer, gold, timeout)


def _same_base(answer: str, gold: str) -> bool:
    """`101_2` is neither 101 nor `101_3`: digits and base must both agree; a subscript 10 says nothing."""

    def read(text: str) -> tuple[str, str] | None:
        if match := _BASE.fullmatch(text):
            return match.group(1).lstrip("0").upper() or "0", _BASE_NAMES.get(match.group(2), match.group(2))
        plain = re.fullmatch(r"\d+", text)
        return (text.lstrip("0") or "0", "10") if plain else None

    one, other = read(answer), read(gold)
    return one is not None and one == other


def _same_equation(answer: str, gold: str, timeout: float) -> bool:
    """`x = 5` answers "5"; `6 * 7 = 42` answers "42" as both sides are 42; `41 = 42` answers nothing."""
    answer_sides = [side.strip() for side in _EQUALS.split(answer)]
    gold_sides = [side.strip() for side in _EQUALS.split(gold)]
    if not all(answer_sides) or not all(gold_sides):
        return False
    answer_list, gold_list = _values(collection(answer)), _values(collection(gold))
    if answer_list is not None or (gold_list is not None and len(gold_sides) > 2):
        return gold_list is not None and answer_list is not None and _same_collection(answer_list, gold_list, timeout)
    if len(gold_sides) == 1:
        if len(answer_sides) == 2 and _LABEL.fullmatch(answer_sides[1]) and not _LABEL.fullmatch(answer_sides[0]):
            answer_sides.reverse()  # 5 = x
        if _LABEL.fullmatch(answer_sides[0]):
            answer_sides = answer_sides[1:]
        return all(_same(side, gold, timeout) for side in answer_sides)
    if len(answer_sides) == 1:
        return len(gold_sides) == 2 and _LABEL.fullmatch(gold_sides[0]) is not None and _same(answer, gold_sides[1], timeout)
    if len(answer_sides) == 2 and len(gold_sides) == 2:
        names = {squeeze(answer_sides[0]), squeeze(gold_sides[0])}
        if len(names) == 1 or names <= {"y", "f(x)"}:
            return _same(answer_sides[1], gold_sides[1], timeout)
        if not any(re.search("[A-Za-z]", side) for side in answer_sides):
            return False
        return _ask(answer, gold, timeout)
    return False


def _values(found: Collection | None) -> Collection | None:
    """`x = 1, x = -2` as the numbers 1, -2, and `x = 1, y = 2` as the tuple (1, 2); other collections as they are."""
    if found is None or found.opening or not found.elements or "=" not in found.elements[0]:
        return found
    pairs = [[side.strip() for side in element.split("=")] for element in found.elements]
    labels = [pair[0] for pair in pairs if len(pair) == 2]
    if any(len(pair) > 2 for pair in pairs) or not all(map(_LABEL.fullmatch, labels)):
        return found
    values = [pair[-1] for pair in pairs]
    if len({label.partition("_")[0] for label in labels}) == 1:  # also x_1 and x_2, the two roots
        return Collection("", "", values)
    return Collection("(", ")", values) if len(labels) == len(pairs) and labels == sorted(set(labels)) else found


def _same_collection(answer: Collection, gold: Collection, timeout: float) -> bool:
    if len(answer.elements) != len(gold.elements):
        return False
    if gold.ordered:
        # Without brackets only where they can mean nothing but a tuple: "1, 2" are two numbers, not the interval (1, 2).
        bare = len(gold.elements) > 2 and (gold.opening, gold.closing) == ("(", ")") and not answer.opening
        if (answer.opening, answer.closing) != (gold.opening, gold.closing) and not bare:
            return False
        return all(_same_element(a, g, timeout) for a, g in zip(answer.elements, gold.elements, strict=True))
    if answer.ordered or ("union" in (answer.opening, gold.opening) and answer.opening != gold.opening):
        return False
    left = list(answer.elements)
    for element in gold.elements:
        match = next((i for i, a in enumerate(left) if _same_element(a, element, timeout)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def _same_ratio(answer: list[str], gold: list[str], timeout: float) -> bool:
    """`2:3` is also the number 2/3; of longer ratios each term must agree."""
    if len(answer) == len(gold):
        return all(_same(a, g, timeout) for a, g in zip(answer, gold, strict=True))
    if sorted([len(answer), len(gold)]) != [1, 2]:
        return False
    first, second = (rf"\frac{{{side[0]}}}{{{side[1]}}}" if len(side) == 2 else side[0] for side in (answer, gold))
    return _same(first, second, timeout)


def _same_matrix(answer: list[list[str]], gold: list[list[str]], timeout: float) -> bool:
    if [len(row) for row in answer] != [len(row) for row in gold]:
        return False
    return all(_same_element(a, g, timeout) for r, s in zip(answer, gold, strict=True) for a, g in zip(r, s, strict=True))


def _same_element(answer: str, gold: str, timeout: float) -> bool:
    infinite = same_infinity(answer, gold)
    return infinite if infinite is not None else _same(answer, gold, timeout)


def _same_value(answer: str, gold: str, timeout: float) -> bool:
    """Two single expressions: words are compared as words, the rest as algebra."""
    if not _is_algebra(answer) or not _is_algebra(gold) or (gold.isalpha() and answer.casefold() == gold.casefold() != ""):
        return _words(answer) == _words(gold)
    answer, answer_unit = _split_long_unit(answer)
    gold, gold_unit = _split_long_unit(gold)
    if not same_unit(answer_unit, gold_unit):
        return False
    answer, gold = _radians(answer), _radians(gold)
    return bool(answer and gold) and _ask(answer, gold, timeout)


def _split_long_unit(text: str) -> tuple[str, str]:
    """Beside a plain number `h` may be hours; in \\pi r^2 h it is the height, and stays."""
    bare, unit = split_unit(text)
    return (bare, unit) if len(unit) > 1 and not re.fullmatch(r"[A-Za-z](?:\^.)?", unit) else (text, "")


def _radians(text: str) -> str:
    """Degrees inside a trigonometric function are radians to sympy; elsewhere the sign only names the unit."""
    if _TRIGONOMETRIC.search(text):
        return re.sub(r"(\d+(?:\.\d+)?)\s*\^\\circ", r"(\1 \\cdot \\pi / 180)", text)
    return text.replace("^\\circ", "").strip()


def _is_algebra(text: str) -> bool:
    """Nothing in it that algebra would have to guess: no words, no arrows, no signs of other trades."""
    body = _split_long_unit(text)[0].replace("^\\circ", "", 1 if not _TRIGONOMETRIC.search(text) else -1)
    rest = _COMMAND.sub("\x01", body)
    return all(map(_ALGEBRA.fullmatch, _COMMAND.findall(body))) and not _PROSE.search(rest) and not _LETTERS.search(rest)


def _words(text: str) -> str:
    return re.sub(r"[\s\".]+", " ", text).strip().casefold()


def _ask(answer: str, gold: str, timeout: float) -> bool:
    if _BOMB.search(answer):
        _count("refused")
        return False
    _count("pool")
    return shared_pool().ask(answer, gold, timeout)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # a thread of the parent may have held the old one


os.register_at_fork(after_in_child=_after_fork)
