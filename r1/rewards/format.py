"""Format: 1 when the completion has exactly the structure the template asks for (R1 v1 2.2.2), 0 otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from r1.grading.template import r1_format, r1_zero_format
from r1.records import Trace

_CHECKS = {"r1_zero": r1_zero_format, "r1": r1_format}


class Format:
    """1.0 or 0.0, never None: every completion has a format.

    structure  "r1_zero": `<think> thought </think> <answer> answer </answer>`; "r1": `<think> thought </think> summary`.
               Each tag once, every part with something in it, nothing outside; white space is free.
    """

    def __init__(self, structure: Literal["r1_zero", "r1"] = "r1_zero") -> None:
        if structure not in _CHECKS:
            raise ValueError(f"format structure must be one of {', '.join(_CHECKS)}, got {structure!r}")
        self.structure = structure

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        check = _CHECKS[self.structure]
        return [float(not trace.truncated and check(trace.text)) for trace in traces]
