"""Boxes that are already up: starting one takes most of what a small program costs, and it can be done while others run.

Each box is used once. Two programs never meet in one, not even two answers of the same group.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from typing import Literal, Protocol

from r1.sandbox.box import Box, LocalBox
from r1.sandbox.bubblewrap import Bubblewrap, UnsafeSubprocess, Walls
from r1.sandbox.records import Limits, SandboxError
from r1.sandbox.selftest import self_test

Isolation = Literal["bubblewrap", "unsafe_subprocess"]
_BANNER = """
############################################################################################
#  UNSAFE: programs that a model wrote run WITHOUT a sandbox, as this user, with its files, #
#  its network and its keys (sandbox=unsafe_subprocess). Only where every program is trusted #
############################################################################################"""
_log = logging.getLogger(__name__)


class Boxes(Protocol):
    """Where boxes come from: `LocalBoxes`, or anything that reaches other machines. `unsafe` when programs are not isolated."""

    unsafe: bool
    limits: Limits

    def take(self) -> Box:
        """A fresh box, never used before. Raises SandboxError."""

    def close(self) -> None: ...


class LocalBoxes:
    """Boxes of this machine.

    isolation  "bubblewrap", or "unsafe_subprocess", which isolates nothing and says so
    warm       boxes kept ready, 10 MB each; none is started before the first program

    Raises SandboxUnavailable, at once, where programs cannot be isolated or one of five known attacks gets through.
    """

    def __init__(self, isolation: Isolation = "bubblewrap", limits: Limits | None = None, warm: int = 4) -> None:
        if isolation not in ("bubblewrap", "unsafe_subprocess"):
            raise ValueError(f"sandbox must be 'bubblewrap' or 'unsafe_subprocess', got {isolation!r}")
        if warm < 0:
            raise ValueError(f"the number of warm boxes cannot be negative, got {warm}")
        self.limits, self.warm = limits or Limits(), warm
        self.walls: Walls = UnsafeSubprocess() if isolation == "unsafe_subprocess" else Bubblewrap()
        self.unsafe = self.walls.unsafe
        if self.unsafe:
            _log.warning(_BANNER)
        else:
            self_test(self.walls)
        self._begin()
        atexit.register(_close, weakref.ref(self))

    def _begin(self) -> None:
        self._ready: deque[LocalBox] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed, self._process = False, os.getpid()

    def take(self) -> LocalBox:
        if self._process != os.getpid():  # forked: the boxes and the thread are the parent's
            self._begin()
        with self._change:
            if self._closed:
                raise SandboxError("the sandbox has been closed")
            if self._thread is None and self.warm:
                # bubblewrap dies with the *thread* that started it, so one thread starts all boxes that wait, and stays.
                self._thread = threading.Thread(target=_refill, args=(weakref.ref(self),), name="sandbox", daemon=True)
                self._thread.start()
            box = None
            while self._ready and box is None:
                box = self._ready.popleft()
                if box.process.poll() is not None:  # killed while it waited
                    box.close()
                    box = None
            self._change.notify()
        return (box or LocalBox(self.walls, self.limits)).wait_ready()

    def close(self) -> None:
        """End all waiting boxes. Boxes in use are their users' to close."""
        with self._change:
            self._closed = True
            waiting = list(self._ready) if self._process == os.getpid() else []
            self._ready.clear()
            self._change.notify()
        for box in waiting:
            box.close()


def _refill(reference: weakref.ref[LocalBoxes]) -> None:
    """The thread that keeps boxes ready. It holds no strong reference while it waits, so a forgotten pool can go."""
    while (boxes := reference()) is not None and not boxes._closed:
        change = boxes._change
        if len(boxes._ready) < boxes.warm:
            try:
                box = LocalBox(boxes.walls, boxes.limits)
            except (OSError, SandboxError) as error:
                _log.warning("a box could not be started: %s", error)
                del boxes
                with change:
                    change.wait(1)
                continue
            with change:
                late = boxes._closed
                if not late:
                    boxes._ready.append(box)
            if late:
                box.close()
            del box
            continue
        del boxes
        with change:
            change.wait(5)


def _close(reference: weakref.ref[LocalBoxes]) -> None:
    boxes = reference()
    if boxes is not None:
        with contextlib.suppress(OSError):
            boxes.close()
