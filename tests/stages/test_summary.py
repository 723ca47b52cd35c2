"""One rollout as metrics: those of all ranks, whatever each of them saw."""

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


def of_two_ranks(*ranks: Group) -> list[dict[str, float]]:
    """What each rank reports when the columns of all of them are brought together."""
    sent: list = []

    def send(own):
        sent.append(own)
        return [own]

    for own in ranks:
        describe([own], send)
    return [describe([own], lambda _: sent) for own in ranks]


def test_a_part_that_one_rank_never_saw_counts_all_the_same() -> None:
    """Bug 45: part "b" applies to nothing on the second rank, and to one completion of the first."""
    first, second = of_two_ranks(group(0.5, None), group(None, None))
    assert first == second
    assert first[metrics.part_mean("b")] == 0.5 and first[metrics.part_std("b")] == 0.0  # over the one that it applied to
    assert metrics.part_mean("b") not in describe([group(None, None)])


def test_lengths_and_spreads_are_of_all_ranks() -> None:
    """Completions of 1 and 2 tokens here, of 1, 2 and 3 there: uneven ranks weigh by their completions."""
    figures, _ = of_two_ranks(group(1.0, 1.0), group(0.0, 0.0, 0.0))
    assert figures["rows"] == 5
    assert figures[metrics.MEAN_LENGTH] == 9 / 5 and (figures[metrics.MIN_LENGTH], figures[metrics.MAX_LENGTH]) == (1, 3)
    assert figures[metrics.part_mean("b")] == 2 / 5 and abs(figures[metrics.part_std("b")] - 0.24**0.5) < 1e-12
