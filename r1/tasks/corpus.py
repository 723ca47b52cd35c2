"""The base corpus of the tiny task family: what a small model has "read" before reinforcement learning starts.

Two kinds of documents. Exercise sheets teach the skill: combine two different numbers of a list, calculate, say honestly
whether that is what was wanted, do not repeat yourself. Problem documents are of mixed quality, like text from the web: most
guess once and answer whatever came out, and a small share checks its tries and goes on until one fits. That latent behaviour
is written in here, and every share is an argument, so that one can ask what reinforcement learning makes of it.

Loss is meant for the body only. Number sets of validation and test occur in no document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, NamedTuple

from r1.records import Problem
from r1.repro import key
from r1.tasks.pair_countdown import Candidate, PairCountdown, ask, candidates
from r1.tasks.words import ANSWER, HIGHEST, THINK, speaker

SHARES = ("sheets", "direct", "one_try", "reflective", "direct_right", "one_try_right", "early", "cyclic", "think", "english",
          "mixed", "wrong", "sheet_yes")  # fmt: skip


class Document(NamedTuple):
    """A rendered prompt, the body that is learned, and the kind: sheet, direct, one_try or reflective."""

    prompt: str
    body: str
    kind: str


def check_shares(corpus: Any, names: Sequence[str]) -> None:
    """ValueError unless these attributes are shares and the three kinds of problem documents sum to 1."""
    for name in names:
        if not 0 <= getattr(corpus, name) <= 1:
            raise ValueError(f"{name} is a share between 0 and 1, got {getattr(corpus, name)}")
    kinds = corpus.direct + corpus.one_try + corpus.reflective
    if abs(kinds - 1) > 1e-6:
        raise ValueError(f"direct + one_try + reflective must be 1 (they share out the problem documents), got {kinds:g}")


@dataclass(frozen=True)
class Corpus:
    """`size` documents about the training sets of `task`, each a pure function of (seed, its index).

    sheets          share of exercise sheets; the others are problem documents
    direct, one_try, reflective   shares of the problem documents: an answer without thought; one try with an honest verdict,
                    then that answer whatever the verdict; tries until one fits or patience ends. They sum to 1
    direct_right, one_try_right   how often the one guess is the right candidate; otherwise it is a wrong one
    early           how often the right candidate is put among the first six tries of a reflective document; otherwise it
                    stands where it falls
    patience        a reflective document gives up after one of these numbers of tries
    cyclic          share of sheets and reflective documents in systematic order: the same pair + - *, then the next pair,
                    from a random start; the others are in random order. Neither repeats a candidate
    think           share of problem documents with <think> tags
    english         share of English; the others are Chinese
    mixed           share of documents whose language is drawn anew for every sentence
    wrong           share of operations with a wrong result; the verdict is honest about that result
    sheet_tries     fewest and most tries of a sheet
    sheet_yes       share of sheet lines that want the value they get
    restate         write "want 54" and the verdict beside each value. False is a control: with the target far away a small
                    model does not learn the verdict, so self-checks are worthless (sheets then only calculate)
    template        how a question becomes a prompt; the same text as the policy's template

    The corpus is a task too: its three lists of problems are those of `task`, to validate a model on while it reads.
    """

    task: PairCountdown
    size: int = 60_000
    seed: int = 0
    sheets: float = 0.5
    direct: float = 0.30
    one_try: float = 0.61
    reflective: float = 0.09
    direct_right: float = 0.08
    one_try_right: float = 0.09
    early: float = 0.7
    patience: Sequence[int] = (4, 6, 8, 10, 12)
    cyclic: float = 1.0
    think: float = 0.6
    english: float = 0.7
    mixed: float = 0.3
    wrong: float = 0.02
    sheet_tries: Sequence[int] = (2, 6)
    sheet_yes: float = 0.5
    restate: bool = True
    template: str = "User : {question} Assistant :"
    name: str = "base_corpus"

    def __post_init__(self) -> None:
        check_shares(self, SHARES)
        if self.size < 1 or min(self.patience) < 1:
            raise ValueError(f"size and every patience must be at least 1, got {self.size} and {list(self.patience)}")
        if not 1 <= self.sheet_tries[0] <= self.sheet_tries[1] <= 9:
            raise ValueError(f"sheet_tries must be 1 <= fewest <= most <= 9, got {list(self.sheet_tries)}")

    @property
    def train(self) -> list[Problem]:
        return self.task.train

    @property
    def validation(self) -> list[Problem]:
        return self.task.validation

    @property
    def test(self) -> list[Problem]:
        return self.task.test

    @cached_property
    def documents(self) -> list[Document]:
        return [self.document(index) for index in range(self.size)]

    def document(self, index: int) -> Document:
        rng = Random(key(self.seed, "corpus", index))
        if rng.random() < self.sheets:
            return self._sheet(rng)
        problem = rng.choice(self.task.train)
        numbers, target = list(problem.meta["numbers"]), problem.meta["target"]
        rng.shuffle(numbers)
        choices = candidates(numbers)
        kind = rng.choices(("direct", "one_try", "reflective"), (self.direct, self.one_try, self.reflective))[0]
        if kind == "reflective":
            thought, answer = self._search(rng, choices, target)
        else:
            answer = self._guess(rng, choices, target, self.direct_right if kind == "direct" else self.one_try_right)
            thought = "" if kind == "direct" else self._try(rng, answer, target, speaker(rng, self.english, self.mixed)())[0]
        open_, close = THINK if rng.random() < self.think else ("", "")
        body = f"{open_} {thought} {close} {ANSWER[0]} {answer.expression} {ANSWER[1]}"
        return Document(self._prompt(ask(numbers, target)), " ".join(body.split()), kind)

    def _prompt(self, question: str) -> str:
        return self.template.replace("{question}", question)

    def _sheet(self, rng: Random) -> Document:
        """Different candidates of one list, each with its own `want`; no target, no `wait`, no answer: a skill, not a solution."""
        numbers = list(rng.choice(self.task.sets.train))
        rng.shuffle(numbers)
        choices = candidates(numbers)
        speak = speaker(rng, self.english, self.mixed)
        lines = []
        for choice in self._order(rng, choices)[: rng.randint(*self.sheet_tries)]:
            want = choice.value
            if rng.random() >= self.sheet_yes:
                others = [c.value for c in choices if c.value != want]
                want = rng.choice(others) if rng.random() < 0.5 else _near(rng, want)
            lines.append(self._try(rng, choice, want, speak())[0])
        return Document(self._prompt(ask(numbers)), " ".join(lines), "sheet")

    def _search(self, rng: Random, choices: list[Candidate], target: int) -> tuple[str, Candidate]:
        """Tries until one fits or patience ends, joined by "wait ,"; the answer is the last try."""
        right = next(i for i, choice in enumerate(choices) if choice.value == target)
        order = self._order(rng, choices, right if rng.random() < self.early else None)
        speak = speaker(rng, self.english, self.mixed)
        lines: list[str] = []
        for choice in order[: rng.choice(self.patience)]:
            words = speak()
            line, found = self._try(rng, choice, target, words)
            lines.append(f"{words['wait']} {words['comma']} {line}" if lines else line)
            if found:
                break
        return " ".join(lines), choice

    def _order(self, rng: Random, choices: list[Candidate], early: int | None = None) -> list[Candidate]:
        """The candidates in systematic or random order; the one numbered `early` within the first six places."""
        if rng.random() < self.cyclic:
            start = rng.randrange(len(choices)) if early is None else (early - rng.randrange(6)) % len(choices)
            return choices[start:] + choices[:start]
        order = rng.sample(choices, len(choices))
        if early is not None:
            old, new = order.index(choices[early]), rng.randrange(6)
            order[old], order[new] = order[new], order[old]
        return order

    def _guess(self, rng: Random, choices: list[Candidate], target: int, right: float) -> Candidate:
        hit = rng.random() < right
        return rng.choice([choice for choice in choices if (choice.value == target) == hit])

    def _try(self, rng: Random, choice: Candidate, want: int, words: dict[str, str]) -> tuple[str, bool]:
        """ "try 9 plus 6 is 15 want 54 no ." and whether the stated value is the wanted one."""
        value = _near(rng, choice.value) if rng.random() < self.wrong else choice.value
        found = value == want
        line = f"{words['try']} {choice.a} {words[choice.op]} {choice.b} {words['is']} {value}"
        if self.restate:
            line += f" {words['want']} {want} {words['yes' if found else 'no']}"
        return f"{line} {words['stop']}", found


def _near(rng: Random, value: int) -> int:
    """Another number, at most three away."""
    return rng.choice([n for n in range(max(0, value - 3), min(HIGHEST, value + 3) + 1) if n != value])
