"""Honest programs are called right: idioms of Python and C++ by hand, and the reference programs of HumanEval and MBPP."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from r1.records import Problem, Trace
from r1.rewards.code import Code
from r1.sandbox import Case, Limits, LocalBoxes, Program, Sandbox
from r1.tasks.programming import Programming

PYTHON = [
    ("input", "n = int(input())\nprint(n * 2)"),
    ("sys.stdin", "import sys\nprint(int(sys.stdin.read()) * 2)"),
    ("bytes", "import sys\nsys.stdout.buffer.write(b'%d' % (int(sys.stdin.buffer.readline()) * 2))"),
    ("open(0)", "print(int(open(0).read()) * 2)"),
    ("main guard", "def main():\n    print(int(input()) * 2)\nif __name__ == '__main__':\n    main()"),
    ("thread with a big stack", "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 26)\ndef f(n): return n and 1 + f(n - 1)\ndef main(): print(int(input()) * 2 + f(20000) - 20000)\nt = threading.Thread(target=main); t.start(); t.join()"),
    ("thread that is not joined", "import threading\nthreading.Thread(target=lambda: print(int(input()) * 2)).start()"),
    ("asyncio", "import asyncio\nasync def f(): await asyncio.sleep(0); return int(input()) * 2\nprint(asyncio.run(f()))"),
    ("exit", "import sys\nprint(int(input()) * 2)\nsys.exit()"),
    ("exit in a function", "print(int(input()) * 2)\nexit()"),
    ("atexit", "import atexit\natexit.register(lambda: print(int(input()) * 2))"),
    ("dataclass, typing, enum", "from dataclasses import dataclass\nfrom typing import List\nimport enum\n@dataclass\nclass A: x: int\nprint(A(int(input())).x * 2)"),
    ("standard library", "import math, itertools, functools, collections, heapq, bisect, re, string, random, decimal, fractions, datetime\nprint(int(input()) * 2)"),
    ("exec", "exec('print(int(input()) * 2)')"),
    ("standard error", "import sys\nprint('debug', file=sys.stderr)\nprint(int(input()) * 2)"),
    ("carriage return and spaces", "print(int(input()) * 2, end='  \\r\\n\\n')"),
    ("100 MB", "x = bytearray(100 << 20)\nprint(int(input()) * 2)"),
    ("pickle of __main__", "import pickle\nclass A: pass\na = A(); a.x = int(input())\nprint(pickle.loads(pickle.dumps(a)).x * 2)"),
]  # fmt: skip
CPP = [
    ("stdio", "#include <cstdio>\nint main() { int a; scanf(\"%d\", &a); printf(\"%d\\n\", 2 * a); }"),
    ("iostream", "#include <iostream>\nusing namespace std;\nint main() { ios::sync_with_stdio(false); cin.tie(0); long long a; cin >> a; cout << 2 * a << endl; }"),
    ("bits", "#include <bits/stdc++.h>\nusing namespace std;\nint main() { map<int, vector<int>> m; int a; cin >> a; m[a].push_back(2 * a); cout << m[a][0] << '\\n'; }"),
    ("thread", "#include <thread>\n#include <cstdio>\nint main() { int a; scanf(\"%d\", &a); std::thread t([&] { a *= 2; }); t.join(); printf(\"%d\", a); }"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source"), PYTHON)
def test_python(sandbox: Sandbox, doubling: list[Case], name: str, source: str) -> None:
    assert {v.state for v in sandbox.judge(Program(source), doubling)} == {"ok"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine: apt-get install g++")
@pytest.mark.parametrize(("name", "source"), CPP)
def test_cpp(boxes: LocalBoxes, doubling: list[Case], name: str, source: str) -> None:
    assert {v.state for v in Sandbox(boxes).judge(Program(source, "cpp"), doubling)} == {"ok"}


def answered(problem: Problem) -> Trace:
    return Trace(problem, [1], [2], [-0.1], f"<think> ```python\npass\n``` </think>\n```python\n{problem.answer}\n```", "stop")


@pytest.fixture(scope="module")
def code(boxes: LocalBoxes) -> Code:
    made = Code(sandbox=boxes, workers=2)
    boxes.limits = Limits()
    return made


@pytest.mark.parametrize(("name", "number"), [("humaneval", 4), ("mbpp_sanitized", 4)])
def test_references(code: Code, data_dir: Path, name: str, number: int) -> None:
    problems = Programming(str(data_dir / f"{name}.jsonl")).test[:number]
    assert code([answered(p) for p in problems]) == [1.0] * number


# This row of the data file holds a function body without its header: no program.
HEADLESS = {"humaneval/HumanEval/81": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("humaneval", 164), ("mbpp_sanitized", 427)])
def test_all_references(code: Code, data_dir: Path, name: str, number: int) -> None:
    problems = Programming(str(data_dir / f"{name}.jsonl")).test
    assert len(problems) == number
    values = code([answered(p) for p in problems])
    assert {p.id: v for p, v in zip(problems, values, strict=True) if v != 1.0} == (HEADLESS if name == "humaneval" else {})


def test_references_of_other_problems_fail(code: Code, data_dir: Path) -> None:
    """The tests do judge: the reference of the next problem passes none of them."""
    problems = Programming(str(data_dir / "mbpp_sanitized.jsonl")).test[:3]
    shifted = [Trace(p, [1], [2], [-0.1], f"```python\n{q.answer}\n```", "stop") for p, q in pairwise(problems)]
    assert code(shifted) == [0.0, 0.0]
