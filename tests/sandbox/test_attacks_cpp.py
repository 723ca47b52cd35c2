"""Hostile C++: at compile time and at run time. What counts as a breach is in conftest.py, `Host.attack`."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine: apt-get install g++")

HEAD = """
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cerrno>
#include <unistd.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#define BREACH(x) if ((long)(x) >= 0) puts("BREACH " #x)
"""


def main(body: str) -> str:
    return HEAD + "int main() {\n" + body + "\nreturn 0; }\n"


COMPILING = [
    ("include the secret", '#include "@FOLDER@/secret.h"\n#include <cstdio>\nint main() { puts(secret); }', ("compile_error", "crash")),
    ("include it as text", 'const char *s =\n#include "@FOLDER@/secret.txt"\n;\nint main() {}', ("compile_error", "crash")),
    ("include the environment", '#include "/proc/self/environ"\nint main() {}', ("compile_error", "crash")),
    ("incbin", 'asm(".incbin \\"@FOLDER@/secret.txt\\"");\nint main() {}', ("crash",)),
    ("include without end", '#include "/dev/zero"\nint main() {}', ("crash", "timeout", "memory")),
    ("include random numbers", '#include "/dev/urandom"\nint main() {}', ("crash", "timeout", "memory")),
    ("templates without end", "template <long N> struct A { static const long v = A<N - 1>::v + A<N - 2>::v + A<N * 7>::v; };\nint main() { return A<99999>::v; }", ("crash", "timeout")),
    ("templates that double", "template <int N, class T> struct D { D<N - 1, D<N, T>> a; D<N - 1, D<N - 1, T>> b; };\ntemplate <class T> struct D<0, T> {};\nint main() { return sizeof(D<24, int>); }", ("crash", "timeout")),
    ("macros that double", "#define A x x\n" + "".join(f"#define {chr(66 + i)} {chr(65 + i)} {chr(65 + i)} {chr(65 + i)} {chr(65 + i)}\n" for i in range(14)) + "int main() { O }", ("crash", "timeout")),
    ("constant evaluation", "constexpr long f() { long s = 0; for (long i = 0; i >= 0; i++) s += i; return s; }\nconstexpr long x = f();\nint main() {}", ("crash", "timeout")),
    ("a gigabyte of object", "int x[1 << 28] = {1};\nint main() { return x[5]; }", ("crash", "timeout")),
    ("a gigabyte by the assembler", 'asm(".zero 1000000000, 1");\nint main() {}', ("crash", "timeout")),
    ("plugin", "#pragma GCC plugin \"/box/x.so\"\n#pragma GCC poison main\nint main() {}", ("crash",)),
    ("no program", "this is not C++", ("crash",)),
]  # fmt: skip

RUNNING = [
    ("fork bomb", main("for (;;) if (fork() > 0) puts(\"BREACH\"), fflush(0);"), ("timeout",)),
    ("vfork and clone", main('BREACH(vfork()); BREACH(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); BREACH(syscall(SYS_clone, CLONE_X, 0, 0, 0, 0));').replace("CLONE_X", "0x100 | SIGCHLD"), ("ok",)),
    ("memory", main("for (;;) { char *p = (char *)malloc(1 << 20); if (!p) return 3; memset(p, 1, 1 << 20); }"), ("crash",)),
    ("memory by new", "#include <vector>\nint main() { std::vector<char> v; for (;;) v.resize(v.size() + (1 << 20)); }", ("memory",)),
    ("shared memory", main('BREACH(shm_open("/x", O_CREAT | O_RDWR, 0600)); BREACH(syscall(SYS_shmget, 0, 1 << 30, 01600)); BREACH(syscall(SYS_memfd_create, "x", 0));'), ("ok",)),
    ("stack", "#include <cstdio>\nint f(int n) { volatile char x[4096]; x[0] = n; return f(n + 1) + x[0]; }\nint main() { printf(\"%d\", f(0)); }", ("crash",)),
    ("spin", main("for (volatile int i = 0;; i++);"), ("timeout",)),
    ("sleep", main("for (;;) pause();"), ("timeout",)),
    ("output", main("for (;;) puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");"), ("output_limit",)),
    ("kill", main("kill(-1, 9); kill(1, 9); kill(getppid(), 9); BREACH(kill(@PID@, 9));"), ("ok", "crash")),
    ("network", main("BREACH(socket(AF_INET, SOCK_STREAM, 0)); BREACH(socket(AF_UNIX, SOCK_STREAM, 0)); BREACH(socket(AF_NETLINK, SOCK_RAW, 0)); BREACH(syscall(SYS_io_uring_setup, 8, 0));"), ("ok",)),
    ("files", main('BREACH(open("@FOLDER@/secret.txt", O_RDONLY)); BREACH(open("/box/x", O_CREAT | O_WRONLY, 0600)); BREACH(mkdir("/box/y", 0700)); BREACH(open("/etc/passwd", O_RDONLY)); BREACH(open("/proc/1/environ", O_RDONLY));').replace("#include <cerrno>", "#include <cerrno>\n#include <sys/stat.h>"), ("ok",)),
    ("its own binary", main('BREACH(open("/box/main", O_WRONLY)); BREACH(unlink("/box/main")); BREACH(rename("/box/main", "/box/z")); BREACH(truncate("/box/main.cpp", 0));'), ("ok",)),
    ("rights", main("BREACH(setuid(0)); BREACH(chroot(\"/box\")); BREACH(syscall(SYS_unshare, 0x10000000)); BREACH(syscall(SYS_ptrace, 16, 1, 0, 0)); BREACH(syscall(SYS_mount, \"x\", \"/box\", \"tmpfs\", 0, 0));"), ("ok",)),
    ("system and popen", main('if (system("echo BREACH") == 0) puts("BREACH"); if (popen("echo BREACH", "r")) puts("BREACH");'), ("ok",)),
    ("exec a compiler", main('execl("/usr/bin/g++", "g++", "-x", "c++", "/dev/null", "-o", "/box/z", (char *)0);'), ("crash",)),
    ("threads without end", "#include <thread>\n#include <vector>\n#include <unistd.h>\nint main() { std::vector<std::thread> v; for (;;) v.emplace_back([] { pause(); }); }", ("crash",)),
    ("32-bit calls", main("long r; asm volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(2) : \"memory\"); BREACH(r > 0 ? 0 : -1);"), ("crash",)),
    ("null pointer", main("*(volatile int *)0 = 1;"), ("crash",)),
    ("division", main("volatile int a = 7, z = 0; printf(\"%d\", a / z);"), ("crash",)),
]  # fmt: skip

TABLE = COMPILING + RUNNING
FAST = {"include the secret", "incbin", "kill", "network"}


def test_the_table_is_long_enough() -> None:
    assert len({name for name, _, _ in TABLE}) == len(TABLE) >= 30


@pytest.mark.parametrize(
    ("source", "states"),
    [pytest.param(s, e, id=n, marks=[] if n in FAST else pytest.mark.slow) for n, s, e in TABLE],
)
def test_attack(host, source: str, states: tuple[str, ...]) -> None:
    if source.count("int $0x80") and __import__("platform").machine() != "x86_64":
        pytest.skip("this instruction is x86-64's")
    state, outcome = host.attack(source, "cpp")
    assert ("crash" if state == "compile_error" else state) in states, outcome
