"""The documents of full Countdown and multi-step arithmetic, read back line by line and judged by the grader's own calculator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest

from r1.grading import expression as calculator
from r1.grading.verify import correct
from r1.policy.prompts import named
from r1.policy.tiny import tiny_policy
from r1.tasks.arithmetic import Arithmetic
from r1.tasks.base import Mixture
from r1.tasks.corpus import Document
from r1.tasks.countdown import Countdown
from r1.tasks.spoken import SPOKEN, numbers_of, vocabulary
from r1.tasks.step_corpus import StepCorpus

LINE = re.compile(r"(?:try|试) (.+?) : (.+?)(?: (?:want|要) (-?\d+) (yes|no|对|不))? (?:\.|。)(?= |$)")
STEP = re.compile(r"(-?\d+) (\S+) (-?\d+) (?:is|得) (-?\d+)")
OPERATION = {words[op]: op for words in SPOKEN.values() for op in "+-*/"}
TASKS = {
    "countdown": Countdown(size=1500, validation=100, test=100),
    "arithmetic": Arithmetic(size=1500, terms=(3, 4), name="long"),
}


class Line(NamedTuple):
    """A try as it stands in a document: expression, (a, operation, b, result) of each step, what it wants and says of it."""

    expression: str
    steps: list[tuple[int, str, int, int]]
    want: int | None
    yes: bool

    @property
    def value(self) -> int:
        return self.steps[-1][3]


@pytest.fixture(scope="module")
def corpus() -> StepCorpus:
    return StepCorpus(**TASKS, size=4000)


@cache
def lines(document: Document) -> list[Line]:
    found = []
    for text, said, want, verdict in LINE.findall(document.body):
        worked = [(int(a), OPERATION[op], int(b), int(value)) for a, op, b, value in STEP.findall(said)]
        assert len(worked) == len(re.split(" [,，] ", said)) == len(calculator.numbers(calculator.read(text))) - 1
        found.append(Line(text, worked, int(want) if want else None, verdict in ("yes", "对")))
    return found


def truth(text: str) -> int:
    value = calculator.value(calculator.read(text))
    assert value.denominator == 1
    return int(value)


def answer(document: Document) -> str:
    return re.search(r"<answer> (.+) </answer>$", document.body)[1]


def puzzle(document: Document) -> dict | None:
    found = re.search(r"numbers ([\d, ]+) exactly .* equals (\d+)\.", document.prompt)
    return found and {"numbers": [int(n) for n in found[1].split(",")], "target": int(found[2]), "use": "all"}


def of(corpus: StepCorpus, kind: str, sums: bool) -> Iterator[Document]:
    return (d for d in corpus.documents if d.kind == kind and ("Calculate" in d.prompt) == sums)


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_no_held_out_numbers_in_any_document(corpus: StepCorpus) -> None:
    held = {numbers_of(p) for task in TASKS.values() for p in task.validation + task.test}
    shown = set()
    for document in corpus.documents:
        for text in [re.sub(r"equals \d+", "", document.prompt), *(line.expression for line in lines(document))]:
            shown.add(tuple(sorted(map(int, re.findall(r"\d+", text)))))
        if document.kind != "sheet" and puzzle(document):
            shown.add(tuple(sorted(map(int, re.findall(r"\d+", answer(document))))))
    assert len(held) > 800
    assert len(shown) > 1000
    assert not held & shown


def test_verdicts_are_honest_and_operations_wrong_as_often_as_asked(corpus: StepCorpus) -> None:
    wrong = {True: [], False: []}  # of arithmetic problems, of the others
    for document in corpus.documents:
        for line in lines(document):
            assert line.want is None or (line.value == line.want) == line.yes
            flags = [((b and not a % b and a // b) or 0) != v if op == "/" else {"+": a + b, "-": a - b, "*": a * b}[op] != v
                     for a, op, b, v in line.steps]  # fmt: skip
            if not any(flags):
                assert line.value == truth(line.expression)
            wrong["Calculate" in document.prompt] += flags
    assert share(wrong[True]) == pytest.approx(0.1, abs=0.02)
    assert share(wrong[False]) == pytest.approx(0.02, abs=0.005)


def test_shares_of_kinds_tasks_and_languages(corpus: StepCorpus) -> None:
    # 4,000 draws: three standard errors of a share of one half are 0.024
    documents = corpus.documents
    kinds = [share([d.kind == kind for d in documents]) for kind in ("sheet", "direct", "one_try", "reflective")]
    assert kinds == pytest.approx([0.5, 0.15, 0.305, 0.045], abs=0.024)
    problems = [d for d in documents if d.kind != "sheet"]
    assert share(["Calculate" in d.prompt for d in problems]) == pytest.approx(0.4, abs=0.03)
    assert share(["Exercises." in d.prompt for d in documents if d.kind == "sheet"]) == pytest.approx(0.4, abs=0.03)
    assert share(["<think>" in d.body for d in problems]) == pytest.approx(0.6, abs=0.03)
    assert share(["try" in d.body.split() for d in problems if d.kind == "one_try"]) == pytest.approx(0.7, abs=0.04)


def test_guesses_are_right_as_often_as_asked(corpus: StepCorpus) -> None:
    direct = [calculator.solves(answer(d), puzzle(d)) for d in of(corpus, "direct", sums=False)]
    assert share(direct) == pytest.approx(0.08, abs=0.05)
    one_try = list(of(corpus, "one_try", sums=False))
    assert share([calculator.solves(answer(d), puzzle(d)) for d in one_try]) == pytest.approx(0.09, abs=0.03)
    assert all([answer(d)] == [line.expression for line in lines(d)] for d in one_try)  # answered whatever the verdict
    sums = [
        int(answer(d)) == truth(d.prompt[len("User : Calculate ") : -len(". Assistant :")])
        for d in of(corpus, "direct", sums=True)
    ]
    assert share(sums) == pytest.approx(0.08, abs=0.05)
    assert all(int(answer(d)) == lines(d)[0].value and lines(d)[0].want is None for d in of(corpus, "one_try", sums=True))


def test_every_countdown_expression_uses_every_number_once(corpus: StepCorpus) -> None:
    for document in corpus.documents:
        if (asked := puzzle(document)) is not None:
            for text in [answer(document), *(line.expression for line in lines(document))]:
                assert calculator.solves(text, asked | {"target": truth(text)})


def test_searches_stop_at_the_first_yes_and_repeat_nothing(corpus: StepCorpus) -> None:
    searches = list(of(corpus, "reflective", sums=False))
    for document in searches:
        tried = lines(document)
        assert {line.want for line in tried} == {puzzle(document)["target"]}
        assert not any(line.yes for line in tried[:-1])
        assert tried[-1].yes or len(tried) in corpus.patience
        assert answer(document) == tried[-1].expression
        assert len(re.findall(r"wait ,|等等 ，", document.body)) == len(tried) - 1
    repeated = [len({line.expression for line in lines(d)}) < len(lines(d)) for d in searches]
    assert share(repeated) < 0.02  # a solution that an earlier slip had hidden may come once more
    assert share([lines(d)[-1].yes for d in searches]) > 0.5


def test_arithmetic_is_calculated_again_until_two_values_agree(corpus: StepCorpus) -> None:
    checks = list(of(corpus, "reflective", sums=True))
    for document in checks:
        tried = lines(document)
        assert [line.want for line in tried[1:]] == [line.value for line in tried[:-1]]
        assert len({line.expression for line in tried}) == 1
        assert not any(line.yes for line in tried[:-1])
        assert int(answer(document)) == tried[-1].value
    once = [int(answer(d)) == truth(lines(d)[0].expression) for d in of(corpus, "one_try", sums=True)]
    twice = [int(answer(d)) == truth(lines(d)[0].expression) for d in checks]
    assert share(twice) > share(once) + 0.1  # calculating again pays


def test_sheets_show_the_skill_but_no_solution(corpus: StepCorpus) -> None:
    sheets = [d for d in corpus.documents if d.kind == "sheet"]
    assert not any({"wait", "等等", "<answer>", "<think>", "equals"} & set(f"{d.prompt} {d.body}".split()) for d in sheets)
    assert {len(lines(d)) for d in sheets} <= {1, 2, 3, 4, 5}
    assert share([line.yes for d in sheets for line in lines(d)]) == pytest.approx(0.48, abs=0.02)  # half, less what slips


def test_every_document_and_problem_is_written_without_unknown_words(corpus: StepCorpus) -> None:
    policy = tiny_policy(vocabulary(), digits=True)
    tokenizer, unknown = policy.tokenizer, policy.tokenizer.unk_token_id
    for document in corpus.documents[:1000]:
        for text in (document.prompt, document.body):
            ids = tokenizer(text)["input_ids"]
            assert unknown not in ids
            spaced = " ".join(re.sub(r"([().,])", r" \1 ", text).split())
            assert tokenizer.decode(ids) == spaced
    for problem in Mixture(TASKS, {"countdown": 1, "arithmetic": 1}).test:
        assert unknown not in policy.encode(problem)
        # what a policy writes with its own spaces is the same answer to the verifier
        assert correct(problem, tokenizer.decode(tokenizer(problem.answer)["input_ids"]))
    assert corpus.template == named("tiny").text


def test_a_document_depends_on_seed_and_index_only(corpus: StepCorpus) -> None:
    assert StepCorpus(**TASKS, size=8).documents[7] == corpus.document(7) == corpus.documents[7]
    assert replace(corpus, seed=1).document(7) != corpus.document(7)


def test_shares_are_arguments_and_checked() -> None:
    plain = StepCorpus(**TASKS, size=200, english=1, mixed=0, sheets=0, direct=0, one_try=0, reflective=1, think=0, sums=0, wrong=0, early=1,
                       patience=[6], aim=1)  # fmt: skip
    assert {d.kind for d in plain.documents} == {"reflective"}
    assert not any(re.search("[\u4e00-\u9fff]|<think>", d.body) for d in plain.documents)
    assert all(calculator.solves(answer(d), puzzle(d)) for d in plain.documents)  # the solution is among the first six tries
    for bad in ({"sums": 1.5}, {"direct": 0.5}, {"aim": 0}, {"patience": [0]}, {"sheet_tries": [3, 2]}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            StepCorpus(**TASKS, **bad)
