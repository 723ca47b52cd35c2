"""The walls of a box: bubblewrap's arguments, and the processes it becomes.

Started as root, bubblewrap makes the namespaces with root's rights and process 1 then becomes a user of its own number, one per
box, since the kernel does not count the processes of root. Started as anybody else, the box gets a user namespace. There is no
/proc in a box: nothing to read other processes' memory, environment or files by, and no knob of the kernel to write to.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from r1.sandbox import seccomp
from r1.sandbox.records import SandboxUnavailable

INSTALL = (
    "install the package bubblewrap (apt-get install bubblewrap, dnf install bubblewrap), or, only where every program is trusted, "
    "set sandbox=unsafe_subprocess"
)
_USERS = itertools.count()
_FIRST_USER, _MANY_USERS = 61_000, 4_000


@dataclass
class Started:
    """A process that speaks the frames of inside/supervisor.py, and what it has to be told first."""

    process: subprocess.Popen[bytes]
    setup: dict[str, object]
    clean: Callable[[], object] = lambda: None  # once the process is gone


class Walls(Protocol):
    """How a box is started. `unsafe` when nothing isolates it."""

    unsafe: bool

    def start(self) -> Started: ...


def supervisor() -> str:
    return (files("r1.sandbox") / "inside" / "supervisor.py").read_text(encoding="utf-8")


def interpreter() -> Path:
    """The real Python of this environment, beneath the links of a virtual one."""
    return Path(os.path.realpath(sys.executable))


class Bubblewrap:
    """Raises SandboxUnavailable without Linux, bubblewrap, or filters for this machine."""

    unsafe = False

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise SandboxUnavailable(
                f"the sandbox needs Linux, this is {sys.platform}; {INSTALL.partition(', or')[2].strip(' ,')}"
            )
        self.bwrap = shutil.which("bwrap")
        if self.bwrap is None:
            raise SandboxUnavailable(f"code rewards run programs in bubblewrap, and there is no bwrap on PATH: {INSTALL}")
        self.root = os.geteuid() == 0
        self.box_filter, self.program_filter = seccomp.box_filter(), seccomp.program_filter()
        self.arguments = self._arguments()
        self.command = [str(interpreter()), "-I", "-S", "-B", "-X", "utf8", "-c", supervisor()]

    def _arguments(self) -> list[str]:
        # --as-pid-1: no process of bubblewrap inside, whose memory would be a copy of a process of ours.
        inside = "--unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try --as-pid-1 --die-with-parent --new-session"
        args = inside.split()
        if self.root:
            args += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            args += ["--unshare-user", "--uid", str(_FIRST_USER), "--gid", str(_FIRST_USER)]
        args += ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            path = Path("/") / name
            if path.is_symlink():
                args += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir():
                args += ["--ro-bind", str(path), str(path)]
        args += self._python()
        args += ["--perms", "0755", "--dir", "/dev"]
        for device in ("null", "zero", "urandom"):
            args += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        # The only place to write, and only for the compiler: programs run under a filter that refuses new files.
        args += ["--perms", "1777", "--size", str(96 << 20), "--tmpfs", "/box", "--chdir", "/box", "--remount-ro", "/"]
        # One arena: each thread would otherwise reserve 64 MB of the address space that a program may have.
        args += ["--setenv", "MALLOC_ARENA_MAX", "1"]
        return args

    @staticmethod
    def _python() -> list[str]:
        """The interpreter and its libraries where they are not in /usr; nothing else of that folder, it may be a home."""
        binary, prefix = interpreter(), Path(os.path.realpath(sys.base_prefix))
        if binary.is_relative_to("/usr"):
            return []
        parents = [p for p in reversed((prefix / "bin").parents) if p != Path("/")]
        # bubblewrap would make these 0700, and closed to whom process 1 becomes
        args = [word for p in [*parents, prefix / "bin"] for word in ("--perms", "0755", "--dir", str(p))]
        for path in (binary, prefix / "lib"):
            args += ["--ro-bind", str(path), str(path)]
        return args

    def start(self) -> Started:
        read, write = os.pipe()
        try:
            os.write(write, self.box_filter)  # 3 KB: less than a pipe holds
            os.close(write)
            process = subprocess.Popen(
                [str(self.bwrap), *self.arguments, "--seccomp", str(read), "--", *self.command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pass_fds=(read,),
                cwd="/", env={},  # bubblewrap's own environment too: secrets that are not there cannot leak
            )  # fmt: skip
        finally:
            os.close(read)
        user = _FIRST_USER + next(_USERS) % _MANY_USERS if self.root else None
        return Started(process, {"uid": user, "filter": self.program_filter, "folder": "/box"})


class UnsafeSubprocess:
    """No walls at all: programs run as you, with your files and your network. Only the limits of a process hold."""

    unsafe = True

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise SandboxUnavailable(f"programs are run with Linux's process clocks and pidfds; this is {sys.platform}")
        self.command = [str(interpreter()), "-I", "-S", "-B", "-X", "utf8", "-c", supervisor()]

    def start(self) -> Started:
        folder = tempfile.TemporaryDirectory(prefix="r1-unsafe-")
        process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            cwd="/", env={}, start_new_session=True,
        )  # fmt: skip
        return Started(process, {"uid": None, "filter": b"", "folder": folder.name}, folder.cleanup)
