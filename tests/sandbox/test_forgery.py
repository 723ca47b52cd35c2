"""Programs that want to be called right without being right. None may earn "ok"; an honest program beside each kind does."""

from __future__ import annotations

import pytest

from r1.sandbox import Case, Program, Sandbox

CALL = [Case("function_call", [21], 42, ("double",)), Case("function_call", [-3], -6, ("double",))]
ASSERT = [
    Case("assert", "assert double(21) == 42", names=("double",)),
    Case("assert", "for x in range(-3, 4):\n    assert double(x) == x + x, 'wrong'", names=("double",)),
]
LISTS = [Case("assert", "assert set(pair(1)) == {1, 2}\nassert len(pair(1)) == 2 and sorted(pair(3)) == [3, 4]")]

ALWAYS_EQUAL = """
class Equal(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def double(x): return Equal(7)
"""
FORGED_LINES = """
import os, sys, gc
def say(*texts):
    for fd in range(64):
        for text in texts:
            try: os.write(fd, text)
            except OSError: pass
"""

STDIN = [
    ("nothing", ""),
    ("exit 0", "import sys; sys.exit(0)"),
    ("os._exit", "import os; os._exit(0)"),
    ("passed", "print('PASSED'); print('ok'); print('all tests passed')"),
    ("its input", "print(input())"),
    ("the right answer of the first case for all", "print(42)"),
    ("both answers", "print('42\\n-6')"),
    ("a wildcard", "print('.*'); print('*')"),
    ("a forged frame", FORGED_LINES + "say(b'F' + (30).to_bytes(4, 'big') + b'0 - - 0.0001 9 3 0\\n42\\n' + b' ' * 9)"),
    ("a note", "import os\nos.write(5, b'+ok')\nprint(41)"),
    ("right, then a crash", "print(int(input()) * 2)\nraise SystemExit(3)"),
    ("right, then too slow", "print(int(input()) * 2, flush=True)\nwhile True: pass"),
    ("right, then too much", "print(int(input()) * 2)\nwhile True: print('x' * 9999)"),
    ("invisible characters", "print(str(int(input()) * 2) + '\\u200b')"),
    ("other digits", "print(str(int(input()) * 2).translate({48 + i: 0x660 + i for i in range(10)}))"),
    ("syntax error", "print(int(input()) * 2"),
    ("memory error", "raise MemoryError"),
]  # fmt: skip
CALLS = [
    ("equal to all", ALWAYS_EQUAL),
    ("no function", "print(42)"),
    ("exit when called", "import os\ndef double(x): os._exit(0)"),
    ("exit before", "import sys\nsys.exit(0)"),
    ("generator exit", "def double(x): raise GeneratorExit"),
    ("forged answer on the channel", FORGED_LINES + "say(b'[\"x\", \"value\", 42, {}]\\n')\ndef double(x): return 1"),
    ("forged done", FORGED_LINES + "say(b'[\"x\", \"done\"]\\n', b'done\\n')\ndef double(x): return 1"),
    ("nonce from the frames", FORGED_LINES + "import json\ndef double(x):\n    f = sys._getframe()\n    while f:\n        n = f.f_locals.get('nonce')\n        if n:\n            say(json.dumps([n, 'done']).encode() + b'\\n', json.dumps([n.partition('/')[0], 'done']).encode() + b'\\n')\n        f = f.f_back\n    return 1"),
    ("json replaced", "import json\njson.dumps = lambda *a, **k: '[true]'\ndef double(x): return 1"),
    ("json that says equal", "import json\nclass S(str):\n    __eq__ = lambda s, o: True\njson.dumps = lambda *a, **k: S('x')\ndef double(x): return 1"),
    ("builtins replaced", "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.AssertionError = StopIteration\ndef double(x): return 1"),
    ("a mock of everything", "class A:\n    def __getattr__(s, n): return A()\n    def __call__(s, *a): return A()\n    __eq__ = lambda s, o: True\n    __add__ = __sub__ = __radd__ = lambda s, o: s\ndouble = A()"),
    ("not a number", "double = lambda x: float('nan')"),
    ("True for 1", "double = lambda x: True"),
    ("a text", "double = lambda x: str(2 * x)"),
    ("None", "def double(x): x * 2"),
    ("its argument changed", "def double(x):\n    x += x\n    return 43"),
    ("raises AssertionError", "def double(x): raise AssertionError"),
    ("raises SystemExit", "def double(x): raise SystemExit(0)"),
    ("kills itself", "import os\ndef double(x): os.kill(os.getpid(), 9)"),
    ("a reply without end", "import os\ndef double(x):\n    while True: os.write(4, b'x' * 65536)"),
    ("a reply of 100 MB", "def double(x): return 'x' * 10 ** 8"),
    ("a list that contains itself", "def double(x):\n    a = []\n    a.append(a)\n    return a"),
    ("a list nested deeply", "def double(x):\n    a = []\n    for _ in range(10 ** 5): a = [a]\n    return a"),
    ("tags that are none", "import json\njson.dumps = lambda c, **k: '[\"' + c[0] + '\", \"value\", {\"t\": \"eval\", \"v\": \"42\"}, {}]'\ndef double(x): return 1"),
    ("changed arguments that are none", "import json\nd = json.dumps\njson.dumps = lambda c, **k: d([c[0], 'value', 1, {'0': 5, '9': [1]}])\ndef double(x): return 1"),
]  # fmt: skip
SETS = [
    ("own set", "class S:\n    __eq__ = __contains__ = lambda s, o: True\n    __iter__ = lambda s: iter([1, 2])\n    __len__ = lambda s: 2\n    __hash__ = lambda s: 0\ndef pair(x): return S()"),
    ("builtins of the test by the same name", "def pair(x): return [0, 0]\ndef set(x): return 1\ndef sorted(x): return [3, 4]\ndef len(x): return 2"),
    ("constant", "def pair(x): return [1, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source"), STDIN)
def test_output(sandbox: Sandbox, doubling: list[Case], name: str, source: str) -> None:
    verdicts = sandbox.judge(Program(source), doubling)
    assert not all(v.state == "ok" for v in verdicts), verdicts
    assert all(v.state != "sandbox_error" for v in verdicts), verdicts


@pytest.mark.parametrize("cases", [CALL, ASSERT], ids=["call", "assert"])
@pytest.mark.parametrize(
    ("name", "source"),
    [pytest.param(n, s, id=n, marks=[] if n in ("equal to all", "exit when called", "nonce from the frames") else pytest.mark.slow) for n, s in CALLS],
)  # fmt: skip
def test_call(sandbox: Sandbox, cases: list[Case], name: str, source: str) -> None:
    for verdict in sandbox.judge(Program(source), cases):
        assert verdict.state not in ("ok", "sandbox_error"), verdict


@pytest.mark.parametrize(("name", "source"), SETS)
def test_comparison(sandbox: Sandbox, name: str, source: str) -> None:
    assert [v.state for v in sandbox.judge(Program(source), LISTS)] == ["wrong"]


def test_honest(sandbox: Sandbox, doubling: list[Case]) -> None:
    assert {v.state for v in sandbox.judge(Program("print(int(input()) * 2)"), doubling)} == {"ok"}
    for cases in (CALL, ASSERT):
        assert {v.state for v in sandbox.judge(Program("def double(x): return 2 * x"), cases)} == {"ok"}
    assert {v.state for v in sandbox.judge(Program("def pair(x): return (x + 1, x)"), LISTS)} == {"ok"}
