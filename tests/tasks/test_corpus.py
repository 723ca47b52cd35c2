from __future__ import annotations

import re
from dataclasses import replace

import pytest

from r1.tasks.corpus import Corpus, Document
from r1.tasks.pair_countdown import PairCountdown
from r1.tasks.words import LEXICON, vocabulary

TRY = re.compile(r"(?:try|试) (\d+) (plus|minus|times|加|减|乘) (\d+) (?:is|得) (\d+) (?:want|要) (\d+) (yes|no|对|不) (?:\.|。)")
WORD = {lexicon[op]: op for lexicon in LEXICON.values() for op in "+-*"}


# Not the defaults: shares that a count can tell apart.
SHARES = {"one_try": 0.55, "reflective": 0.15, "direct_right": 0.10, "one_try_right": 0.12, "cyclic": 0.5}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(PairCountdown(), size=20_000, **SHARES)


def tries(document: Document) -> list[tuple[str, int, int, bool]]:
    """(expression, stated value, wanted value, verdict) of every try."""
    return [(f"{a} {WORD[op]} {b}", int(v), int(w), yes in ("yes", "对")) for a, op, b, v, w, yes in TRY.findall(document.body)]


def of(corpus: Corpus, kind: str) -> list[Document]:
    return [d for d in corpus.documents if d.kind == kind]


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_no_held_out_number_set_in_any_document(corpus: Corpus) -> None:
    held_out = {frozenset(p.meta["numbers"]) for p in corpus.task.validation + PairCountdown(test_limit=None).test}
    shown = {frozenset(map(int, re.search(r"two of ([\d ]+?) (?:to|Assistant)", d.prompt)[1].split())) for d in corpus.documents}
    assert len(held_out) == 66
    assert len(shown) == 154
    assert not held_out & shown


def test_shares_of_kinds_and_languages(corpus: Corpus) -> None:
    # 20,000 draws: three standard errors of a share of one half are 0.011
    n = len(corpus.documents)
    kinds = {kind: len(of(corpus, kind)) / n for kind in ("sheet", "direct", "one_try", "reflective")}
    assert kinds == pytest.approx({"sheet": 0.5, "direct": 0.15, "one_try": 0.275, "reflective": 0.075}, abs=0.011)
    sheets = of(corpus, "sheet")
    assert share(["want" in d.body and "要" in d.body for d in sheets]) == pytest.approx(0.3 * 0.75, abs=0.06)
    ones = of(corpus, "one_try")
    assert share(["try" in d.body for d in ones]) == pytest.approx(0.7, abs=0.02)
    assert share(["<think>" in d.body for d in ones + of(corpus, "direct")]) == pytest.approx(0.6, abs=0.02)


def test_verdicts_are_honest_and_two_percent_of_results_wrong(corpus: Corpus) -> None:
    lines = [line for d in corpus.documents for line in tries(d)]
    assert all((value == want) == yes for _, value, want, yes in lines)
    assert share([eval(expression) != value for expression, value, _, _ in lines]) == pytest.approx(0.02, abs=0.003)


def test_sheets_show_the_skill_but_no_solution(corpus: Corpus) -> None:
    sheets = of(corpus, "sheet")
    forbidden = {"wait", "等等", "<answer>", "<think>", "to", "make"}
    assert not any(forbidden & set(f"{d.prompt} {d.body}".split()) for d in sheets)
    assert {len(tries(d)) for d in sheets} == {2, 3, 4, 5, 6}
    assert share([yes for d in sheets for *_, yes in tries(d)]) == pytest.approx(0.5, abs=0.02)


def test_reflective_documents_stop_at_the_first_yes_and_answer_it(corpus: Corpus) -> None:
    documents = of(corpus, "reflective")
    for d in documents:
        verdicts = [yes for *_, yes in tries(d)]
        assert not any(verdicts[:-1])
        assert verdicts[-1] or len(verdicts) in (4, 6, 8, 9)  # nine candidates: patience 10 and 12 run out of them
        assert sum(word in ("wait", "等等") for word in d.body.split()) == len(verdicts) - 1
        assert d.body.endswith(f"<answer> {tries(d)[-1][0]} </answer>")
    # worked out: patience 4, 6, 8, 10, 12 finds .60 .90 .97 1 1 of the targets with one solution, a little less by wrong results
    assert share([tries(d)[-1][3] for d in documents]) == pytest.approx(0.89, abs=0.03)


def test_one_try_is_answered_whatever_the_verdict(corpus: Corpus) -> None:
    documents = of(corpus, "one_try")
    assert all(len(tries(d)) == 1 and f"<answer> {tries(d)[0][0]} </answer>" in d.body for d in documents)
    assert share([tries(d)[0][3] for d in documents]) == pytest.approx(0.12, abs=0.02)


def test_no_document_repeats_a_try_and_half_are_systematic(corpus: Corpus) -> None:
    documents = of(corpus, "sheet") + of(corpus, "reflective")
    assert all(len({line[0] for line in tries(d)}) == len(tries(d)) for d in documents)

    def operations(d: Document) -> list[str]:
        return [line[0].split()[1] for line in tries(d)]

    long = [d for d in documents if len(tries(d)) >= 5]
    cycle = "+-*+-*+-*+-*"
    # five tries in the cyclic order of the operations by chance: at most 1 in 81
    assert share(["".join(operations(d)) in cycle for d in long]) == pytest.approx(0.5, abs=0.04)


def test_a_document_depends_on_seed_and_index_only(corpus: Corpus) -> None:
    assert corpus.document(7) == Corpus(PairCountdown(), size=8, **SHARES).documents[7]
    assert corpus.document(7) != replace(corpus, seed=1).document(7)


def test_every_word_is_in_the_vocabulary(corpus: Corpus) -> None:
    used = {word for d in corpus.documents for word in f"{d.prompt} {d.body}".split()}
    assert used <= set(vocabulary())


def test_shares_are_arguments() -> None:
    task = PairCountdown()
    english = Corpus(task, size=500, english=1.0, mixed=0.0, wrong=0.0, think=0.0, sheets=0.0, direct=0, one_try=0, reflective=1)
    assert {d.kind for d in english.documents} == {"reflective"}
    assert not any(re.search("[\u4e00-\u9fff]|<think>", d.body) for d in english.documents)
    far = Corpus(task, size=500, restate=False)
    assert not any({"want", "要", "yes", "no", "对", "不"} & set(d.body.split()) for d in far.documents)
    assert any("wait" in d.body.split() for d in far.documents)  # the control reflects, blindly


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reflective": 0.2}, "must be 1"),
        ({"think": 1.5}, "think is a share"),
        ({"patience": (0, 4)}, "patience"),
        ({"sheet_tries": (6, 2)}, "sheet_tries"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Corpus(PairCountdown(), **arguments)
