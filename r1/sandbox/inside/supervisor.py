"""Process 1 of a box: `python -I -S -c <this file>`. It forks a child for each test and says how the child ended.

It imports nothing of r1, as there is no r1 in the box, and little else: every import costs each box its time. It is told one test
at a time, so a child, which is a copy of it, can find nothing in memory but its own input. As process 1 of its PID namespace it
cannot be killed from inside, and when it ends everything in the box ends with it.

Frames, both ways: one byte of kind, four of length, the content.
    from outside   S setup    J job (the repr of a dict of plain values)    D data for the child's channel
    to the outside R ready    D data from the child's channel               F finished: a line of figures, stdout, stderr
"""

import fcntl
import gc
import os
import resource
import select
import signal
import sys
import time

HOST_IN, HOST_OUT = 0, 1
CHANNEL_IN, CHANNEL_OUT = 3, 4  # a child's numbers
# Early garbage collection lets <bits/stdc++.h> compile in 260 MB instead of 350.
COMPILER = ["g++", "-std=c++17", "-O1", "-w", "--param", "ggc-min-heapsize=65536", "--param", "ggc-min-expand=20"]
COMPILER += ["-o", "main", "main.cpp"]
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TMPDIR": ".", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}
MB = 1 << 20
calls = {"__name__": "calls"}  # what inside/calls.py defines, once it is needed


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kind, setup = receive()
    assert kind == b"S"
    settings = eval(setup)
    drop(settings["uid"])
    os.chdir(settings["folder"])
    load = prepare_filter(settings["filter"])
    sys.argv = ["program.py"]
    __builtins__.exit = __builtins__.quit = sys.exit  # `site` would define them, and costs 20 ms
    gc.freeze()  # a child's collections need not touch, and so copy, what it inherited
    send(b"R")
    while True:
        kind, content = receive()
        if kind == b"J":  # data for a child that has just ended is dropped
            job = eval(content)
            if job["calls"] and "serve" not in calls:
                exec(job["calls"], calls)  # here and not in each child: it imports json
            run(job, load)


def receive():
    kind, size = (head := exactly(5))[:1], int.from_bytes(head[1:], "big")
    return kind, exactly(size)


def exactly(size):
    found = bytearray()
    while len(found) < size:
        piece = os.read(HOST_IN, min(size - len(found), MB))
        if not piece:
            os._exit(0)  # nobody is left outside
        found += piece
    return bytes(found)


def send(kind, content=b""):
    data = memoryview(kind + len(content).to_bytes(4, "big") + content)
    while data:
        data = data[os.write(HOST_OUT, data) :]


def drop(uid):
    """Root outside would be root here: become nobody in particular (None: bubblewrap has already seen to it)."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def prepare_filter(code):
    """A function that puts this process under the filter. ctypes proper costs 5 ms a box, its C part none."""
    if not code:
        return lambda: None
    import _ctypes

    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 2), "prctl")
    address = id(code) + bytes.__basicsize__ - 1  # where CPython keeps the bytes
    fprog = (len(code) // 8).to_bytes(8, sys.byteorder) + address.to_bytes(8, sys.byteorder)

    def load(code=code):
        if _ctypes.call_function(prctl, (22, 2, fprog)):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
            raise OSError("the kernel did not take the filter")

    return load


def run(job, load):
    """Fork, feed, watch, report."""
    stdin, stdout, stderr, note = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    channel_in, channel_out = (os.pipe(), os.pipe()) if job["channel"] else ((-1, -1), (-1, -1))
    pid = os.fork()
    if pid == 0:
        child(job, load, (stdin[0], stdout[1], stderr[1], channel_in[0], channel_out[1], note[1]))
    for fd in (stdin[0], stdout[1], stderr[1], channel_in[0], channel_out[1], note[1]):
        if fd >= 0:
            os.close(fd)
    watch = Watch(pid, job, stdin[1], stdout[0], stderr[0], channel_in[1], channel_out[0])
    status, usage, reason = watch.until_end()
    os.set_blocking(note[0], False)
    said = drain(note[0], 16)
    os.close(note[0])
    if not said.startswith(b"+"):
        reason = "setup"  # it never got as far as the program
    cpu = usage.ru_utime + usage.ru_stime
    notes = {b"S": "syntax", b"M": "memory"}
    figures = [os.waitstatus_to_exitcode(status), reason or "-", notes.get(said[1:2], "-"), f"{cpu:.4f}", usage.ru_maxrss // 1024]
    line = " ".join(map(str, [*figures, len(watch.stdout), len(watch.stderr)]))
    send(b"F", line.encode() + b"\n" + watch.stdout + watch.stderr)


class Watch:
    """One running child: its pipes, its CPU time, and why it was ended."""

    def __init__(self, pid, job, stdin, stdout, stderr, channel_in, channel_out):
        self.pid, self.job, self.stdout, self.stderr = pid, job, bytearray(), bytearray()
        self.waiting, self.fds = {"in": bytearray(job["stdin"]), "to": bytearray()}, {}
        self.poller = select.poll()
        self.end = os.pidfd_open(pid)
        for name, fd in (("in", stdin), ("out", stdout), ("err", stderr), ("to", channel_in), ("from", channel_out)):
            if fd >= 0:
                os.set_blocking(fd, False)  # a program that does not read or write must not hold up process 1
                self.fds[name] = fd
        for name in ("out", "err", "from"):
            if name in self.fds:
                self.poller.register(self.fds[name], select.POLLIN)
        self.poller.register(self.fds["in"], select.POLLOUT)
        self.poller.register(self.end, select.POLLIN)
        self.poller.register(HOST_IN, select.POLLIN)
        if not job["stdin"]:
            self.close("in")

    def close(self, name):
        fd = self.fds.pop(name, None)
        if fd is not None:
            if name != "to" or self.waiting["to"]:
                self.poller.unregister(fd)
            os.close(fd)

    def until_end(self):
        """(wait status, resources used, "" or the reason why it was ended)."""
        reason, began, last, used = "", time.monotonic(), time.monotonic(), 0.0
        waited, mark = 0.0, 0.0  # of the present stretch of time: its length, and CPU time at its beginning
        ended = False
        while not ended and not reason:
            ready = dict(self.poller.poll(100))
            ended = self.end in ready
            if HOST_IN in ready:
                self.host()
            for name in list(self.fds):
                if self.fds.get(name) in ready:
                    reason = self.move(name) or reason
            now, used = time.monotonic(), cpu_time(self.pid, used)
            # A machine that stands still for a minute must not look like a program that does: a round counts 0.2 s at most.
            waited, last = waited + min(now - last, 0.2), now
            idle = waited > self.job["idle"] and used - mark < 0.002 * waited
            if waited > self.job["idle"]:
                waited, mark = 0.0, used
            if used > self.job["cpu"]:
                reason = "cpu"
            elif idle:
                reason = "idle"
            elif now - began > self.job["wall"]:
                reason = "wall"
        if reason and not ended:
            os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self.sweep()
        for name, buffer in (("out", self.stdout), ("err", self.stderr)):
            if name in self.fds and not reason:
                room = self.job["output"] + 1 - len(buffer)
                buffer += drain(self.fds[name], room)
        if len(self.stdout) > self.job["output"]:
            reason = reason or "output"
        if "from" in self.fds and (rest := drain(self.fds["from"], MB)):
            send(b"D", rest)
        for name in list(self.fds):
            self.close(name)
        os.close(self.end)
        # Exact at the end: a child that was done between two rounds may have used too much all the same.
        if not reason and usage.ru_utime + usage.ru_stime > self.job["cpu"]:
            reason = "cpu"
        del self.stdout[self.job["output"] :], self.stderr[4096:]
        return status, usage, reason

    def sweep(self):
        """Nothing that the child started may see the next test. The compiler's children, or, without a sandbox, anything."""
        try:
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)
            else:
                os.killpg(self.pid, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError, PermissionError):
            pass

    def host(self):
        kind, content = receive()
        if kind == b"D" and "to" in self.fds:
            if not content:  # no more calls
                self.close("to")
                return
            self.waiting["to"] += content
            self.poller.register(self.fds["to"], select.POLLOUT)

    def move(self, name):
        """One step of one pipe; a reason to end the child, or ""."""
        fd = self.fds[name]
        try:
            if name in self.waiting:
                queue = self.waiting[name]
                del queue[: os.write(fd, queue[:65536])]
                if not queue and name == "in":
                    self.close("in")
                elif not queue:
                    self.poller.unregister(fd)
                return ""
            piece = os.read(fd, 65536)
        except BlockingIOError:
            return ""
        except OSError:  # nobody reads its input
            self.close(name)
            return ""
        if not piece:
            self.close(name)
        elif name == "from":
            send(b"D", piece)
        elif name == "out":
            self.stdout += piece
            return "output" if len(self.stdout) > self.job["output"] else ""
        else:
            self.stderr = (self.stderr + piece)[-4096:]  # the end of a traceback is what one reads
        return ""


def cpu_time(pid, otherwise):
    """Seconds used by another process: its CPU clock, whose number is made from the pid (linux/posix-timers.h)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return otherwise


def drain(fd, most):
    found = bytearray()
    try:
        while len(found) < most and (piece := os.read(fd, min(65536, most - len(found)))):
            found += piece
    except OSError:
        pass
    return bytes(found)


def child(job, load, fds):
    """Never returns. What goes wrong before the "+" is the box's fault, afterwards the program's."""
    try:
        os.setsid()
        for fd, number in zip(fds, (0, 1, 2, CHANNEL_IN, CHANNEL_OUT, 5), strict=True):
            if fd >= 0:  # first away from the low numbers, then to their places
                os.dup2(fcntl.fcntl(fd, fcntl.F_DUPFD, 64), number)
        os.closerange(6, 128)
        if not job["channel"]:
            os.closerange(CHANNEL_IN, CHANNEL_OUT + 1)
        limits(job)
        if job["op"] == "compile":
            with open("main.cpp", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(job["source"])
        else:
            load()
        os.write(5, b"+")
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)
    if job["op"] == "python":
        python(job)
    os.closerange(5, 6)
    try:
        command = COMPILER if job["op"] == "compile" else ["main"]
        os.execve("/usr/bin/g++" if job["op"] == "compile" else "main", command, ENVIRONMENT)
    except OSError as error:
        os.write(2, f"could not be started: {error}\n".encode())
    os._exit(127)


def limits(job):
    memory, stack = job["memory"] * MB, min(job["memory"] // 2, 64) * MB
    seconds = int(job["cpu"]) + 1  # the kernel counts whole seconds; process 1 is more exact, and this holds if it were to fail
    files = 64 * MB if job["op"] == "compile" else 0
    for name, value in (
        ("AS", memory), ("STACK", stack), ("CPU", seconds), ("FSIZE", files), ("NPROC", job["tasks"]), ("NOFILE", 64), ("CORE", 0),
        ("MEMLOCK", 0), ("MSGQUEUE", 0), ("SIGPENDING", 64), ("NICE", 0), ("RTPRIO", 0),
    ):  # fmt: skip
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))


def python(job):
    """Run a program as __main__ in this interpreter, and end as the interpreter itself would."""
    code, main = 0, type(sys)("__main__")
    main.__dict__.update(__builtins__=__builtins__, __file__="program.py")
    note = b""
    try:
        try:
            before = compile(job["setup"], "setup.py", "exec", dont_inherit=True)
            program = compile(job["source"], "program.py", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):  # ValueError: a null byte
            note = b"S"
            raise
        sys.modules["__main__"] = main
        exec(before, main.__dict__)
        exec(program, main.__dict__)
        if job["channel"]:
            calls["serve"](main.__dict__) if job["serve"] else calls["judge"](*job["judge"])
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()  # waits for the program's threads
    except SystemExit as end:
        if end.code is not None:
            code = end.code if isinstance(end.code, int) else 1
            if code == 1 and not isinstance(end.code, int):
                print(end.code, file=sys.stderr)
    except BaseException as error:
        note = note or (b"M" if isinstance(error, MemoryError) else b"")
        sys.excepthook(*sys.exc_info())
        code = 1
    try:
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = code or 120  # what the interpreter answers when its last flush fails
    os.write(5, note)
    os._exit(code & 255)


if __name__ == "__main__":
    main()
