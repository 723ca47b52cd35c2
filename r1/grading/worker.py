"""The process in which math-verify runs: `python -m r1.grading.worker LIMIT_SECONDS`, one JSON line in, one JSON line out.

A separate program and not a forked or spawned child: it needs nothing of the parent's `__main__`, may be started from a thread,
a daemonic DataLoader worker or a DDP rank, and can be killed at any moment without harm. It ends itself when one comparison has
used its limit of CPU time: the timer's default action stops even a product of a million digits inside C code, and also when the
parent has died meanwhile. CPU time and not the clock, so that an honest answer is not called wrong because the machine is busy.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

_MEMORY = 4 << 30  # bytes of address space: a tower of powers asks for more than any machine has
_KNOWN = (
    ("(x-1)(x+1)", "x^2-1", True),
    (r"\frac{2}{\sqrt{2}}", r"\sqrt{2}", True),
    (r"\sqrt{3}", r"\sqrt{2}", False),
    ("x<5", "5>x", True),
)


def main() -> None:
    # Replies go to a private copy of stdout; what a library prints cannot be mistaken for one.
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    limit = float(sys.argv[1])
    try:
        compare = _warm()
    except Exception as error:
        replies.write(json.dumps({"broken": f"{type(error).__name__}: {error}"}) + "\n")
        return
    with contextlib.suppress(ValueError, OSError):  # some systems cannot limit it
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    replies.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request.get("limit", limit))
        try:
            reply: dict[str, Any] = {"equal": compare(request["answer"], request["gold"])}
        except (Exception, RecursionError) as error:  # sympy meets nonsense in as many ways as there is nonsense
            reply = {"equal": False, "error": type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(json.dumps(reply) + "\n")


def _warm() -> Callable[[str, str], bool]:
    """Import, then ask questions whose answers are known: a comparison that says False to everything must not go unseen."""
    logging.disable(logging.CRITICAL)
    from r1.grading.algebra import compare

    for answer, gold, equal in _KNOWN:
        if compare(answer, gold) is not equal:
            raise RuntimeError(
                f"{answer} and {gold} were judged {not equal}; is math-verify's version the one in constraints.txt?"
            )
    return compare


if __name__ == "__main__":
    main()
