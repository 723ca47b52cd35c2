"""What the sandbox costs: milliseconds a program, tests a second, and CPU time, which a busy machine does not change.

python benchmarks/sandbox.py --json benchmarks/results/sandbox.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path

from r1.sandbox import Case, Limits, LocalBoxes, Program, Sandbox

PROGRAM = Program("print(int(input()) * 2)")
FUNCTION = Program("def double(x): return 2 * x")


def cases(number: int) -> list[Case]:
    return [Case("stdin_stdout", f"{n}\n", f"{2 * n}\n") for n in range(number)]


def asserts(number: int) -> list[Case]:
    return [Case("assert", f"assert double({n}) == {2 * n}") for n in range(number)]


def cpu() -> float:
    """Seconds of this process and of every ended child of it."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def latency(sandbox: Sandbox, program: Program, tests: list[Case], rounds: int) -> float:
    """Median milliseconds of one program when boxes are ready."""
    taken = []
    for _ in range(rounds):
        time.sleep(0.3)  # the pool fills up
        began = time.perf_counter()
        assert all(v.state == "ok" for v in sandbox.judge(program, tests))
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def throughput(sandbox: Sandbox, program: Program, tests: list[Case], programs: int) -> dict[str, float]:
    began, used = time.perf_counter(), cpu()
    verdicts = sandbox.judge_all([(program, tests)] * programs)
    wall, used = time.perf_counter() - began, cpu() - used
    assert all(v.state == "ok" for row in verdicts for v in row)
    number = programs * len(tests)
    return {
        "programs/s": programs / wall,
        "tests/s": number / wall,
        "CPU ms/program": 1000 * used / programs,
        "tests/CPU s": number / used,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--programs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sandbox = Sandbox(LocalBoxes(limits=Limits(), warm=4), workers=options.threads)
    sandbox.judge(PROGRAM, cases(1))
    result: dict[str, object] = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()}
    for name, program, tests in (
        ("1 test", PROGRAM, cases(1)),
        ("10 tests", PROGRAM, cases(10)),
        ("10 asserts", FUNCTION, asserts(10)),
    ):
        row = {"warm ms": latency(sandbox, program, tests, options.rounds)}
        row |= throughput(sandbox, program, tests, options.programs)
        result[name] = {key: round(value, 1) for key, value in row.items()}
        print(f"{name:12}", *(f"{key} {value:.1f}" for key, value in row.items()), sep="   ")
    sandbox.close()
    print(f"load {result['load']:.1f} on {result['cores']} cores")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
