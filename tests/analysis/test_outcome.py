"""Did it matter? Every outcome once, and the comparison within problems where pooling would mislead."""

from __future__ import annotations

import pytest

from r1.analysis.outcome import OUTCOMES, grouped, is_right, outcomes, pays, turns
from r1.records import Problem, Score, Trace

RIGHT, WRONG = "<answer> 9 * 6 </answer> <eos>", "<answer> 9 + 6 </answer> <eos>"
FIRST = "<think> try 9 plus 6 is 15 want 54 no ."
AGAIN = "wait , try 9 times 6 is 54 want 54 yes ."
CLOSE = "</think>"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{FIRST} {AGAIN} {CLOSE} {RIGHT}", ["wrong to right"]),
        (f"<think> try 9 times 6 is 54 want 54 no . wait , try 9 plus 6 is 15 want 54 no . {CLOSE} {WRONG}", ["right to wrong"]),
        (f"{FIRST} wait , try 9 minus 2 is 7 want 54 no . {CLOSE} {WRONG}", ["unchanged"]),  # the same wrong answer in the end
        (f"<think> try 6 times 9 is 54 want 54 yes . wait , try 9 times 6 is 54 want 54 yes . {CLOSE} {RIGHT}", ["unchanged"]),
        (f"<think> try 9 minus 2 is 7 want 54 no . {AGAIN} {CLOSE} {WRONG}", ["still wrong"]),
        (f"<think> wait , try 9 times 6 is 54 want 54 yes . {CLOSE} {RIGHT}", ["no answer yet"]),
        (f"{FIRST} wait , try 9 times 6 is 54 want 54 no . wait , try 9 minus 2 is 7 want 54 no . {CLOSE} {WRONG}", ["unchanged", "right to wrong"]),
        (f"{FIRST} {CLOSE} {WRONG}", []),
        (f"{FIRST} wait , try 9", ["still wrong"]),  # no final answer
    ],
)  # fmt: skip
def test_what_became_of_the_answer(aha, text, found):
    assert [turn.outcome for turn in turns(aha.trace(text))] == found


def test_spans_and_drafts_of_a_turn(aha):
    one = aha.trace(f"{FIRST} {AGAIN} </think> {RIGHT}")
    (turn,) = turns(one)
    assert one.text[turn.start : turn.end] == "wait"
    assert (turn.before, turn.after, turn.right_before, turn.right) == ("9 + 6", "9 * 6", False, True)


def test_a_score_is_believed_before_the_verifier(aha):
    one = aha.trace(f"{FIRST} </think> {RIGHT}")
    scored = Score(0.0, {"accuracy": 0.0}, {"accuracy": 1.0})
    assert is_right(one)
    assert not is_right(Trace(one.problem, one.prompt_ids, one.token_ids, one.logps, one.text, "stop", score=scored))


def test_shares_weigh_problems_alike(aha):
    saved = f"{FIRST} {AGAIN} </think> {RIGHT}"
    lost = f"{FIRST} wait , try 9 minus 2 is 7 want 54 no . </think> {WRONG}"
    # Problem a: three samples saved. Problem b: one unchanged. Problem c does not reflect and does not count.
    found = outcomes([aha.group("a", saved, saved, saved), aha.group("b", lost), aha.group("c", RIGHT)])
    assert (found.reflections, found.samples, found.problems) == (4, 4, 2)
    assert {name: found.shares[name].value for name in OUTCOMES} == {"wrong to right": 0.5, "right to wrong": 0, "unchanged": 0.5, "still wrong": 0, "no answer yet": 0}  # fmt: skip
    assert found.shares["wrong to right"].low < 0.5 < found.shares["wrong to right"].high
    assert (found.first_draft.value, found.final.value) == (0, 0.5)
    assert outcomes([aha.group("c", RIGHT)]) is None


def test_within_problems_undoes_the_confounding(aha):
    reflecting, plain = f"{FIRST} {AGAIN} </think>", f"{FIRST} </think>"
    easy = aha.group("easy", *[f"{plain} {RIGHT}"] * 8)  # solved without a thought: plain samples look good when pooled
    hard = [aha.group(f"hard{i}", *[f"{reflecting} {RIGHT}"] * 2, *[f"{reflecting} {WRONG}"] * 2, *[f"{plain} {WRONG}"] * 4) for i in range(6)]  # fmt: skip
    found = pays([easy, *hard])
    assert found.difference == 0.5
    assert found.n_problems == 6
    assert found.p == 2 / 2**6  # all six differences point one way
    assert pays([easy]) is None


def test_traces_are_grouped_in_order(aha):
    found = grouped([aha.trace(RIGHT, "b"), aha.trace(RIGHT, "a"), aha.trace(WRONG, "b")])
    assert [(g.problem.id, len(g)) for g in found] == [("pair/b", 2), ("pair/a", 1)]


def test_mathematics_is_compared_as_mathematics():
    asked = Problem("m/1", "?", "1/2")
    one = Trace(asked, [1], [1], [0.0], "<think> x = 0.5. Wait, let me check. </think> \\boxed{\\frac{1}{2}}", "stop")
    assert [turn.outcome for turn in turns(one)] == ["unchanged"] * len(turns(one))
    assert turns(one)
