"""The base corpus of full Countdown and multi-step arithmetic: what a model of some tens of millions of parameters reads first.

As in the tiny corpus, exercise sheets teach the skill (calculate step by step, say honestly whether that is the wanted value)
and problem documents are of mixed quality: an answer without thought, one line and its answer, and a small share that checks
and goes on. In Countdown a check asks for the target and a new try is another expression; in arithmetic it calculates once
more and asks for the value of the time before. Thoughts are English, Chinese or both, questions English. No document shows a
set of numbers that validation or test of either task uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from r1.records import Problem
from r1.repro import key
from r1.tasks import arithmetic, countdown
from r1.tasks.corpus import Document, check_shares
from r1.tasks.countdown import Countdown, combine
from r1.tasks.spoken import OFF, SHEET, SHEET_WITH, SPOKEN, attempt, numbers_of, say, slips, steps
from r1.tasks.words import ANSWER, THINK, speaker

SHARES = ("sums", "sheets", "direct", "one_try", "reflective", "direct_right", "one_try_right", "early", "think", "english",
          "mixed", "wrong", "slip", "sheet_yes")  # fmt: skip
Words = Callable[[], dict[str, str]]
FRESH = 20  # draws before a repeated or an unwanted try is let through: some sets of numbers allow few


@dataclass(frozen=True)
class StepCorpus:
    """`size` documents, each a pure function of (seed, its index), about the training numbers of two tasks.

    sums            share of documents about arithmetic; the others are about Countdown
    sheets          share of exercise sheets; `direct`, `one_try` and `reflective` share out the problem documents and sum to 1
    direct_right    how often an answer without thought is right
    one_try_right   how often the one Countdown try is a solution; otherwise it is another expression near the target
    early           how often a solution is put among the first six tries of a reflective Countdown document
    aim             a try is the nearest to the target of so many random ones; 1 is blind
    patience        a reflective document gives up after one of these numbers of lines
    think           share of problem documents with <think> tags
    english, mixed  share of English; share of documents whose language is drawn anew for every sentence
    wrong           share of operations with a wrong result, in sheets and Countdown; the rest of the line goes on from it
    slip            the same for arithmetic problems, where calculating again is what finds it
    sheet_tries, sheet_yes   fewest and most lines of a sheet; share of lines that want the true value
    template        how a question becomes a prompt; the same text as the policy's template
    """

    countdown: Countdown
    arithmetic: arithmetic.Arithmetic
    size: int = 400_000
    seed: int = 0
    sums: float = 0.4
    sheets: float = 0.5
    direct: float = 0.30
    one_try: float = 0.61
    reflective: float = 0.09
    direct_right: float = 0.08
    one_try_right: float = 0.09
    early: float = 0.7
    aim: int = 4
    patience: Sequence[int] = (2, 4, 6, 8, 10)
    think: float = 0.6
    english: float = 0.7
    mixed: float = 0.3
    wrong: float = 0.02
    slip: float = 0.1
    sheet_tries: Sequence[int] = (2, 5)
    sheet_yes: float = 0.5
    template: str = "User : {question} Assistant :"
    name: str = "step_corpus"

    def __post_init__(self) -> None:
        check_shares(self, SHARES)
        if self.size < 1 or self.aim < 1 or min(self.patience) < 1:
            raise ValueError(f"size, aim and every patience must be at least 1, got {self.size}, {self.aim}, {self.patience}")
        if not 1 <= self.sheet_tries[0] <= self.sheet_tries[1]:
            raise ValueError(f"sheet_tries must be 1 <= fewest <= most, got {list(self.sheet_tries)}")
        if not self.sets or not self.expressions:
            raise ValueError("the training parts of both tasks must hold numbers that no validation or test problem uses")

    @property
    def train(self) -> list[Problem]:
        return self.countdown.train + self.arithmetic.train

    @property
    def validation(self) -> list[Problem]:
        return self.countdown.validation + self.arithmetic.validation

    @property
    def test(self) -> list[Problem]:
        return self.countdown.test + self.arithmetic.test

    @cached_property
    def held_out(self) -> set[tuple[int, ...]]:
        """The sorted numbers of every validation and test problem of either task."""
        return {numbers_of(problem) for problem in self.validation + self.test}

    @cached_property
    def sets(self) -> list[tuple[int, ...]]:
        return sorted({numbers_of(problem) for problem in self.countdown.train} - self.held_out)

    @cached_property
    def expressions(self) -> list[str]:
        asked = [problem for problem in self.arithmetic.train if numbers_of(problem) not in self.held_out]
        return [problem.question.removeprefix("Calculate ").removesuffix(".") for problem in asked]

    @cached_property
    def documents(self) -> list[Document]:
        return [self.document(index) for index in range(self.size)]

    def document(self, index: int) -> Document:
        rng = Random(key(self.seed, "steps", index))
        words = speaker(rng, self.english, self.mixed, SPOKEN)
        about_sums = rng.random() < self.sums
        if rng.random() < self.sheets:
            question, body = self._sheet(rng, words, about_sums)
            return Document(self.template.replace("{question}", question), body, "sheet")
        kind = rng.choices(("direct", "one_try", "reflective"), (self.direct, self.one_try, self.reflective))[0]
        question, lines, answer = (self._sum if about_sums else self._puzzle)(rng, words, kind)
        open_, close = THINK if rng.random() < self.think else ("", "")
        body = " ".join(f"{open_} {' '.join(lines)} {close} {ANSWER[0]} {answer} {ANSWER[1]}".split())
        return Document(self.template.replace("{question}", question), body, kind)

    def _sheet(self, rng: Random, words: Words, about_sums: bool) -> tuple[str, str]:
        """Lines that want something of their own; no target, no `wait`, no answer: a skill, not a solution."""
        count = rng.randint(*self.sheet_tries)
        if about_sums:
            question, expressions = SHEET, rng.sample(self.expressions, min(count, len(self.expressions)))
        else:
            numbers = self._numbers(rng)
            question = SHEET_WITH.format(numbers=", ".join(map(str, numbers)))
            expressions = list(dict.fromkeys(self._draw(rng, numbers)[1] for _ in range(count)))
        values = [steps(expression, SPOKEN["en"])[1] for expression in expressions]
        lines = []
        for expression, value in zip(expressions, values, strict=True):
            want = value
            if rng.random() >= self.sheet_yes:
                others = [other for other in values if other != value]
                want = rng.choice(others) if others and rng.random() < 0.5 else value + rng.choice(OFF)
            lines.append(attempt(expression, words(), want, slips(rng, self.wrong))[0])
        return question, " ".join(lines)

    def _puzzle(self, rng: Random, words: Words, kind: str) -> tuple[str, list[str], str]:
        numbers = self._numbers(rng)
        target, solution = self._draw(rng, numbers)
        while target > self.countdown.target_highest:
            target, solution = self._draw(rng, numbers)
        question = countdown.ASK["en"].format(
            numbers=", ".join(map(str, numbers)), operations=" ".join(self.countdown.operations), target=target
        )
        if kind != "reflective":
            right = rng.random() < (self.direct_right if kind == "direct" else self.one_try_right)
            answer = solution if right else self._near(rng, numbers, target, set(), miss=True)
            lines = [attempt(answer, words(), target, slips(rng, self.wrong))[0]] if kind == "one_try" else []
            return question, lines, answer
        place = rng.randrange(6) if rng.random() < self.early else None
        seen: set[str] = set()
        lines, value = [], None
        for turn in range(rng.choice(self.patience)):
            if value == target:
                break
            answer = solution if turn == place else self._near(rng, numbers, target, seen)
            seen.add(answer)
            value = say(lines, answer, words(), target, slips(rng, self.wrong))
        return question, lines, answer

    def _sum(self, rng: Random, words: Words, kind: str) -> tuple[str, list[str], str]:
        expression = rng.choice(self.expressions)
        question = arithmetic.ASK["en"].format(expression=expression)
        value = steps(expression, SPOKEN["en"])[1]
        lines: list[str] = []
        if kind == "direct":
            return question, lines, str(value if rng.random() < self.direct_right else value + rng.choice(OFF))
        value = say(lines, expression, words(), None, slips(rng, self.slip))
        for _ in range(rng.choice(self.patience) if kind == "reflective" else 0):
            before, value = value, say(lines, expression, words(), value, slips(rng, self.slip))
            if value == before:
                break
        return question, lines, str(value)

    def _numbers(self, rng: Random) -> list[int]:
        numbers = list(rng.choice(self.sets))
        return rng.sample(numbers, len(numbers))

    def _draw(self, rng: Random, numbers: list[int]) -> tuple[int, str]:
        """(value, expression) of a random tree over all the numbers; these numbers have one, as they are a training problem's."""
        while True:
            found = combine(rng, numbers, self.countdown.operations, 10 * self.countdown.target_highest)
            if found is not None:
                return found

    def _near(self, rng: Random, numbers: list[int], target: int, seen: set[str], miss: bool = False) -> str:
        """The nearest to the target of `aim` random expressions: one not tried before, and with `miss` none that reaches it."""
        for _ in range(FRESH):
            value, expression = min((self._draw(rng, numbers) for _ in range(self.aim)), key=lambda one: abs(one[0] - target))
            if expression not in seen and not (miss and value == target):
                break
        return expression
