"""Rejection sampling and general data, counted by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.pipeline.desk import Desk
from r1.pipeline.filters import CodeBlock, Format, Truncated, Verdict
from r1.pipeline.general import General
from r1.pipeline.rejection import Rejection
from r1.pipeline.rows import kept, report
from r1.records import Problem
from r1.rewards import Judge, Reward
from r1.rewards.endpoint import Endpoint
from r1.tasks.documents import Lesson

FILTERS = {"truncated": Truncated(), "format": Format("r1"), "verdict": Verdict(), "code": CodeBlock()}
# Six samples of q/2, whose answer is 4: right, right again word for word, right otherwise, wrong, cut, no thought.
SAID = [
    "<think> two and two </think> 4",
    "<think> two and  two </think> 4",
    "<think> doubled </think> 4",
    "<think> two and two </think> 5",
    "<think> two and two ...",
    "4",
]


def said(problem: Problem, i: int) -> str:
    return SAID[i] if problem.id == "q/2" else "<think> hm </think> 0"


def test_counts_of_every_step(lab: SimpleNamespace) -> None:
    """q/0: all six say 0, which is right: one is kept, five are its duplicates. q/1: six wrong. q/2: see above, two right ones differ."""
    recipe = Rejection(lab.Sums(3), lab.Script(said), k=6, filters=FILTERS, per_problem=1)
    rows, more = recipe(lab.desk())
    assert [row.id for row in kept(rows)] == ["q/0#0", "q/2#0"]
    counts = report(rows, **more)
    assert (counts["read"], counts["kept"]) == (18, 2)
    assert counts["dropped"] == {"duplicate": 6, "format": 1, "over the cap": 1, "truncated": 1, "wrong": 7}
    assert counts["problems"] == {"read": 3, "kept": 3, "dropped": {"contaminated": 0}, "leaks": []}
    wider, _ = Rejection(lab.Sums(3), lab.Script(said), k=6, filters=FILTERS, per_problem=2, name="wider")(lab.desk())
    assert [row.id for row in kept(wider)] == ["q/0#0", "q/2#0", "q/2#2"]


def test_plain_sampling_keeps_everything(lab: SimpleNamespace) -> None:
    rows, _ = Rejection(lab.Sums(3), lab.Script(said), k=6, limit=2, duplicates=True)(lab.desk())
    assert len(kept(rows)) == len(rows) == 12


def test_problems_of_a_benchmark_are_never_sampled(lab: SimpleNamespace) -> None:
    exam = SimpleNamespace(test=[Problem("exam/1", "1 + 1 is what?", "2")])
    script = lab.Script(said)
    _, more = Rejection(lab.Sums(3), script, k=1, against={"exam": exam, "off": None})(lab.desk())
    assert script.asked == [["q/0", "q/2"]]
    assert more["problems"] == {
        "read": 3, "kept": 2, "dropped": {"contaminated": 1}, "leaks": [{"id": "q/1", "repeats": "exam/1"}],
    }  # fmt: skip


LESSONS = [
    Lesson(Problem("1", "hello there", domain="general"), "Hello!"),
    Lesson(Problem("2", "write a line about rain", domain="general"), "Rain falls."),
    Lesson(Problem("3", "who are you really", domain="general"), "<think> a question about me </think> I am r1."),
    Lesson(Problem("4", "what is the sea", domain="general", meta={"category": "facts"}), "Water."),
]


def test_thoughts_are_added_by_prompting_except_for_trivial_queries(lab: SimpleNamespace) -> None:
    """hello there: two words, trivial. 3 has a thought. 2 and 4 are asked about; the thought for 4 is cut."""
    script = lab.Script(lambda problem, i: "it is about rain" if "rain" in problem.question else "the sea is ...")
    rows = General(SimpleNamespace(documents=LESSONS), script)(lab.desk())
    assert script.asked == [["general/1", "general/3"]]
    assert [row.completion for row in rows[:3]] == [
        "Hello!",
        "<think>\nit is about rain\n</think>\n\nRain falls.",
        LESSONS[2].body,
    ]
    assert [row.provenance["thought"] for row in rows] == ["none", "prompted", "given", "none"]
    assert [row.dropped for row in rows] == [None, None, None, "no thought: the model's was cut"]
    assert (rows[1].provenance["model"], rows[3].provenance["category"]) == ("script", "facts")


def test_a_model_that_thinks_in_tags_is_read_too(lab: SimpleNamespace) -> None:
    script = lab.Script(lambda problem, i: "<think> wet weather </think> Rain falls.")
    rows = General(SimpleNamespace(documents=LESSONS[1:2]), script)(lab.desk())
    assert rows[0].completion == "<think>\nwet weather\n</think>\n\nRain falls."


def test_without_a_sampler_nothing_is_added_and_filters_apply(lab: SimpleNamespace) -> None:
    rows = General(SimpleNamespace(documents=LESSONS), filters={"format": Format("r1"), "off": None}, limit=3)(lab.desk())
    assert [row.reason for row in rows] == ["format", "format", ""]


def test_the_mix_and_contaminated_general_rows(lab: SimpleNamespace) -> None:
    """q/0 gives one row, q/2 two. Of four lessons one repeats the exam; at 2:1 three reasoning rows want 1.5, so 2, general ones."""
    exam = SimpleNamespace(test=[Problem("exam/1", "what is the sea", "water")])
    general = General(SimpleNamespace(documents=LESSONS))
    recipe = Rejection(lab.Sums(3), lab.Script(said), k=6, filters=FILTERS, against={"exam": exam}, general=general, ratio=[2, 1])
    counts = report(recipe(lab.desk())[0])
    assert counts["by"]["way"]["rejection"]["kept"] == 3
    assert counts["by"]["way"]["general"] == {"read": 4, "kept": 2, "dropped": {"contaminated": 1, "surplus": 1}}
    assert counts["read"] == 22


def test_a_judge_decides_where_no_rule_can_and_an_outage_is_no_verdict(lab: SimpleNamespace, serve, tmp_path: Path) -> None:
    """The judge likes sample 0, does not like sample 1, and is down for sample 2."""

    def verdict(body: dict) -> object:
        asked = body["messages"][0]["content"]
        return 503 if "broken" in asked else f'{{"correctness": "{"correct" if "scatters" in asked else "incorrect"}"}}'

    why = Problem("g/1", "why is the sky blue?", "scattering", "general", meta={"verifier": "exact"})
    task = SimpleNamespace(train=[why])
    said = ["<think> hm </think> it scatters", "<think> hm </think> it is paint", "<think> hm </think> broken"]
    reward = Reward({"judge": Judge(Endpoint(serve(verdict).url, "j", retries=0))}, {"judge": 1.0})
    recipe = Rejection(task, lab.Script(lambda problem, i: said[i]), k=3, filters={"verdict": Verdict(["judge"])})
    rows, _ = recipe(Desk(tmp_path / "judged", reward))
    assert [row.dropped for row in rows] == [None, "wrong: judge is 0", "not judged: judge gave no verdict"]


def test_wrong_arguments(lab: SimpleNamespace) -> None:
    for setting in ({"ratio": [600, 200]}, {"copies": 2}):
        with pytest.raises(ValueError, match="need general data"):
            Rejection(lab.Sums(3), lab.Script(said), **setting)
    with pytest.raises(ValueError, match="per_problem must be at least 1"):
        Rejection(lab.Sums(3), lab.Script(said), per_problem=0)
    with pytest.raises(ValueError, match="task with lessons"):
        General(lab.Sums(3))
    with pytest.raises(ValueError, match="must show the model"):
        General(SimpleNamespace(documents=LESSONS), instruction="think")
    with pytest.raises(ValueError, match="samples a problem must be at least 1"):
        Rejection(lab.Sums(3), lab.Script(said), k=0)(lab.desk())
