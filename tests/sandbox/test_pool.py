"""Boxes are used once, a dead one is not handed out, and the self-test refuses walls that are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1.sandbox import Case, Limits, LocalBoxes, Program, Sandbox, SandboxUnavailable
from r1.sandbox.bubblewrap import UnsafeSubprocess
from r1.sandbox.selftest import attacks_that_pass, self_test

REPO = Path(__file__).resolve().parent.parent.parent


def test_a_box_is_used_once(boxes: LocalBoxes) -> None:
    seen = set()
    for _ in range(4):
        box = boxes.take()
        seen.add(box.process.pid)
        box.close()
        box.close()
    assert len(seen) == 4


def test_a_box_that_died_while_it_waited_is_replaced(boxes: LocalBoxes, doubling: list[Case]) -> None:
    boxes.take().close()
    deadline = time.monotonic() + 20
    while not boxes._ready and time.monotonic() < deadline:
        time.sleep(0.05)
    for box in list(boxes._ready):
        box.process.kill()
        box.process.wait()
    assert {v.state for v in Sandbox(boxes).judge(Program("print(int(input()) * 2)"), doubling)} == {"ok"}


def test_a_box_that_dies_at_work_is_replaced_once(boxes: LocalBoxes, doubling: list[Case]) -> None:
    class Dying:
        unsafe, limits, times = False, boxes.limits, 1

        def take(self):
            box = boxes.take()
            if self.times:
                self.times -= 1
                box.process.stdin.close()  # which ends process 1, and with it the box
            return box

        def close(self) -> None: ...

    sandbox = Sandbox(Dying())
    assert {v.state for v in sandbox.judge(Program("print(int(input()) * 2)"), doubling)} == {"ok"}
    assert sandbox.counts["retries"] == 1
    Dying.times = 2
    assert {v.state for v in Sandbox(Dying()).judge(Program("print(1)"), doubling)} == {"sandbox_error"}


def test_the_self_test_sees_what_gets_through() -> None:
    """Without walls the network, the disk, other processes and shared memory are open: a self-test that passed would see nothing."""
    found = attacks_that_pass(HarmlessUnsafe())
    assert {"net", "write", "pid", "shm"} <= set(found)
    with pytest.raises(SandboxUnavailable, match=r"does not hold on this machine: .* net"):
        self_test(HarmlessUnsafe())


class HarmlessUnsafe(UnsafeSubprocess):
    """No walls, but kill(-1) ends nobody and nothing is left behind."""

    def __init__(self) -> None:
        super().__init__()
        patch = "import os\n_kill = os.kill\nos.kill = lambda pid, s: _kill(pid, s) if pid > 0 else None\n"
        keep = "_open, _os_open = open, os.open\n"
        skip = (
            "def _safe(name, *a, **k):\n    if 'r1-was-here' in str(name): raise OSError(name)\n    return _open(name, *a, **k)\n"
            "__builtins__.open = _safe\n"
            "def _safe_os(name, *a, **k):\n    if 'r1-was-here' in str(name): raise OSError(name)\n    return _os_open(name, *a, **k)\n"
            "os.open = _safe_os\n"
        )
        self.command[-1] = patch + keep + skip + self.command[-1]


NOBODY = """
import json, sys
from r1.sandbox import Case, Limits, Program, Sandbox, SandboxUnavailable
try:
    s = Sandbox(limits=Limits(cpu=2), warm=0)
except SandboxUnavailable as error:
    print(json.dumps({"unavailable": str(error)})); sys.exit()
hostile = "import os\\nfor f in (os.fork, lambda: os.setuid(0), lambda: open('/box/x', 'w'), lambda: os.kill(1, 9) or 1/0):\\n    try: f(); print('BREACH')\\n    except (OSError, ZeroDivisionError): pass\\nprint(42)"
print(json.dumps([s.judge(Program(p), [Case("stdin_stdout", "21", "42")])[0].state for p in ("print(int(input()) * 2)", hostile)]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every test of a run as another user is one started as not root")
def test_started_as_nobody(tmp_path: Path) -> None:
    """A copy of the package and an interpreter that everybody may read: this user's own may lie in a closed home."""
    import shutil

    python = next((p for p in ("/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11") if Path(p).exists()), None)
    if python is None:
        pytest.skip("no Python of 3.11 or newer in /usr/bin, which another user could run")
    shutil.copytree(REPO / "r1" / "sandbox", tmp_path / "r1" / "sandbox")
    (tmp_path / "r1" / "__init__.py").touch()
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path), *map(str, list(tmp_path.parents)[:2])], check=True)
    done = subprocess.run(
        [python, "-B", "-c", NOBODY], cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120, user=65534, group=65534, extra_groups=[],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if isinstance(said, dict):
        pytest.skip(f"nobody cannot make boxes here: {said['unavailable']}")
    assert said == ["ok", "ok"]


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="limit cpu must be a positive number, got 0"):
        Limits(cpu=0)
    with pytest.raises(ValueError, match="'bubblewrap' or 'unsafe_subprocess', got 'docker'"):
        LocalBoxes("docker")


def test_the_sandbox_imports_no_torch() -> None:
    code = "import sys, r1.sandbox; print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
