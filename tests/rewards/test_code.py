"""The reward part `code`: what it reads of a completion, what it pays, and what it does when the sandbox fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from r1.records import Problem, Trace
from r1.rewards import Reward
from r1.rewards.code import Code, cases_of, last_block, program_of
from r1.sandbox import Case, Limits, Program, SandboxError, SandboxUnavailable

TWICE = {
    "language": "python",
    "test_cases": [{"type": "stdin_stdout", "input": f"{n}\n", "output": f"{2 * n}\n"} for n in (21, -3, 0, 5)],
}
DOUBLE = Problem("code/1", "double it", None, "code", tests=TWICE)


def trace(text: str, problem: Problem = DOUBLE, finish: str = "stop") -> Trace:
    return Trace(problem, [1], [2], [-0.1], text, finish)


def block(source: str, language: str = "python") -> str:
    return f"<think>hm</think> Here:\n```{language}\n{source}\n```\n"


@pytest.fixture(scope="module")
def code() -> Iterator[Code]:
    try:
        made = Code(warm=2)
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    yield made
    made.close()


def test_share(code: Code) -> None:
    """Four tests, 21 -3 0 5: abs fails for -3, a constant passes one, the input itself passes for 0."""
    sources = ["print(int(input()) * 2)", "print(abs(int(input()) * 2))", "print(42)", "print(input())", "print("]
    assert code([trace(block(s)) for s in sources]) == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_all_or_nothing(code: Code) -> None:
    strict = Code(mode="all", sandbox=code.sandbox.boxes)
    assert strict([trace(block(s)) for s in ("print(int(input()) * 2)", "print(abs(int(input()) * 2))")]) == [1.0, 0.0]


def test_only_code_after_the_thought_counts(code: Code) -> None:
    right = "```python\nprint(int(input()) * 2)\n```"
    texts = [
        f"<think>{right}</think> no code",
        f"<think>{right}",
        f"<think>a</think>{right}\n```python\nprint(1)\n```",
        f"<think>a</think>```python\nprint(1)\n```\n{right}",
        "<think>a</think> print(int(input()) * 2)",
        "",
    ]
    assert code([trace(t) for t in texts]) == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_other_problems_are_not_code(code: Code) -> None:
    assert code([trace(block("print(4)"), Problem("m/1", "2 + 2?", "4"))]) == [None]


def test_function_calls(code: Code) -> None:
    tests = {"fn_name": "add", "test_cases": [{"type": "function_call", "input": "1\n[2, 3]", "output": "[3, 4]"}]}
    problem = Problem("code/2", "?", None, "code", tests=tests)
    plain = "def add(a, b): return [a + x for x in b]"
    method = "class Solution:\n    def add(self, a, b): return tuple(a + x for x in b)"
    assert code([trace(block(s), problem) for s in (plain, method, "def add(a, b): return b")]) == [1.0, 1.0, 0.0]


def test_a_body_completes_its_header(code: Code) -> None:
    header = 'from typing import List\n\ndef first(x: List[int]) -> int:\n    """The first."""'
    tests = {"test_cases": [{"type": "assert", "code": "def check(c):\n    assert c([3, 4]) == 3\ncheck(first)"}]}
    problem = Problem("code/3", header, None, "code", tests=tests, meta={"header": header, "entry_point": "first"})
    sources = ["    return x[0]", "return x[0]", "def first(x: List[int]): return x[0]", "    return x[1]"]
    assert code([trace(block(s), problem) for s in sources]) == [1.0, 1.0, 1.0, 0.0]


class Broken:
    """Boxes that fail `times` times, then hand out those of `inner`."""

    unsafe = False

    def __init__(self, inner: Any, times: int) -> None:
        self.inner, self.times, self.limits = inner, times, Limits()

    def take(self) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise SandboxError("no box today")
        return self.inner.take()

    def close(self) -> None: ...


def test_one_outage_is_retried(code: Code) -> None:
    part = Code(sandbox=Broken(code.sandbox.boxes, 1), workers=1)
    assert part([trace(block("print(int(input()) * 2)"))]) == [1.0]
    assert part.counts["retries"] == 1


def test_two_outages_mask_the_sample() -> None:
    """Never 0: an outage and a wrong answer must not look alike."""
    part = Code(sandbox=Broken(None, 99), workers=1)
    [value] = part([trace(block("print(1)"))])
    assert value is not None and math.isnan(value)
    assert part.counts["sandbox_error"] == 4
    [scored] = Reward({"code": part}, {"code": 1.0}).score([trace(block("print(1)"))])
    assert scored.score is not None and scored.score.total is None


def test_missing_bubblewrap_is_refused_when_the_reward_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match=r"install the package bubblewrap .* sandbox=unsafe_subprocess"):
        Code()


def test_unsafe_says_so(caplog: pytest.LogCaptureFixture) -> None:
    part = Code(sandbox="unsafe_subprocess", warm=0, workers=1)
    assert part.unsafe
    assert "UNSAFE" in caplog.text
    assert part([trace(block("print(int(input()) * 2)"))]) == [1.0]
    part.close()


BLOCKS = [
    ("```python\na\n```", "a\n"),
    ("```\na\n```\ntext\n~~~py\nb\n~~~", "b\n"),
    ("````\n```\na\n```\n````", "```\na\n```\n"),
    ("```python\na", "a"),
    ("no fence", None),
    ("```python\n```", None),
]


@pytest.mark.parametrize(("text", "found"), BLOCKS)
def test_last_block(text: str, found: str | None) -> None:
    assert last_block(text) == found


def test_a_block_that_was_cut_is_no_program() -> None:
    assert last_block("```python\na", truncated=True) is None
    assert last_block("```python\na\n```\n```python\nb", truncated=True) == "a\n"


def test_cases() -> None:
    tests = {"setup": "import math", "test_cases": [{"type": "assert", "code": "assert sum(1) == 1"}]}
    problem = Problem("p", "?", "def sum(x): return x", "code", tests=tests)
    assert cases_of(problem) == [Case("assert", "assert sum(1) == 1", "import math", ("sum",))]
    assert program_of(problem, "x") == Program("x")


BAD = [
    ({"test_cases": []}, "at least one case"),
    (None, "at least one case"),
    ({"test_cases": [{"type": "stdin_stdout", "input": 1, "output": "2"}]}, "input and output as text"),
    ({"test_cases": [{"type": "function_call", "input": [1], "output": 2}]}, "needs fn_name"),
    ({"test_cases": [{"type": "sql", "input": "", "output": ""}]}, "got 'sql'"),
    ({"language": "rust", "test_cases": [{"input": "", "output": ""}]}, "python and cpp, the tests ask for 'rust'"),
    ({"language": "cpp", "test_cases": [{"type": "assert", "code": "assert 1"}]}, "cpp problems need stdin_stdout"),
]


@pytest.mark.parametrize(("tests", "message"), BAD)
def test_bad_tests_are_named(tests: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"problem 'bad/1'.*{message}"):
        cases_of(Problem("bad/1", "?", None, "code", tests=tests))


def test_bad_mode() -> None:
    with pytest.raises(ValueError, match="'share' or 'all', got 'some'"):
        Code(mode="some")
