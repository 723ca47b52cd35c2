"""One rollout as metrics: sums first, and the same list of sums on every rank."""

from __future__ import annotations

from r1 import metrics
from r1.records import Group, Problem, Score, Trace
from r1.stages.summary import describe

PROBLEM = Problem("p", "q")


def group(*values: float | None) -> Group:
    traces = [
        Trace(
            PROBLEM,
            [1],
            [2] * (i + 1),
            [-1.0] * (i + 1),
            "t",
            "stop",
            score=Score(1.0, {"a": 1.0, "b": value}, {"a": 1.0, "b": 1.0}),
        )
        for i, value in enumerate(values)
    ]
    return Group(PROBLEM, tuple(traces))


def test_every_rank_sends_as_many_sums_whatever_applied_to_its_share() -> None:
    """Bug 45: part "b" applies to nothing on the second rank, which must send a sum of 0 over 0 all the same."""
    sent: list[tuple[float, ...]] = []

    def over_ranks(*values: float) -> list[float]:
        sent.append(values)
        return list(values)

    first = describe([group(0.5, None)], over_ranks)
    second = describe([group(None, None)], over_ranks)
    assert [len(values) for values in sent[:2]] == [len(values) for values in sent[2:]]
    assert first[metrics.part_mean("b")] == 0.5  # over the one that it applied to
    assert metrics.part_mean("b") not in second


def test_lengths_and_shares_of_all_ranks() -> None:
    """The other rank has 3 completions of 8 tokens in all; this one 2 of 1 and 2."""

    def over_ranks(*values: float) -> list[float]:
        return [8 + values[0]] if len(values) == 1 else [2 * value for value in values]

    assert describe([group(1.0, 1.0)], over_ranks)[metrics.MEAN_LENGTH] == 1.5
    assert describe([group(1.0, 1.0)], over_ranks)["rows"] == 10
