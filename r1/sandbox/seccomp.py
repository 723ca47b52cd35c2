"""Which system calls a box may make: two BPF filters, assembled here by hand, so that no libseccomp is needed.

The first, loaded by bubblewrap, is a list of what an interpreter, a compiler and a compiled program need. All else does not exist
(ENOSYS): sockets, io_uring, bpf, keyrings, ptrace, System V and POSIX shared memory, memfd, mounts, namespaces.
The second, loaded by process 1 for each test, takes away new processes (not threads) and new files. Without the latter a program
could fill the kernel's memory with empty files, which no size limit of a tmpfs counts; without the former, a limit on one
process's memory limits nothing.
"""

from __future__ import annotations

import errno
import platform
import struct

from r1.sandbox.records import SandboxUnavailable

# name:x86-64:aarch64, "-" where the machine has no such call. From the kernel's asm/unistd_64.h and asm-generic/unistd.h.
_TABLE = """
read:0:63 write:1:64 close:3:57 fstat:5:80 lseek:8:62 mmap:9:222 mprotect:10:226 munmap:11:215 brk:12:214
rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 ioctl:16:29 pread64:17:67 pwrite64:18:68 readv:19:65
writev:20:66 access:21:- pipe:22:- select:23:- poll:7:- sched_yield:24:124 mremap:25:216 msync:26:227 mincore:27:232
madvise:28:233 dup:32:23 dup2:33:- pause:34:- nanosleep:35:101 getitimer:36:102 alarm:37:- setitimer:38:103 getpid:39:172
sendfile:40:71 socketpair:53:199 sendto:44:206 recvfrom:45:207 sendmsg:46:211 recvmsg:47:212 shutdown:48:210
getsockname:51:204 getsockopt:55:209 setsockopt:54:208 clone:56:220 fork:57:- vfork:58:- execve:59:221 exit:60:93
wait4:61:260 kill:62:129 uname:63:160 fcntl:72:25 flock:73:32 fsync:74:82 fdatasync:75:83 truncate:76:45 ftruncate:77:46
getdents:78:- getcwd:79:17 chdir:80:49 fchdir:81:50 rename:82:- mkdir:83:- rmdir:84:- creat:85:- link:86:- unlink:87:-
symlink:88:- readlink:89:- chmod:90:- fchmod:91:52 umask:95:166 gettimeofday:96:169 getrlimit:97:163 getrusage:98:165
sysinfo:99:179 times:100:153 getuid:102:174 getgid:104:176 geteuid:107:175 getegid:108:177 setpgid:109:154 getppid:110:173
getpgrp:111:- setsid:112:157 getgroups:115:158 setgroups:116:159 setresuid:117:147 getresuid:118:148 setresgid:119:149
getresgid:120:150 getpgid:121:155 getsid:124:156 rt_sigpending:127:136 rt_sigtimedwait:128:137 rt_sigsuspend:130:133
sigaltstack:131:132 statfs:137:43 fstatfs:138:44 getpriority:140:141 sched_getparam:143:121 sched_getscheduler:145:120
sched_get_priority_max:146:125 sched_get_priority_min:147:126 prctl:157:167 arch_prctl:158:- setrlimit:160:164
gettid:186:178 futex:202:98 time:201:- sched_getaffinity:204:123 epoll_create:213:- epoll_wait:232:- epoll_ctl:233:21
getdents64:217:61 set_tid_address:218:96 fadvise64:221:223 timer_create:222:107 timer_settime:223:110
timer_gettime:224:108 timer_delete:226:111 clock_gettime:228:113 clock_getres:229:114 clock_nanosleep:230:115
exit_group:231:94 tgkill:234:131 tkill:200:130 waitid:247:95 open:2:- stat:4:- lstat:6:- openat:257:56 mkdirat:258:34
newfstatat:262:79 unlinkat:263:35 renameat:264:38 linkat:265:37 symlinkat:266:36 readlinkat:267:78 fchmodat:268:53
faccessat:269:48 pselect6:270:72 ppoll:271:73 set_robust_list:273:99 get_robust_list:274:100 utimensat:280:88
epoll_pwait:281:22 eventfd:284:- eventfd2:290:19 epoll_create1:291:20 dup3:292:24 pipe2:293:59 prlimit64:302:261
getcpu:309:168 renameat2:316:276 getrandom:318:278 membarrier:324:283 copy_file_range:326:285 pidfd_open:434:434
statx:332:291 rseq:334:293 faccessat2:439:439 close_range:436:436 restart_syscall:219:128
"""
# machine -> (its column in the table, AUDIT_ARCH of linux/audit.h)
_MACHINES = {"x86_64": (1, 0xC000003E), "aarch64": (2, 0xC00000B7)}

_NEW_FILES = "creat mkdir mkdirat link linkat symlink symlinkat rename renameat renameat2 unlink unlinkat rmdir truncate chmod fchmod fchmodat"
_CLONE_THREAD, _CLONE_NEW_ANY = 0x00010000, 0x7E020000  # linux/sched.h: CLONE_NEWNS ... CLONE_NEWNET
_O_CREAT, _O_TMPFILE = 0o100, 0o20000000  # the same on both machines
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # both put characters into a terminal's input

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000  # x86-64's second set of call numbers


def numbers(machine: str | None = None) -> dict[str, int]:
    """Call name -> number on this machine. Raises SandboxUnavailable where we know none."""
    column = _machine(machine)[0]
    rows = [entry.split(":") for entry in _TABLE.split()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def box_filter(machine: str | None = None) -> bytes:
    """For everything in the box: what is not in the table does not exist."""
    known = numbers(machine)
    program = _start(machine)
    # clone3 hides its flags behind a pointer that BPF cannot follow. It is not in the table, and libc then asks for clone.
    program += _when(known["clone"], 0, _CLONE_NEW_ANY, _ERRNO | errno.EPERM)
    for request in (_TIOCSTI, _TIOCLINUX):
        program += _when_equal(known["ioctl"], 1, request, _ERRNO | errno.EPERM)
    # Of a process of one's own only: process 1 without descriptors is a box that fails, and not the program in it.
    program += _unless_equal(known["prlimit64"], 0, 0, _ERRNO | errno.EPERM)
    for number in sorted(set(known.values())):
        program += [(_JUMP_EQ, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    return _assemble([*program, (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)])


def program_filter(machine: str | None = None) -> bytes:
    """For the program on top of `box_filter`: no second process, no new or changed file."""
    known = numbers(machine)
    program = _start(machine)
    for name in ("fork", "vfork"):
        if name in known:
            program += [(_JUMP_EQ, 0, 1, known[name]), (_RETURN, 0, 0, _ERRNO | errno.EAGAIN)]
    program += _unless(known["clone"], 0, _CLONE_THREAD, _ERRNO | errno.EAGAIN)
    for name, argument in (("open", 1), ("openat", 2)):
        if name in known:
            program += _when(known[name], argument, _O_CREAT | _O_TMPFILE, _ERRNO | errno.EROFS)
    for name in _NEW_FILES.split():
        if name in known:
            program += [(_JUMP_EQ, 0, 1, known[name]), (_RETURN, 0, 0, _ERRNO | errno.EROFS)]
    return _assemble([*program, (_RETURN, 0, 0, _ALLOW)])


Instruction = tuple[int, int, int, int]  # code, instructions to jump when true, when false, operand


def _machine(machine: str | None) -> tuple[int, int]:
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        raise SandboxUnavailable(
            f"the sandbox knows the system calls of {' and '.join(_MACHINES)}, this machine is {machine!r}; run code rewards on one "
            "of those, or hand in a remote sandbox (r1.sandbox.Boxes)"
        )
    return _MACHINES[machine]


def _start(machine: str | None) -> list[Instruction]:
    """Kill what speaks another machine's numbers; leave the call's number loaded."""
    program = [(_LOAD, 0, 0, _ARCH), (_JUMP_EQ, 1, 0, _machine(machine)[1]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    return [*program, (_JUMP_GE, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]


def _when(number: int, argument: int, bits: int, verdict: int) -> list[Instruction]:
    """If this call has any of these bits in its argument: verdict."""
    return [
        (_JUMP_EQ, 0, 4, number),
        (_LOAD, 0, 0, _ARGS + 8 * argument),
        (_JUMP_SET, 0, 1, bits),
        (_RETURN, 0, 0, verdict),
        (_LOAD, 0, 0, _NR),
    ]


def _unless(number: int, argument: int, bits: int, verdict: int) -> list[Instruction]:
    """If this call has none of these bits in its argument: verdict."""
    check = _when(number, argument, bits, verdict)
    return [*check[:2], (_JUMP_SET, 1, 0, bits), *check[3:]]


def _when_equal(number: int, argument: int, value: int, verdict: int) -> list[Instruction]:
    check = _when(number, argument, value, verdict)
    return [*check[:2], (_JUMP_EQ, 0, 1, value), *check[3:]]


def _unless_equal(number: int, argument: int, value: int, verdict: int) -> list[Instruction]:
    check = _when(number, argument, value, verdict)
    return [*check[:2], (_JUMP_EQ, 1, 0, value), *check[3:]]


def _assemble(program: list[Instruction]) -> bytes:
    assert len(program) <= 4096, "the kernel takes 4096 instructions"
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
