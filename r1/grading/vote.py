"""The majority vote, over classes of equivalent answers: "1/2", "0.5" and `\\frac{2}{4}` are three votes for one opinion.

Answers that could not be read (None) do not vote. A tie has no winner to be found by looking at the order of the samples, so all
tied answers are reported, and the vote is worth its expected value over them. The outcome does not depend on the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r1.grading.verify import canonical, verifier

if TYPE_CHECKING:
    from r1.records import Problem


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    answer   the winner as most of its voters wrote it, None when nobody voted; of tied winners the alphabetically first
    count    its votes
    voters   answers that voted (None does not)
    tied     all answers with the most votes, the winner among them; more than one means a tie
    winners  indices of the samples behind each tied answer
    """

    answer: str | None
    count: int
    voters: int
    tied: tuple[str, ...]
    winners: tuple[tuple[int, ...], ...]

    def expected(self, correct: Sequence[bool]) -> float:
        """Expected share of this vote being right, given which samples are right: the mean over tied answers; 0 without voters."""
        if not self.winners:
            return 0.0
        return sum(sum(correct[i] for i in group) / len(group) for group in self.winners) / len(self.winners)


def cluster(answers: Sequence[str | None], problem: Problem | None = None) -> list[list[int]]:
    """Indices of the answers, grouped into classes of equivalent ones, the largest first. None is in no class.

    Two steps: answers with one canonical form are one class; classes whose forms are equivalent as mathematics are joined.

    >>> cluster(["1/2", None, "0.5", "3"])
    [[0, 2], [3]]
    """
    by_form: dict[str, list[int]] = {}
    for i, answer in enumerate(answers):
        if answer is not None and answer.strip():
            by_form.setdefault(canonical(problem, answer), []).append(i)
    same = verifier(problem).same
    classes: list[tuple[str, list[int]]] = []  # (representative answer, members)
    # Sorted, so that the outcome does not depend on the order of the samples even where equivalence is not transitive.
    for _, members in sorted(by_form.items(), key=lambda item: (-len(item[1]), item[0])):
        spelt = representative(answers, members)
        home = next((group for name, group in classes if same is not None and same(spelt, name)), None)
        if home is None:
            classes.append((spelt, members))
        else:
            home.extend(members)
    return sorted((sorted(group) for _, group in classes), key=lambda group: (-len(group), group[0]))


def representative(answers: Sequence[str | None], members: Sequence[int]) -> str:
    """How most of a class wrote it; of equally frequent spellings the alphabetically first."""
    spellings = Counter((answers[i] or "").strip() for i in members)
    return min(spellings, key=lambda s: (-spellings[s], s))


def majority_vote(answers: Sequence[str | None], problem: Problem | None = None) -> Vote:
    """Vote over equivalence classes.

    >>> majority_vote(["42", None, "7", "42.0"]).answer
    '42'
    """
    classes = cluster(answers, problem)
    if not classes:
        return Vote(None, 0, 0, (), ())
    most = len(classes[0])
    winners = sorted((representative(answers, group), tuple(group)) for group in classes if len(group) == most)
    return Vote(
        winners[0][0], most, sum(map(len, classes)), tuple(name for name, _ in winners), tuple(group for _, group in winners)
    )
