"""Keep evaluation problems out of the training set, by common word n-grams (R1 v2: 10-grams)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from r1.records import Problem
from r1.tasks.base import Task, phases


def ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    """The word n-grams of a text, lower case, punctuation left out, each Chinese character a word.

    A text shorter than n words is one gram, itself, so that short problems are compared as a whole.
    """
    words = re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+", text.lower())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def decontaminate(
    train: Sequence[Problem], evaluation: Sequence[Problem], n: int = 10, share: float = 0.0
) -> tuple[list[Problem], list[tuple[Problem, Problem]]]:
    """Training problems that repeat no evaluation problem, and the leaks: pairs (train, the evaluation problem it repeats).

    A training problem leaks when it holds an n-gram of an evaluation problem, and at least `share` of that problem's n-grams.
    share = 0 is R1's filter (v2: any 10-gram), made for corpora where a lost document costs nothing. Competition problems share
    set phrases: on AIME 1983-2023 against 2024-2026, which have no problem in common, it drops 257 of 975 problems, share = 0.3
    drops 3, share = 0.4 none. Copies and light edits are caught; paraphrases and translations are not.
    """
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"need n >= 1 words and a share between 0 and 1, got n={n}, share={share}")
    holders: dict[tuple[str, ...], list[int]] = {}
    sizes = []
    for index, problem in enumerate(evaluation):
        grams = ngrams(problem.question, n)
        sizes.append(len(grams))
        for gram in grams:
            holders.setdefault(gram, []).append(index)
    clean: list[Problem] = []
    leaks: list[tuple[Problem, Problem]] = []
    for problem in train:
        common = Counter(index for gram in ngrams(problem.question, n) for index in holders.get(gram, ()))
        worst = max(common, key=lambda index: (common[index] / sizes[index], -index), default=None)
        if worst is None or common[worst] < share * sizes[worst]:
            clean.append(problem)
        else:
            leaks.append((problem, evaluation[worst]))
    return clean, leaks


class Decontaminated:
    """`task` without the training problems that repeat a test problem of one of the tasks in `against`; `.leaks` lists them.

    Its own validation and test problems count as evaluation problems too.
    """

    def __init__(self, task: Task, against: Mapping[str, Task], n: int = 10, share: float = 0.4, name: str | None = None) -> None:
        self.name = name or task.name
        self.validation, self.test = task.validation, task.test
        evaluation = [*task.validation, *task.test, *(problem for other in against.values() for problem in other.test)]
        self.train, self.leaks = decontaminate(task.train, evaluation, n, share)
        clean = {problem.id for problem in self.train}
        self.phases = [(start, [problem for problem in part if problem.id in clean]) for start, part in phases(task)]
