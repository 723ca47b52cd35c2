"""Equality of two single expressions, with sympy: what runs inside a worker process (worker.py), never in the trainer.

math-verify's LaTeX reader turns a *whole* text into an expression or fails; its extractor, which finds "5" in "5 c", is not used.
Its comparison rounds to six decimals, so that 1.6e-19 equals 1.6e-18, and simplifies for as long as it takes. Here:

    numbers      exact where they are rational, else equal to 30 decimals
    expressions  equal in value at a dozen points (two different expressions do not agree at random points)
    equations    the same up to a constant factor, at the same points
    the rest     sets, intervals, relations: math-verify's own comparison
"""

from __future__ import annotations

import random
import re
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from math_verify import verify

_DIGITS = 30
_SAME = sympy.Float(10, 60) ** -_DIGITS
_POINTS = 12
_NEEDED = 3  # points at which both sides must have a value
_DECIMAL = re.compile(r"-?\d*\.(\d+)")


def compare(answer: str, gold: str) -> bool:
    """Whether two tidied LaTeX texts are one value. Raises whatever sympy raises for a text it cannot read."""
    real = not re.search(r"(?<![A-Za-z\\])i(?![A-Za-z])|(?<=[0-9)}])i", answer + " " + gold)
    a, g = _read(answer, real), _read(gold, real)
    if isinstance(a, sympy.Equality) and isinstance(g, sympy.Equality):
        return _proportional(a.lhs - a.rhs, g.lhs - g.rhs)
    if isinstance(a, sympy.Expr) and isinstance(g, sympy.Expr):
        return _equal_numbers(a, g, answer) if not a.free_symbols | g.free_symbols else _equal_functions(a, g)
    return bool(verify(g, a, timeout_seconds=None, raise_on_error=True))


def _read(text: str, real: bool) -> Any:
    settings = ConversionConfig(interpret_as_mixed_fractions=False, lowercase_symbols=False)
    found = latex2sympy(text, is_real=real, convert_degrees=False, normalization_config=None, conversion_config=settings)
    if not isinstance(found, sympy.Basic):
        return found
    symbols = {symbol: sympy.I for symbol in found.free_symbols if symbol.name == "i"}
    floats = {number: sympy.Rational(str(number)) for number in found.atoms(sympy.Float)}
    return found.subs(symbols).xreplace(floats)


def _equal_numbers(a: sympy.Expr, g: sympy.Expr, answer: str) -> bool:
    a, g = a.doit(), g.doit()
    if a.is_Rational and g.is_Rational:
        return a == g
    size = abs(sympy.N(g, 5))
    digits = 2 * _DIGITS + (int(sympy.log(size, 10)) if size > 10 else 0)
    at_a, at_g = sympy.N(a, digits), sympy.N(g, digits)
    if not at_g.is_number or not at_g.is_finite or not at_a.is_finite:
        return a == g
    difference = abs(at_a - at_g)
    if difference <= _SAME * min(1, size):
        return True
    # The decimal form of an irrational number, to at least six digits: rounded, or cut off.
    decimal = _DECIMAL.fullmatch(answer.strip())
    if decimal is None or g.is_Rational or not at_g.is_real or len(answer.strip("-0.").replace(".", "")) < 6:
        return False
    unit = sympy.Rational(1, 10 ** len(decimal.group(1)))
    return bool(difference <= unit / 2 or (difference < unit and abs(at_a) < abs(at_g)))


def _values(expressions: list[sympy.Expr]) -> list[list[sympy.Expr]]:
    """The expressions' values at each of the random points (the same ones every time) where all of them have one."""
    symbols = sorted(set().union(*(e.free_symbols for e in expressions)), key=lambda s: s.name)
    draw = random.Random(0)
    found = []
    for _ in range(_POINTS):
        point = {s: sympy.Rational(draw.choice([-1, 1, 1]) * draw.randint(11, 399), 101) for s in symbols}
        values = [sympy.N(e.subs(point), _DIGITS) for e in expressions]
        if all(v.is_number and v.is_finite for v in values):
            found.append(values)
    real = [values for values in found if all(v.is_real for v in values)]
    return real if len(real) >= _NEEDED else found  # ln(x^2) is 2 ln x where both are real


def _equal_functions(a: sympy.Expr, g: sympy.Expr) -> bool:
    values = _values([a, g])
    if len(values) < _NEEDED:
        return bool(verify(g, a, timeout_seconds=None, raise_on_error=True))
    return all(abs(x - y) <= sympy.Float("1e-20") * (1 + abs(y)) for x, y in values)


def _proportional(a: sympy.Expr, g: sympy.Expr) -> bool:
    """Do a = 0 and g = 0 say the same? When a / g is one number everywhere."""
    if a.free_symbols != g.free_symbols or not a.free_symbols:
        return False
    ratios = [x / y for x, y in _values([a, g]) if y != 0]
    return (
        len(ratios) >= _NEEDED
        and ratios[0] != 0
        and all(abs(r - ratios[0]) < sympy.Float("1e-20") * (1 + abs(r)) for r in ratios)
    )
