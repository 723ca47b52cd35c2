"""The ways of cold start, each with its rows counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.analysis.reflection import reflects
from r1.grading import correct, parse
from r1.grading.template import r1_format
from r1.pipeline.cold_start import SPECIAL_TOKEN, ColdStart, Prompted, Readable
from r1.pipeline.filters import Format, MixedLanguage, OtherLanguage, Truncated, Verdict
from r1.pipeline.prompting import EXAMPLES, direct, few_shot
from r1.pipeline.rewrite import ModelRewriter, TinyRewriter, in_language
from r1.pipeline.rows import kept, report
from r1.records import Problem

FILTERS = {"truncated": Truncated(), "format": Format("r1"), "verdict": Verdict()}
BEFORE = {"truncated": Truncated(), "verdict": Verdict(), "mixed": MixedLanguage(0.0)}


def test_prompted_solutions_end_where_a_base_model_asks_the_next_question(lab: SimpleNamespace) -> None:
    """Sample 0 runs on until the limit, but its solution is whole; sample 1 is cut within it."""
    texts = ["<think> one and one </think> 2\n\nUser: and 2 + 2? ...", "<think> one and ..."]
    way = Prompted(lab.Script(lambda problem, i: texts[i]), k=2, stop="\n\nUser:")
    rows, _ = ColdStart(lab.Sums(2), {"few_shot": way, "direct": None}, FILTERS)(lab.desk())
    assert [(row.id, row.reason) for row in rows] == [
        ("few_shot/q/0#0", "wrong"), ("few_shot/q/0#1", "truncated"), ("few_shot/q/1#0", ""), ("few_shot/q/1#1", "truncated"),
    ]  # fmt: skip
    assert kept(rows)[0].completion == "<think> one and one </think> 2"
    assert kept(rows)[0].provenance["way"] == "few_shot"


ZERO = [
    "<think> i guess </think> <answer> 2 </answer>",
    "<think> 加 so </think> <answer> 2 </answer>",  # mixed
    "<think> i guess </think> <answer> 3 </answer>",  # wrong
    "<think> longer guess </think> <answer> 2 </answer>",
    "<think> i guess ...",
]


def rewritten(problem: Problem, i: int) -> str:
    """The rewriter spoils the answer of sample 3."""
    return f"<think> I thought about it. </think> So it is \\boxed{{{9 if problem.id.endswith('#3') else 2}}}."


def test_readable_outputs_are_sifted_rewritten_and_judged_again(lab: SimpleNamespace) -> None:
    """Of five samples of q/1 three are dropped before; of the two that are rewritten one is wrong after."""
    zero, model = lab.Script(lambda problem, i: ZERO[i]), lab.Script(rewritten)
    task = SimpleNamespace(train=[Problem("q/1", "1 + 1 is what?", "2")])
    rows, more = ColdStart(task, {"readable": Readable(zero, ModelRewriter(model), BEFORE, k=5)}, FILTERS)(lab.desk())
    assert report(rows, **more)["dropped"] == {"mixed language": 1, "truncated": 1, "wrong": 2}
    assert model.asked == [["q/1#0", "q/1#3"]]
    (row,) = kept(rows)
    assert row.completion == "<think> I thought about it. </think> So it is \\boxed{2}."
    assert {name: row.provenance[name] for name in ("way", "model", "rewriter", "sample")} == {
        "way": "readable", "model": "script", "rewriter": "script", "sample": 0,
    }  # fmt: skip
    assert more == {"problems": 1}


def test_what_a_rewriter_is_told_and_what_is_no_rewriting(lab: SimpleNamespace) -> None:
    replies = ["<think> 我想 </think> 得 2", "just text", "<think> 我 ...", "<think> </think> 2"]
    asked: list[Problem] = []

    def say(problem: Problem, i: int) -> str:
        asked.append(problem)
        return replies[len(asked) - 1]

    chinese = Problem("z/1", "一加一？", "2", language="zh")
    rows = ModelRewriter(lab.Script(say))(lab.desk(), [lab.row(f"draft {i}", chinese, id=str(i)) for i in range(4)])
    assert [row.dropped for row in rows] == [
        None, "not rewritten: it has no thought and summary", "not rewritten: it was cut", "not rewritten: it has no thought and summary",
    ]  # fmt: skip
    assert "in Chinese, the language of the question" in asked[0].question
    assert "Question:\n一加一？\n\nDraft:\ndraft 0" in asked[0].question
    assert "in \\boxed{}." in asked[0].question
    with pytest.raises(ValueError, match="must show the model"):
        ModelRewriter(lab.Script(say), "Rewrite {question}")


def test_each_way_has_the_rewriter_it_was_given(lab: SimpleNamespace) -> None:
    task = SimpleNamespace(train=[Problem("q/1", "1 + 1 is what?", "2")])
    zero, first, second = lab.Script(lambda problem, i: ZERO[0]), lab.Script(rewritten), lab.Script(rewritten)
    ways = {name: Readable(zero, ModelRewriter(model), BEFORE, k=1) for name, model in (("a", first), ("b", second))}
    ColdStart(task, ways, FILTERS)(lab.desk())
    assert first.asked == second.asked == [["q/1#0"]]


def test_most_drafts_a_problem_are_rewritten(lab: SimpleNamespace) -> None:
    zero, model = lab.Script(lambda problem, i: ZERO[0]), lab.Script(rewritten)
    task = SimpleNamespace(train=[Problem("q/1", "1 + 1 is what?", "2")])
    rows, _ = ColdStart(task, {"readable": Readable(zero, ModelRewriter(model), BEFORE, k=4, most=1)}, FILTERS)(lab.desk())
    assert [row.reason for row in rows] == ["", "over the cap", "over the cap", "over the cap"]


def pair(language: str = "en") -> Problem:
    meta = {"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54}
    return Problem("pair/1", "use two of 9 6 2 to make 54", "9 * 6", language=language, meta=meta)


def test_the_tiny_rewriter(lab: SimpleNamespace) -> None:
    draft = "<think> 试 9 加 6 得 15 要 54 不 。 等等 ， 试 9 乘 6 得 54 要 54 对 。 </think> <answer> 9 * 6 </answer>"
    english, chinese, none = TinyRewriter()(
        lab.desk(), [lab.row(draft, pair()), lab.row(draft, pair("zh")), lab.row("<think> 9 </think>", pair())]
    )
    assert english.completion == (
        "<think> i try 9 plus 6 is 15 want 54 no . wait , try 9 times 6 is 54 want 54 yes . </think> the answer is 9 * 6 ."
    )
    assert chinese.completion.startswith("<think> 我 试 9 加 6") and chinese.completion.endswith("</think> 答案 是 9 * 6 。")
    assert none.dropped == "not rewritten: it has no thought or no answer"
    for row in (english, chinese):
        assert r1_format(row.completion)
        assert parse(row.completion).answer == "9 * 6"
        assert correct(pair(), parse(row.completion))
    assert english.provenance["rewriter"] == "rule"
    assert in_language("try 9 等等 9", "zh") == "试 9 等等 9"
    assert [OtherLanguage(0.0)([row])[0] for row in (english, chinese)] == [None, None]


def test_pattern_and_caps(lab: SimpleNamespace) -> None:
    """Two samples of each of two problems say the same: one is a duplicate. The cap of one a problem lets the first of the rest stand."""
    way = Prompted(lab.Script(lambda problem, i: f"<think> s{min(i, 1)} </think> {2 * int(problem.id[-1])}"), k=3)
    rows, _ = ColdStart(lab.Sums(2), {"w": way}, FILTERS, per_problem=1, pattern=SPECIAL_TOKEN)(lab.desk())
    assert [row.reason for row in rows] == ["", "over the cap", "duplicate"] * 2
    assert [row.completion for row in kept(rows)] == ["|special_token|s0|special_token|0", "|special_token|s0|special_token|2"]
    with pytest.raises(ValueError, match="needs the places"):
        ColdStart(lab.Sums(2), {"w": way}, FILTERS, pattern="{reasoning}")
    with pytest.raises(ValueError, match="at least one way"):
        ColdStart(lab.Sums(2), {"w": None}, FILTERS)


def test_few_shot_templates(tmp_path: Path) -> None:
    shown = [{"question": "1?", "solution": "<think> a </think> one"}, {"question": "2?", "solution": "<think> b </think> two"}]
    text = few_shot(shown, shots=2, intro="", frame="User : {question} Assistant : {solution}", join=" ")
    assert text.render(Problem("p", "3?")) == (
        "User : 1? Assistant : <think> a </think> one User : 2? Assistant : <think> b </think> two User : 3? Assistant :"
    )
    chat = few_shot(shown, shots=1, chat=True, intro="Think.")
    assert (chat.text, chat.system) == (None, "Think.\n\nUser: 1?\nAssistant: <think> a </think> one")
    file = tmp_path / "e.jsonl"
    file.write_text('{"question": "1?"}\n', encoding="utf-8")
    for wrong, match in (({"examples": shown, "shots": 3}, "asked for 3, there are 2"), ({"examples": str(file)}, "line 1: expected a question"),
                         ({"examples": shown, "frame": "{question}"}, "needs the places"), ({"examples": shown, "shots": 0}, "at least 1")):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            few_shot(**wrong)


def test_our_own_examples_are_right_and_reflect() -> None:
    examples = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    # 3c + 5(20 - c) = 76: c = 12; 7^10 = 282475249 ends in 9, and 9 leaves 4
    assert [parse(example["solution"]).answer for example in examples] == ["12", "4"]
    for example in examples:
        assert r1_format(example["solution"])
        assert reflects(example["solution"])
    assert "{question}" in few_shot().text


def test_direct_templates() -> None:
    assert direct().text is None and "<think>" in direct().system
    assert direct(chat=False).render(Problem("p", "3?")).endswith("\n\nUser: 3?\nAssistant:")
