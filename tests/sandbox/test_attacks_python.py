"""Hostile Python. Each row: what it tries, its code, and the states it may earn. What would count as a breach is the same for all
(`Host.attack`): the secret in its output, "BREACH" in it (a thing that should have been refused worked), a process that outlives
the box, a connection at the host's listeners, a changed file or a dead process of the host, more than 300 MB, too much CPU time,
or a box that cannot run the next test.
"""

from __future__ import annotations

import pytest

ANY = ("ok", "crash")  # a refused attack may be an exception, or caught
LIBC = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"


def tries(*lines: str, error: str = "OSError") -> str:
    """Each line by itself; one that works prints BREACH."""
    return "import os, sys\n" + "".join(
        f"try:\n    {line}\n    print('BREACH', {line!r})\nexcept {error}: pass\n" for line in lines
    )


def calls(*expressions: str) -> str:
    """System calls by number: BREACH where one does not return an error."""
    return LIBC + "".join(f"if libc.syscall({e}) >= 0: print('BREACH', {e!r})\n" for e in expressions)


# processes
PROCESSES = [
    ("fork bomb", "import os\nwhile True: os.fork()", ("crash",)),
    ("fork", tries("os.fork()"), ("ok",)),
    ("vfork by subprocess", "import subprocess\nsubprocess.run(['/usr/bin/true'])\nprint('BREACH')", ("crash",)),
    ("shell", "import os\nr = os.system('echo BREACH')", ANY),
    ("popen", "import os\nprint(os.popen('echo BREACH').read())", ANY),
    ("posix_spawn", tries("os.posix_spawn('/usr/bin/true', ['true'], {})"), ("ok",)),
    ("forkpty", tries("os.forkpty()"), ("ok",)),
    ("multiprocessing", "import multiprocessing as m\np = m.Process(target=print, args=('BREACH',)); p.start(); p.join()", ("crash",)),
    ("process pool", "from concurrent.futures import ProcessPoolExecutor as P\nprint('BREACH', list(P(4).map(abs, [1])))", ("crash", "timeout")),
    ("raw fork", calls("57", "58", "56, 17, 0, 0, 0, 0"), ("ok",)),
    ("raw clone3", calls("435, 0, 0"), ("ok",)),
    ("thread bomb", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()", ("crash", "memory")),
    ("daemon threads that spin", "import threading\ndef f():\n    while True: pass\nfor _ in range(8): threading.Thread(target=f).start()", ("timeout",)),
    ("double fork daemon", "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        import time; time.sleep(99)", ("crash",)),
    ("exec of another Python", "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'import os; os.fork(); print(\"BREACH\")'])", ("crash",)),
    ("exec of a shell that forks", "import os\nos.execv('/bin/sh', ['sh', '-c', '(true) && echo BREACH'])", ("crash",)),
]  # fmt: skip

# other processes
SIGNALS = [
    ("kill the host's process", tries("os.kill(@PID@, 9)"), ("ok",)),
    ("kill the trainer", tries("os.kill(@HOST@, 9)"), ("ok",)),
    ("kill everybody", "import os\nos.kill(-1, 9)", ("ok", "crash")),
    ("kill process 1", "import os, signal\nfor s in (9, 15, 11, 19, 2, 1): os.kill(1, s)", ("ok",)),
    ("kill the parent", "import os\nos.kill(os.getppid(), 9)", ("ok",)),
    ("stop oneself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", ("timeout",)),
    ("ignore every signal", "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass", ("timeout",)),
    ("signals every millisecond", "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, .001, .001)\nwhile True: pass", ("timeout",)),
    ("ptrace", calls("101, 16, @PID@, 0, 0", "101, 0, 0, 0, 0", "101, 16, 1, 0, 0"), ("ok",)),
    ("read process 1's memory by a call", calls("310, 1, 0, 0, 0, 0, 0", "311, 1, 0, 0, 0, 0, 0"), ("ok",)),
    ("pidfd_getfd of process 1", LIBC + "fd = libc.syscall(434, 1, 0)\nfor n in range(64):\n    if libc.syscall(438, fd, n, 0) >= 0: print('BREACH')", ("ok",)),
    ("nice and real time", tries("os.nice(-5)", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))", "os.setpriority(0, 0, -10)"), ("ok",)),
]  # fmt: skip

# secrets
SECRETS = [
    ("own environment", "import os\nprint(dict(os.environ), os.environb)", ("ok",)),
    ("environment of every process", "import os\nfor p in [*range(1, 300), 'self', @HOST@, @PID@]:\n    for f in ('environ', 'cmdline', 'maps'):\n        try: print(open(f'/proc/{p}/{f}').read())\n        except OSError: pass", ("ok",)),
    ("memory of every process", "for p in [*range(1, 9), 'self', @HOST@, @PID@]:\n    try: print('BREACH', open(f'/proc/{p}/mem', 'rb').read(1))\n    except OSError: pass", ("ok",)),
    ("root of process 1", "import os\nfor p in (1, 'self', @HOST@):\n    try: print('BREACH', os.listdir(f'/proc/{p}/root'))\n    except OSError: pass", ("ok",)),
    ("secret file", "print(open('@FOLDER@/secret.txt').read())", ("crash",)),
    ("secret file by going up", "import os\nos.chdir('/')\nfor _ in range(20): os.chdir('..')\nprint(open('@FOLDER@/secret.txt'.lstrip('/')).read())", ("crash",)),
    ("secret file by a link", "import os\nos.symlink('@FOLDER@', '/box/l')\nprint('BREACH', open('/box/l/secret.txt').read())", ("crash",)),
    ("walk the whole disk", "import os\nfor d, _, fs in os.walk('/'):\n    for f in fs:\n        if 'secret' in f and 'lib' not in d and 'usr' not in d: print('BREACH', d, f)\n        if f.startswith(('id_', '.netrc', 'shadow')): print('BREACH', d, f)", ("ok", "timeout")),
    ("passwords, keys, homes", "import os\nfor p in ('/etc/shadow', '/etc/passwd', '/etc', '/home', '/root/.ssh', '/root/.netrc', '/var', '/tmp', '/run', '/proc', '/sys'):\n    if os.path.exists(p): print('BREACH', p)", ("ok",)),
    ("inherited descriptors", "import os\nfor fd in range(3, 1024):\n    try: os.fstat(fd)\n    except OSError: continue\n    if fd != 5: print('BREACH', fd)", ("ok",)),
    ("disks and memory as devices", "import os\nprint(['BREACH ' + d for d in os.listdir('/dev') if d not in ('null', 'zero', 'urandom')])", ("ok",)),
    ("device node", tries("os.mknod('/box/disk', 0o60666, os.makedev(254, 0))", "os.mkfifo('/box/f')"), ("ok",)),
    ("frames and garbage", "import gc, sys\nf = sys._getframe()\nwhile f:\n    print({k: v for k, v in f.f_locals.items() if 'expected' in k})\n    f = f.f_back\nfor o in gc.get_objects():\n    if isinstance(o, dict) and 'R1_TEST_API_KEY' in o: print('BREACH')", ("ok",)),
    ("the tests' answers in memory", "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict) and ('expected' in o or o.get('output') == '42'): print('BREACH', list(o)[:5])", ("ok",)),
    ("read the host's secret by sendfile", "import os\nos.sendfile(1, os.open('@FOLDER@/secret.txt', 0), 0, 99)", ("crash",)),
]  # fmt: skip

# the network
NETWORK = [
    ("TCP to the host", tries("__import__('socket').create_connection(('127.0.0.1', @PORT@), 1)"), ("ok",)),
    ("TCP outside", tries("__import__('socket').create_connection(('1.1.1.1', 53), 1)"), ("ok",)),
    ("name server", tries("__import__('socket').getaddrinfo('example.com', 80)"), ("ok",)),
    ("abstract Unix socket", tries("__import__('socket').socket(1).connect('\\0@ABSTRACT@')"), ("ok",)),
    ("UDP", tries("__import__('socket').socket(2, 2)"), ("ok",)),
    ("raw, netlink, packet, vsock, bluetooth", "".join(tries(f"__import__('socket').socket({f}, {k})") for f, k in ((2, 3), (16, 3), (17, 3), (40, 1), (31, 3), (38, 5))), ("ok",)),
    ("io_uring", calls("425, 8, 0", "426, 0, 0, 0, 0, 0, 0", "427, 0, 0, 0, 0"), ("ok",)),
    ("web client", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:@PORT@', timeout=1)\nprint('BREACH')", ("crash",)),
]  # fmt: skip

# writing
WRITING = [
    ("the host's folder", tries("open('@FOLDER@/x', 'w')", "open('@FOLDER@/secret.txt', 'a').write('x')"), ("ok",)),
    ("everywhere", "import os\nfor d in ('/', '/box', '/usr', '/usr/lib', '/dev', '/tmp', '/root', '/var/tmp', '/dev/shm', '.'):\n    try:\n        open(d + '/x', 'w').write('x'); print('BREACH', d)\n    except OSError: pass", ("ok",)),
    ("directories without end", "import os\ni = 0\nwhile True:\n    os.mkdir(f'/box/{i}'); i += 1; print('BREACH')", ("crash",)),
    ("files without end", "i = 0\nwhile True:\n    open(f'/box/{i}', 'w'); i += 1; print('BREACH')", ("crash",)),
    ("unnamed file", tries("os.open('/box', os.O_TMPFILE | os.O_RDWR)", "__import__('tempfile').TemporaryFile()"), ("ok",)),
    ("fill shared memory", tries("open('/dev/shm/x', 'wb')", "__import__('multiprocessing.shared_memory').shared_memory.SharedMemory(create=True, size=1 << 28)"), ("ok",)),
    ("memfd", tries("os.memfd_create('x')"), ("ok",)),
    ("System V shared memory", calls("29, 0, 1 << 30, 0o1600"), ("ok",)),
    ("System V messages, semaphores, POSIX queues", calls("68, 0, 0o1600", "64, 0, 9, 0o1600", "240, b'/q', 66, 384, 0"), ("ok",)),
    ("change the interpreter", tries("open(sys.executable, 'ab')", "os.remove(os.__file__)", "os.rename('/usr', '/u')", "os.chmod('/usr/bin', 0o777)"), ("ok",)),
    ("devices", "d = open('/dev/zero', 'rb').read(1 << 28)\nopen('/dev/null', 'wb').write(d)", ("memory", "ok")),
    ("random numbers without end", "f = open('/dev/urandom', 'rb')\nwhile True: f.read(1 << 20)", ("timeout",)),
    ("links", tries("os.link('/usr/bin/true', '/box/t')", "os.symlink('/', '/box/r')"), ("ok",)),
]  # fmt: skip

# more rights
RIGHTS = [
    ("become root", tries("os.setuid(0)", "os.setresuid(0, 0, 0)", "os.setgid(0)", "os.setgroups([0])"), ("ok",)),
    ("chroot", tries("os.chroot('/box')"), ("ok",)),
    ("setuid programs", "import os\nos.execv('/usr/bin/su', ['su', '-c', 'echo BREACH'])", ("crash", "timeout")),
    ("unshare", calls("272, 0x10000000", "272, 0x20000", "272, 0x40000000"), ("ok",)),
    ("new namespaces by clone", calls("56, 0x10000011, 0, 0, 0, 0", "56, 0x10010900, 0, 0, 0, 0"), ("ok",)),
    ("setns", calls("308, 0, 0"), ("ok",)),
    ("mount and pivot_root", calls("165, b'none', b'/box', b'tmpfs', 0, 0", "155, b'/', b'/'", "166, b'/usr', 2", "428, 0, b'/', 0", "430, b'tmpfs', 0"), ("ok",)),
    ("bpf, keyrings, perf, userfaultfd", calls("321, 0, 0, 0", "250, 0, 0, 0", "248, b'user', b'x', b'y', 1, 0", "298, 0, 0, 0, 0, 0", "323, 0"), ("ok",)),
    ("kernel modules, reboot, clocks", calls("313, 0, b'', 0", "169, 0xfee1dead, 672274793, 0x1234567, 0", "227, 0, 0", "170, b'x', 1"), ("ok",)),
    ("handles of files", calls("303, 0, b'/', 0, 0, 0", "304, 0, 0, 0"), ("ok",)),
    ("another set of call numbers", "import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 39)\nprint('BREACH')", ("crash",)),
    ("type into a terminal", tries("__import__('fcntl').ioctl(0, 0x5412, b'x')", "os.open('/dev/tty', 2)"), ("ok",)),
    ("kernel's knobs", "import os\nfor p in ('/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/self/oom_score_adj', '/sys/power/state', '/sys/fs/cgroup'):\n    if os.path.exists(p): print('BREACH', p)", ("ok",)),
    ("raise the limits", "import resource as r\nfor n in (r.RLIMIT_AS, r.RLIMIT_NPROC, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE):\n    try:\n        r.setrlimit(n, (r.RLIM_INFINITY, r.RLIM_INFINITY)); print('BREACH', n)\n    except (ValueError, OSError): pass", ("ok",)),
    ("drop the filter", LIBC + "for a in ((22, 0), (22, 1, 0), (21, 0)):\n    libc.prctl(*a)\nimport os\nos.fork()\nprint('BREACH')", ("crash",)),
    ("prlimit on process 1", "import resource as r\ntry:\n    r.prlimit(1, r.RLIMIT_NOFILE, (0, 0)); print('BREACH')\nexcept (OSError, ValueError): pass", ("ok",)),
]  # fmt: skip

# using things up
BOMBS = [
    ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", ("memory",)),
    ("memory at once", "bytearray(1 << 40)", ("memory",)),
    ("memory by mmap", "import mmap\nx = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 24); m[::4096] = b'x' * (1 << 12); x.append(m)", ("memory", "crash")),
    ("memory in threads", "import threading\ndef f():\n    x = []\n    while True: x.append(bytearray(1 << 20))\nfor _ in range(8): threading.Thread(target=f).start()", ("memory", "crash", "ok")),
    ("memory, error caught", "x = []\nwhile True:\n    try: x.append(bytearray(1 << 22))\n    except MemoryError: pass", ("timeout",)),
    ("dictionaries", "d = {}\ni = 0\nwhile True: d[i] = [i]; i += 1", ("memory", "timeout")),
    ("output", "while True: print('x' * 10000)", ("output_limit",)),
    ("errors", "import sys\nwhile True: sys.stderr.write('x' * 10000)", ("timeout",)),
    ("output in one piece", "import os\nos.write(1, b'x' * (1 << 27))", ("output_limit",)),
    ("spin", "while True: pass", ("timeout",)),
    ("sleep", "import time\ntime.sleep(999)", ("timeout",)),
    ("sleep a little for ever", "import time\nwhile True: time.sleep(.01)", ("timeout",)),
    ("wait for a lock", "import threading\nthreading.Lock().acquire() and threading.Event().wait()", ("timeout",)),
    ("recursion", "f = lambda x: f(x + 1)\nf(0)", ("crash",)),
    ("recursion in C", "import sys\nsys.setrecursionlimit(1 << 30)\nx = []\nfor _ in range(1 << 20): x = [x]\nrepr(x)", ("crash", "memory", "timeout")),
    ("power", "print(7 ** (10 ** 8) % 10)", ("timeout", "memory")),
    ("regular expression", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", ("timeout",)),
    ("source nested deeply", "x = " + "(" * 5000 + ")" * 5000, ("compile_error", "memory")),
    ("a huge constant", "x = " + "9" * 200_000, ("compile_error",)),
    ("null byte", "print(1)\0", ("compile_error",)),
    ("pipes", "import os, fcntl\nwhile True:\n    r, w = os.pipe()\n    fcntl.fcntl(w, 1031, 1 << 20)\n    os.write(w, b'x' * (1 << 16))", ("crash",)),
    ("socket pairs", "import socket\nx = []\nwhile True: x.append(socket.socketpair()); x[-1][0].setblocking(False); x[-1][0].send(b'x' * 65536)", ("crash",)),
    ("timers", LIBC + "i = 0\nwhile libc.syscall(222, 0, 0, ctypes.byref(ctypes.c_int())) >= 0: i += 1", ("ok", "timeout", "crash")),
    ("abort", "import os\nos.abort()", ("crash",)),
    ("segmentation fault", "import ctypes\nctypes.string_at(0)", ("crash",)),
    ("close everything", "import os\nos.closerange(0, 99)", ("ok", "crash")),
]  # fmt: skip

TABLE = PROCESSES + SIGNALS + SECRETS + NETWORK + WRITING + RIGHTS + BOMBS
FAST = {
    "fork bomb", "raw fork", "exec of another Python", "kill everybody", "kill process 1", "own environment", "secret file",
    "inherited descriptors", "passwords, keys, homes", "TCP to the host", "io_uring", "everywhere", "files without end", "memfd",
    "System V shared memory", "become root", "unshare", "raise the limits", "drop the filter", "memory", "output", "spin",
}  # fmt: skip


def test_the_table_is_long_enough() -> None:
    names = [name for name, _, _ in TABLE]
    assert len(set(names)) == len(names) >= 100
    assert set(names) >= FAST


@pytest.mark.parametrize(
    ("source", "states"),
    [pytest.param(s, e, id=n, marks=[] if n in FAST else pytest.mark.slow) for n, s, e in TABLE],
)
def test_attack(host, source: str, states: tuple[str, ...]) -> None:
    state, outcome = host.attack(source)
    assert state in states, outcome
