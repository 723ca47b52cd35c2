"""Formal aha moments by hand: each threshold once on either side."""

from __future__ import annotations

from itertools import combinations

import pytest

from r1.analysis.aha import Cell, chance_of_gain, formal_ahas

PLAIN_RIGHT, PLAIN_WRONG, SHIFT_RIGHT, SHIFT_WRONG = "r", "w", "R", "W"


@pytest.fixture
def cell(aha):
    def make(name: str, letters: str):
        texts = {
            "r": f"<think> try 9 times 6 is 54 . </think> {aha.RIGHT}",
            "w": f"{aha.FIRST} </think> {aha.WRONG}",
            "R": f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}",
            "W": f"{aha.FIRST} {aha.AGAIN} </think> {aha.WRONG}",
        }
        return aha.group(name, *(texts[letter] for letter in letters))

    return make


def test_a_problem_that_failed_quietly_and_then_shifts_into_the_right_answer(cell):
    found = formal_ahas({0: [cell("a", "wwww")], 10: [cell("a", "wwRR")]})
    (moment,) = found.moments
    assert (moment.step, moment.problem, moment.cell) == (10, "pair/a", Cell(4, 2, 2, 2))
    assert found.candidates == 1
    assert found.expected == pytest.approx(1 / 6)  # both right samples among the two that shift: one way of six


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("rrww", "wwRR"),  # no failure: half of the earlier samples were right
        ("WWww", "wwRR"),  # not stable: it shifted before
        ("wwww", "rrWW"),  # no gain: the shifting ones are wrong
        ("wwww", "RRRR"),  # nothing to exceed: all shift
        ("wwww", "rrrr"),  # no shift
    ],
)
def test_one_threshold_missed_is_no_aha(cell, first, then):
    assert formal_ahas({0: [cell("a", first)], 10: [cell("a", then)]}).moments == ()


def test_every_earlier_checkpoint_counts(cell):
    history = {0: [cell("a", "rrrr")], 10: [cell("a", "wwww")], 20: [cell("a", "wwRR")]}
    assert formal_ahas(history).moments == ()
    assert formal_ahas(history, failure=1.0).moments != ()


def test_thresholds_and_shifts_can_be_given(cell):
    history = {0: [cell("a", "wwwr")], 10: [cell("a", "wwRR")]}
    assert len(formal_ahas(history).moments) == 1
    assert formal_ahas(history, failure=0.2).moments == ()
    assert formal_ahas(history, gain=0.5).moments == ()
    assert formal_ahas(history, shifts=lambda trace: False).candidates == 0
    with pytest.raises(ValueError, match="two checkpoints"):
        formal_ahas({0: []})


@pytest.mark.parametrize("case", [(6, 2, 3), (8, 4, 1), (5, 0, 2), (5, 5, 2)])
def test_luck_by_enumeration(case):
    n, right, shifts = case
    ways = list(combinations(range(n), shifts))
    lucky = sum(sum(i < right for i in way) / shifts - right / n > 0.125 for way in ways)
    assert chance_of_gain(Cell(n, right, shifts, 0), 0.125) == pytest.approx(lucky / len(ways))
