"""Before the first program: five attacks that must fail and one program that must not. A box that lets one through is refused.

Whether an attack got through is seen from outside where it can be: by a listener, a file, a process that should still be there.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from r1.sandbox.box import LocalBox, closing
from r1.sandbox.bubblewrap import INSTALL, Walls
from r1.sandbox.records import Limits, Program, SandboxError, SandboxUnavailable

NET = """
import socket
socket.create_connection(("127.0.0.1", {port}), 1)
print("through")
"""
ENV = """
import os
for name in ("/proc/1/environ", "/proc/self/environ", f"/proc/{{os.getppid()}}/environ"):
    try:
        print(open(name, "rb").read())
    except OSError:
        pass
print(dict(os.environ))
"""
WRITE = """
for name in ({path!r}, "/usr/r1-was-here", "/tmp/r1-was-here", "/r1-was-here"):
    try:
        open(name, "w").write("x")
        print("through")
    except OSError:
        pass
"""
PID = """
import os
for pid in ({pid}, -1):
    try:
        os.kill(pid, 9)
        print("through" if pid > 0 else "")
    except OSError:
        pass
"""
SHM = """
import ctypes, os
try:
    os.open("/dev/shm/r1-was-here", os.O_CREAT | os.O_RDWR)
    print("through")
except OSError:
    pass
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, 4096, 0o1600) >= 0 or libc.memfd_create(b"x", 0) >= 0:
    print("through")
"""
_passed: set[tuple[str, int]] = set()


def self_test(walls: Walls) -> None:
    """Raises SandboxUnavailable, naming what got through or why no box came up. A pass is remembered for this process."""
    known = (type(walls).__name__, os.getuid())
    if known in _passed:
        return
    failed = attacks_that_pass(walls)
    if failed:
        raise SandboxUnavailable(
            f"the sandbox does not hold on this machine: the self-test's attack on {', '.join(failed)} got through. No program will "
            f"be run. Is a wrapper installed as bwrap, or is the kernel older than 5.3? Otherwise please report it"
        )
    _passed.add(known)


def attacks_that_pass(walls: Walls) -> list[str]:
    """Which of net, env, write, pid and shm get through. Raises SandboxUnavailable when not even an honest program runs."""
    secret, known = secrets.token_hex(8), "R1_SANDBOX_CANARY"
    os.environ[known] = secret
    canary = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    listener, reached = socket.create_server(("127.0.0.1", 0)), threading.Event()
    listener.settimeout(0.05)
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)  # what stops the attack has to be the box, not this folder's rights
            path = Path(folder) / "written"
            programs = {
                "net": NET.format(port=listener.getsockname()[1]), "env": ENV.format(), "write": WRITE.format(path=str(path)),
                "pid": PID.format(pid=canary.pid), "shm": SHM,
            }  # fmt: skip
            said = _run(walls, programs)
            try:
                listener.accept()[0].close()
                reached.set()
            except TimeoutError:
                pass
            seen = {
                "net": reached.is_set(),
                "env": secret in said["env"],
                "write": path.exists(),
                "pid": canary.poll() is not None,
            }
            return [name for name in programs if "through" in said[name] or seen.get(name)]
    finally:
        del os.environ[known]
        listener.close()
        canary.kill()
        canary.communicate()


def _run(walls: Walls, programs: dict[str, str]) -> dict[str, str]:
    try:
        with closing(LocalBox(walls, Limits(cpu=5))) as box:
            assert isinstance(box, LocalBox)
            box.wait_ready()
            honest = box.run(Program("print(int(input()) + 1)"), b"41")
            if honest.stdout != b"42\n" or honest.exit:
                raise SandboxError(f"an honest program did not get through: {honest}")
            return {name: box.run(Program(source), b"").stdout.decode(errors="replace") for name, source in programs.items()}
    except (SandboxError, OSError) as error:
        raise SandboxUnavailable(
            f"bubblewrap is there but no box works on this machine: {error}. In a container it needs to be allowed to make namespaces "
            "(docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged); on Ubuntu 24.04 and "
            f"later an AppArmor profile for bwrap. Or {INSTALL.partition(', or')[2].strip(' ,')}"
        ) from error
