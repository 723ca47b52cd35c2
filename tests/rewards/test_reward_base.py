"""Composition: weights, None, NaN, and the errors that a misspelt name gives."""

from __future__ import annotations

import math

import pytest

from r1.records import Group, Problem, Trace
from r1.rewards import Reward


def trace(text: str = "a", problem: str = "p/1") -> Trace:
    return Trace(Problem(problem, "?", "4"), [1], [2], [-0.1], text, "stop")


def constant(*values: float | None):
    return lambda traces: list(values[: len(traces)])


def test_total_is_the_weighted_sum_and_keeps_the_parts() -> None:
    reward = Reward({"a": constant(1.0, 0.0), "b": constant(0.5, 1.0)}, {"a": 2.0, "b": 0.1})
    one, two = reward.score([trace(), trace()])
    assert one.score.total == pytest.approx(2.05)  # 2 * 1 + .1 * .5: weights are not normalised
    assert two.score.total == pytest.approx(0.1)
    assert one.score.parts == {"a": 1.0, "b": 0.5}
    assert one.score.weights == {"a": 2.0, "b": 0.1}


def test_none_adds_nothing() -> None:
    (scored,) = Reward({"a": constant(None), "b": constant(0.5)}, {"a": 1, "b": 1}).score([trace()])
    assert scored.score.total == 0.5
    assert scored.score.parts == {"a": None, "b": 0.5}


def test_one_outage_masks_one_trace_and_touches_no_other() -> None:
    """Bug 39: one None or NaN must not poison the others."""
    reward = Reward({"a": constant(1.0, math.nan, None, 1.0), "b": constant(1.0, 1.0, 1.0, 0.0)}, {"a": 1, "b": 1})
    totals = [t.score.total for t in reward.score([trace()] * 4)]
    assert totals == [2.0, None, 1.0, 1.0]


def test_a_part_of_weight_zero_is_logged_and_masks_nothing() -> None:
    (scored,) = Reward({"a": constant(1.0), "judge": constant(math.nan)}, {"a": 1, "judge": 0}).score([trace()])
    assert scored.score.total == 1.0
    assert math.isnan(scored.score.parts["judge"])


def test_groups_keep_their_order_and_each_part_is_called_once() -> None:
    calls = []

    def part(traces):
        calls.append(len(traces))
        return [float(t.text) for t in traces]

    groups = [Group(Problem(p, "?", "4"), tuple(trace(x, p) for x in texts)) for p, texts in (("p/1", "123"), ("p/2", "45"))]
    scored = Reward({"a": part}, {"a": 1})(groups)
    assert [[t.score.total for t in g.traces] for g in scored] == [[1, 2, 3], [4, 5]]
    assert calls == [5]
    assert groups[0].traces[0].score is None  # new objects


def test_names_must_agree() -> None:
    with pytest.raises(ValueError, match=r"parts that do not exist: langage; there are: a, language"):
        Reward({"a": constant(), "language": constant()}, {"a": 1, "langage": 0.1})
    with pytest.raises(ValueError, match=r"no weight for: b, c"):
        Reward({"a": constant(), "b": constant(), "c": constant()}, {"a": 1})
    with pytest.raises(ValueError, match="at least one part"):
        Reward({}, {})
    with pytest.raises(ValueError, match="finite number, got nan"):
        Reward({"a": constant()}, {"a": math.nan})


def test_a_broken_part_stops_the_run() -> None:
    with pytest.raises(ValueError, match="'a' must return one value a trace: 2 traces, got 1"):
        Reward({"a": constant(1.0)}, {"a": 1}).score([trace(), trace()])
    with pytest.raises(ValueError, match="'a' must return finite numbers.* got inf for problem 'p/1'"):
        Reward({"a": constant(math.inf)}, {"a": 1}).score([trace()])
    with pytest.raises(ZeroDivisionError):
        Reward({"a": lambda traces: [1 / 0]}, {"a": 1}).score([trace()])


def test_stored_parts_can_be_weighed_again() -> None:
    reward = Reward({"a": constant(), "b": constant()}, {"a": 1, "b": 0.5})
    assert reward.total({"a": 1.0, "b": 1.0}).total == 1.5


def test_no_traces() -> None:
    assert Reward({"a": constant()}, {"a": 1})([]) == []


def test_a_late_part_is_not_even_computed_before_its_start() -> None:
    """Preference rewards come in the last part of a run (v2 3.2.2)."""
    calls = []

    def late(traces):
        calls.append(len(traces))
        return [1.0] * len(traces)

    reward = Reward({"rule": constant(1.0), "late": late}, {"rule": 1.0, "late": 0.5}, {"late": 1300})
    (before,) = reward.at(1299).score([trace()])
    assert (before.score.total, before.score.parts, calls) == (1.0, {"rule": 1.0}, [])
    (after,) = reward.at(1300).score([trace()])
    assert (after.score.total, after.score.weights, calls) == (1.5, {"rule": 1.0, "late": 0.5}, [1])
    assert Reward({"rule": constant(1.0)}, {"rule": 1.0}).at(0).weights == {"rule": 1.0}


@pytest.mark.parametrize("starts", [{"lat": 1}, {"a": -1}])
def test_starts_name_parts(starts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="reward.starts maps parts"):
        Reward({"a": constant()}, {"a": 1}, starts)


def test_nothing_has_begun() -> None:
    with pytest.raises(ValueError, match="no part of the reward has begun at update 3"):
        Reward({"a": constant()}, {"a": 1}, {"a": 4}).at(3)
