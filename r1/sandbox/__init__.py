"""The sandbox: runs programs that a model wrote, in boxes they cannot leave, and judges them from outside.

    sandbox = Sandbox()
    [verdict] = sandbox.judge(Program("print(int(input()) * 2)"), [Case("stdin_stdout", "21", "42")])
    verdict.state                                                                    # "ok"

docs/sandbox.md says what it promises and what it does not.
"""

from __future__ import annotations

from r1.sandbox.box import Box
from r1.sandbox.judge import Sandbox
from r1.sandbox.pool import Boxes, LocalBoxes
from r1.sandbox.records import Case, Limits, Outcome, Program, SandboxError, SandboxUnavailable, State, Verdict

__all__ = [
    "Box", "Boxes", "Case", "Limits", "LocalBoxes", "Outcome", "Program", "Sandbox", "SandboxError", "SandboxUnavailable", "State",
    "Verdict",
]  # fmt: skip
