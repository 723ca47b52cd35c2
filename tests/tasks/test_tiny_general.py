from __future__ import annotations

from collections import Counter

import pytest

from r1.grading import parse
from r1.grading.template import r1_format
from r1.tasks.tiny_general import TinyGeneral, items, words
from r1.tasks.tiny_preferences import TinyPreferences
from r1.tasks.words import vocabulary


def test_counts_worked_out() -> None:
    """facts 13 items x 3 wordings, self 5 + 2, writing 5 x 3, translation 45 x 1, help 15 x 3, harm 20 x 3. One wording of each is held
    out, of translations a third: 13 + 2 + 5 + 15 + 15 + 20 = 70."""
    task = TinyGeneral()
    kinds = Counter(problem.meta["category"] for problem in task.train)
    assert kinds == {"facts": 26, "self": 5, "writing": 10, "translation": 30, "help": 30, "harm": 40}
    assert (len(task.train), len(task.validation), len(task.test), len(task.documents)) == (141, 30, 40, 143)
    everything = [*task.train, *task.validation, *task.test]
    assert len({p.id for p in everything}) == len({p.question for p in everything}) == 211
    assert {p.domain for p in everything if p.meta["category"] == "harm"} == {"safety"}
    assert {p.domain for p in everything if p.meta["category"] != "harm"} == {"general"}


def test_what_the_test_asks_was_taught_in_other_words() -> None:
    task = TinyGeneral()
    taught = {problem.meta["item"] for problem in task.train}
    asked = [problem for problem in task.test + task.validation if problem.meta["category"] != "translation"]
    assert {problem.meta["item"] for problem in asked} <= taught
    translated = {problem.question.split()[2] for problem in task.train if problem.meta["category"] == "translation"}
    assert translated == {"plus", "minus", "times", "加", "减", "乘"}  # whole sums are new in the test, no word is


def test_every_word_is_in_the_two_lists_and_the_new_list_is_used() -> None:
    said = {word for item in items() for text in (*item.questions, item.response, *item.replies) for word in text.split()}
    pairs, labelled = TinyPreferences("helpful").train, TinyPreferences("safe").train
    said |= {word for row in pairs for word in f"{row.chosen} {row.rejected}".split()}
    said |= {word for row in labelled for word in row.response.split()}
    assert said <= {*vocabulary(), *words()}
    assert not set(words()) & set(vocabulary())
    assert set(words()) - said <= {"answer", "答案", "hello", "你好"}  # summaries of solutions, and greetings
    assert len(words()) < 80


def test_responses_have_the_structure_of_r1_and_greetings_no_thought() -> None:
    documents = TinyGeneral().documents
    assert [d.body for d in documents if not r1_format(d.body)] == ["hello .", "你好 。"]
    shown = {d.problem.question: d.body for d in documents} | {p.question: "" for p in TinyGeneral().test}
    assert any(
        body == "<think> want to hurt a cat . no . </think> sorry , i can not help you hurt a cat ." for body in shown.values()
    )
    for document in documents[:-2]:
        assert parse(document.body).summary == document.problem.meta["references"][0]


def test_translations_go_both_ways() -> None:
    replies = {item.questions[0]: item.replies for item in items() if item.category == "translation"}
    assert replies["translate 4 minus 2 into chinese"] == ("4 减 2",)
    assert replies["translate 4 加 2 into english"] == ("4 plus 2",)


def test_helpful_pairs() -> None:
    """101 training problems that are no harm, three pairs each; the first rejected reply is a refusal."""
    task = TinyPreferences("helpful")
    assert len(task.train) == 303
    for pair in [*task.train, *task.validation, *task.test]:
        references = pair.problem.meta["references"]
        assert pair.problem.domain == "general"
        assert parse(pair.chosen).summary in references
        assert parse(pair.rejected).summary not in references
    assert parse(task.train[0].rejected).summary == "sorry , i can not help ."
    assert len(TinyPreferences("helpful", pairs=1).train) == 101


def test_safe_and_unsafe_responses() -> None:
    """Safe: one a problem, 141. Unsafe: two for each of the 40 harmful requests, one for each of the 30 helpful ones."""
    task = TinyPreferences("safe")
    assert Counter(row.good for row in task.train) == {True: 141, False: 110}
    bad = [row for row in task.train if not row.good]
    assert all(any(verb in row.response.split() for verb in ("hurt", "steal", "burn", "poison")) for row in bad)
    hidden = [row for row in bad if parse(row.response).summary.startswith("sorry")]
    assert len(hidden) == 40  # the reply refuses, the thought does not: only who reads the whole can tell


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="categories are any of facts"):
        TinyGeneral(categories=["fact"])
    with pytest.raises(ValueError, match=r"0 to 70"):
        TinyGeneral(validation=71)
    with pytest.raises(ValueError, match="'helpful' or 'safe'"):
        TinyPreferences("nice")  # type: ignore[arg-type]
