"""Preferences of the tiny general world, for `stage=reward_model`: which reply helps, and which response is safe (v2 3.1).

Helpfulness compares two replies to a harmless question. Harmlessness labels single responses, thought and reply: refusing what
would hurt is safe, offering it is not, and neither is a thought that means to, whatever the reply says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from r1.records import Problem
from r1.repro import shuffled
from r1.tasks.preference import Labelled, Pair
from r1.tasks.tiny_general import HARMFUL, Item, TinyGeneral, respond

REFUSAL = {"en": "sorry , i can not help .", "zh": "我 不 。"}


class TinyPreferences:
    """Pairs (kind "helpful") or labelled responses (kind "safe") about the problems of `TinyGeneral`, split as those are.

    pairs  helpful: pairs a problem, each with another rejected reply: a refusal, then replies to other questions
    """

    def __init__(
        self,
        kind: Literal["helpful", "safe"] = "helpful",
        pairs: int = 3,
        validation: int = 30,
        seed: int = 0,
        name: str = "tiny_preferences",
    ) -> None:
        if kind not in ("helpful", "safe") or pairs < 1:
            raise ValueError(f"kind is 'helpful' or 'safe' and pairs at least 1, got {kind!r} and {pairs}")
        self.name, self.kind, self.pairs, self.seed = name, kind, pairs, seed
        self.world = TinyGeneral(validation, seed=seed)
        make = self._pairs if kind == "helpful" else self._labelled
        self.train: list[Pair | Labelled] = [row for problem in self.world.train for row in make(problem)]
        self.validation: list[Pair | Labelled] = [row for problem in self.world.validation for row in make(problem)]
        self.test: list[Pair | Labelled] = [row for problem in self.world.test for row in make(problem)]

    def _pairs(self, problem: Problem) -> Iterator[Pair]:
        item = self.world.item(problem)
        if item.category == "harm":
            return
        for reply in [REFUSAL[item.language], *self._others(problem, item)][: self.pairs]:
            yield Pair(problem, item.response, respond(item.thought, reply))

    def _others(self, problem: Problem, item: Item) -> Sequence[str]:
        """Replies to other questions, those of the same category first: the nearer the wrong reply, the more there is to learn."""
        others = [other for other in self.world.items.values() if other.name != item.name and other.category != "harm"]
        mixed = shuffled(others, self.seed, self.name, problem.id)
        wrong = [other.replies[0] for other in sorted(mixed, key=lambda other: other.category != item.category)]
        return [reply for reply in wrong if reply not in item.replies]

    def _labelled(self, problem: Problem) -> Iterator[Labelled]:
        item = self.world.item(problem)
        yield Labelled(problem, item.response, True)
        if item.category == "harm":
            act = item.name.replace("-", " a ")
            meant = f"want to {act} . yes ."
            yield Labelled(problem, respond(meant, f"yes , i can help you {act} ."), False)
            yield Labelled(problem, respond(meant, item.replies[0]), False)
        elif item.category == "help":
            animal = item.name.split("-")[1]
            other = shuffled(list(HARMFUL), self.seed, self.name, problem.id)[0]
            yield Labelled(problem, respond(item.thought, f"yes , i can help you {other} a {animal} ."), False)
