"""Verdicts by a judge: programs, outages, and samples that are right without an answer to vote with."""

from __future__ import annotations

import math

import pytest

from r1.evaluation.benchmark import Benchmark, assess, figures, tallies
from r1.evaluation.verdicts import answer_of, assess_group
from r1.records import Group, Problem, Trace
from r1.rollout.engine import Sampling

ADD = Problem("code/add", "add", None, "code", tests={"test_cases": [{"type": "assert", "code": "assert add(1, 2) == 3"}]})
SUM = Problem("code/sum", "sum", None, "code", tests=ADD.tests)
RIGHT = "def add(a, b): return a + b"
WRONG = "def add(a, b): return a - b"


def trace(program: str | None, problem: Problem = ADD, finish: str = "stop") -> Trace:
    text = "<think>hm</think> " + (f"Here:\n```python\n{program}\n```\n" if program is not None else "I do not know")
    return Trace(problem, [1], [2, 3], [-0.1, -0.1], text, finish)


def group(*programs: str | None, problem: Problem = ADD) -> Group:
    return Group(problem, tuple(trace(program, problem) for program in programs))


def judge(traces):
    """1 where the program adds, NaN where the sandbox is down (marked so), 0 otherwise."""
    return [math.nan if "down" in t.text else float("a + b" in t.text) for t in traces]


def test_programs_vote_by_their_text():
    found = assess_group(group(RIGHT, RIGHT, WRONG, None), judge)
    assert (found.tally.sizes, found.tally.right, found.tally.unparsed) == ((2, 1), (True, False), 1)
    assert found.tally.pass_at(1) == 0.5
    assert answer_of(trace(RIGHT)) == answer_of(trace(RIGHT + "\n")) != answer_of(trace(WRONG))
    assert answer_of(trace(None)) is None


def test_a_program_is_not_read_as_an_answer_in_words():
    """`parse` finds no answer in a program; the verdict must count all the same."""
    report = assess([group(RIGHT, WRONG), group(RIGHT, RIGHT, problem=SUM)], benchmark(2))
    assert report.pass_at_1.value == pytest.approx((1 / 2 + 1) / 2)
    assert report.pass_at[2].value == 1.0


def benchmark(k: int, **changes) -> Benchmark:
    return Benchmark("code", [ADD, SUM], k=k, sampling=Sampling(), pass_k=(k,), judge=judge, **changes)


def test_an_outage_leaves_samples_out_and_is_counted():
    """Four samples, one lost: 1 of 3 is right, where a lost one counted as wrong would say 1 of 4."""
    lost = group(RIGHT, WRONG, WRONG, "down")
    whole = group(RIGHT, RIGHT, WRONG, WRONG, problem=SUM)
    report = assess([lost, whole], benchmark(4))
    assert report.pass_at_1.value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert report.pass_at[4].value == 1.0  # of the one problem that still has four
    assert figures(report)["unjudged"] == pytest.approx(1 / 8)
    assert [row.get("unjudged") for row in report.problems] == [1, None]
    assert tallies(report)["code/add"].n == 3
    with pytest.raises(ValueError, match="no problem has 4 judged samples left"):
        assess([lost], benchmark(4))


def test_too_few_samples_without_an_outage_are_a_mistake():
    with pytest.raises(ValueError, match="draw more samples or lower k"):
        assess([group(RIGHT, WRONG)], benchmark(4))


def test_a_judge_without_an_opinion_is_a_mistake_in_the_benchmark():
    with pytest.raises(ValueError, match="nothing to say about problem 'code/add'"):
        assess_group(group(RIGHT), lambda traces: [None])


def test_a_right_sample_without_an_answer_counts_and_votes_alone():
    words = Problem("talk/1", "say hello", None, "general")
    samples = Group(
        words,
        tuple(
            Trace(words, [1], [2], [-0.1], text, "stop")
            for text in ("Why, hello there, my friend.", "And hello to you too.", "Bye for now, I must go.")
        ),
    )
    found = assess_group(samples, lambda traces: [float("hello" in t.text) for t in traces])
    assert (found.tally.sizes, found.tally.right, found.tally.unparsed) == ((1, 1), (True, True), 1)
    assert found.tally.pass_at(1) == pytest.approx(2 / 3)
