"""Right or wrong, by the verifier the problem asks for: `problem.meta["verifier"]`, "math" where it asks for none.

    math        equal to the gold answer as mathematics (equivalence.py)
    numeric     the same number, written as a number: 54 but not 9 * 6
    exact       the same words, case and spacing aside
    choice      the same letter
    expression  an arithmetic expression that uses given numbers and reaches a target (expression.py); there is no one gold answer

`canonical` is the class that an answer votes with: two answers of one class are one opinion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from r1.grading import expression
from r1.grading.equivalence import equivalent
from r1.grading.latex import squeeze, tidy
from r1.grading.parse import Parsed
from r1.grading.quantity import quantity, same_quantity

if TYPE_CHECKING:
    from r1.records import Problem


class Verifier(NamedTuple):
    """`correct(answer, gold, meta)`; `same(a, b)`: do two answers say the same, where gold is not known?; `form(answer)`: cheap key."""

    correct: Callable[[str, str | None, Mapping[str, Any]], bool]
    form: Callable[[str, Mapping[str, Any]], str]
    same: Callable[[str, str], bool] | None = None


def _math(answer: str, gold: str | None, meta: Mapping[str, Any]) -> bool:
    """Besides the gold answer, any of `meta["accept"]` (AIME 2022 II-8 accepts two)."""
    golds = [g for g in (gold, *meta.get("accept", ())) if g is not None]
    return any(equivalent(answer, str(g)) for g in golds)


def _both_ways(a: str, b: str) -> bool:
    return equivalent(a, b) and equivalent(b, a)


def _tidy_form(answer: str, meta: Mapping[str, Any]) -> str:
    number = quantity(tidy(answer))
    return str(number.value) if number and not number.sign and not number.unit else squeeze(tidy(answer))


def _numeric(answer: str, gold: str | None, meta: Mapping[str, Any]) -> bool:
    found, wanted = quantity(tidy(answer)), quantity(tidy(gold or ""))
    if wanted is None:
        raise ValueError(f"the gold answer of a numeric problem must be a number, got {gold!r}")
    return found is not None and same_quantity(found, wanted)


def _exact_form(answer: str, meta: Mapping[str, Any]) -> str:
    return re.sub(r"\s+", " ", answer).strip(" .。").casefold()


def _exact(answer: str, gold: str | None, meta: Mapping[str, Any]) -> bool:
    return _exact_form(answer, meta) == _exact_form(gold or "", meta) != ""


_LETTER = re.compile(
    r"(?:option|choice|answer|选项|选)?\s*[(\[]?\s*([A-Z])\s*[)\]]?\s*(?:[.:,)、：．]\s*.*)?", re.DOTALL | re.IGNORECASE
)


def _choice_form(answer: str, meta: Mapping[str, Any]) -> str:
    match = _LETTER.fullmatch(tidy(answer))
    return match.group(1).upper() if match else tidy(answer).casefold()


def _choice(answer: str, gold: str | None, meta: Mapping[str, Any]) -> bool:
    return _choice_form(answer, meta) == _choice_form(gold or "", meta) != ""


def _expression(answer: str, gold: str | None, meta: Mapping[str, Any]) -> bool:
    return expression.solves(answer, meta)


def _expression_form(answer: str, meta: Mapping[str, Any]) -> str:
    tree = expression.read(expression.split_target(answer, meta.get("target")))
    return answer.strip() if tree is None else expression.form(tree)


VERIFIERS = {
    "math": Verifier(_math, _tidy_form, _both_ways),
    "numeric": Verifier(_numeric, _tidy_form),
    "exact": Verifier(_exact, _exact_form),
    "choice": Verifier(_choice, _choice_form),
    "expression": Verifier(_expression, _expression_form),
}


def verifier(problem: Problem | None) -> Verifier:
    """The verifier a problem asks for; without a problem, mathematics."""
    name = "math" if problem is None else problem.meta.get("verifier", "math")
    if name not in VERIFIERS:
        raise ValueError(
            f"problem {problem.id if problem else None!r} asks for verifier {name!r}; there are {', '.join(VERIFIERS)}"
        )
    return VERIFIERS[name]


def correct(problem: Problem, parsed: Parsed | str | None) -> bool:
    """Is the answer right? `parsed` is what `parse` returned, or the answer itself. No answer is wrong."""
    answer = parsed.answer if isinstance(parsed, Parsed) else parsed
    if answer is None or not answer.strip():
        return False
    check = verifier(problem)
    if problem.answer is None and check is not VERIFIERS["expression"]:
        raise ValueError(
            f"problem {problem.id!r} has no gold answer, so accuracy cannot be judged; leave this reward out for its domain"
        )
    return check.correct(answer, problem.answer, problem.meta)


def canonical(problem: Problem | None, answer: str) -> str:
    """The cheap name of the class an answer votes with: equal names are the same opinion.

    >>> canonical(None, "$ 1,000 $"), canonical(None, "0.50")
    ('1000', '1/2')
    """
    return verifier(problem).form(answer, problem.meta if problem is not None else {})
