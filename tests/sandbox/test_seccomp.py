"""The filters, run here by a small interpreter of BPF, and the table of call numbers against the kernel's own headers."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from r1.sandbox import SandboxUnavailable, seccomp

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def verdict(code: bytes, arch: int, number: int, *arguments: int) -> int:
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at = value = 0
    while True:
        op, yes, no, operand = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if op == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        elif op == 0x06:
            return operand
        else:
            test = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[op]
            at += yes if test else no


@MACHINES
def test_box_filter(machine: str) -> None:
    code, known, arch = seccomp.box_filter(machine), seccomp.numbers(machine), ARCH[machine]
    assert verdict(code, arch, known["read"]) == ALLOW
    assert verdict(code, arch, known["clone"], 17) == ALLOW
    assert verdict(code, arch, known["clone"], 17 | 0x10000000) == ERRNO | errno.EPERM  # a user namespace
    assert verdict(code, arch, known["ioctl"], 0, 0x5412) == ERRNO | errno.EPERM  # TIOCSTI
    assert verdict(code, arch, known["prlimit64"], 0) == ALLOW
    assert verdict(code, arch, known["prlimit64"], 1) == ERRNO | errno.EPERM
    for number in (435, 425, 999):  # clone3, io_uring_setup, none
        assert verdict(code, arch, number) == ERRNO | errno.ENOSYS
    assert verdict(code, 0x40000003, known["read"]) == KILL  # 32-bit calls
    assert verdict(code, arch, known["read"] | 0x40000000) == KILL


@MACHINES
def test_program_filter(machine: str) -> None:
    code, known, arch = seccomp.program_filter(machine), seccomp.numbers(machine), ARCH[machine]
    assert verdict(code, arch, known["write"]) == ALLOW
    assert verdict(code, arch, known["clone"], 17) == ERRNO | errno.EAGAIN  # a process
    assert verdict(code, arch, known["clone"], 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert verdict(code, arch, known["openat"], 0, 0, 0) == ALLOW
    for flags in (0o101, 0o20200002):  # O_CREAT, O_TMPFILE
        assert verdict(code, arch, known["openat"], 0, 0, flags) == ERRNO | errno.EROFS
    assert verdict(code, arch, known["mkdirat"]) == ERRNO | errno.EROFS


def test_another_machine_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="x86_64 and aarch64, this machine is 'riscv64'"):
        seccomp.box_filter("riscv64")


HEADERS = [
    ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", {}),
    ("aarch64", "/usr/include/asm-generic/unistd.h", {"newfstatat": "fstatat"}),
]


@pytest.mark.parametrize(("machine", "header", "names"), HEADERS)
def test_numbers_are_the_kernels(machine: str, header: str, names: dict[str, str]) -> None:
    if not Path(header).is_file():
        pytest.skip(f"no kernel header {header} here")
    found = {n: int(v) for n, v in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())}
    ours = seccomp.numbers(machine)
    assert len(ours) > 100
    assert {n: v for n, v in ours.items() if found[names.get(n, n)] != v} == {}
