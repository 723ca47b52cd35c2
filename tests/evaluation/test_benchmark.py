"""`evaluate` on a policy whose completions are written down, so that every figure can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from r1.evaluation.benchmark import Benchmark, assess, evaluate, figures, problems_of, summary, tallies
from r1.evaluation.intervals import compare
from r1.evaluation.rates import Look, rates
from r1.records import Group, Problem, Score
from r1.rollout.engine import Completion, Sampling

T1 = Sampling(temperature=1.0, max_new_tokens=8)


class Scripted:
    """Policy and engine in one: problem id -> completions; a text that ends in ~ was cut off by the token limit."""

    def __init__(self, completions: dict[str, list[str]]) -> None:
        self.texts = [(pid, text) for pid, texts in completions.items() for text in texts]
        self.starts = {pid: [i for i, (p, _) in enumerate(self.texts) if p == pid] for pid in completions}
        self.ids = list(completions)
        self.template = SimpleNamespace(name="scripted")
        self.weight_version = -1
        self.synced: list[int] = []
        self.seeds: list[list[int]] = []

    def encode(self, problem: Problem) -> list[int]:
        return [self.ids.index(problem.id)]

    def decode(self, token_ids: list[int]) -> str:
        return self.texts[token_ids[0]][1].rstrip("~")

    def sync(self, policy, version: int) -> None:
        self.weight_version = version
        self.synced.append(version)

    def generate(self, prompts, n, sampling, seeds):
        self.seeds += [list(row) for row in seeds]
        rows = []
        for prompt in prompts:
            texts = self.starts[self.ids[prompt[0]]][:n]
            # one token a word, the first of them is the key into `texts`
            rows.append([self._completion(i) for i in texts])
        return rows

    def _completion(self, i: int) -> Completion:
        text = self.texts[i][1]
        ids = [i] + [0] * (len(text.rstrip("~").split()) - 1)
        return Completion(ids, [-0.1] * len(ids), "length" if text.endswith("~") else "stop")


HALF = Problem("set/half", "What is one half?", "1/2")
TWELVE = Problem("set/twelve", "What is one half?", "12")  # the same question, another problem
ANSWERS = {
    # 1/2 and 0.5 are one answer with 3 votes of 4; the last has none
    "set/half": [r"\boxed{1/2}", r"\boxed{0.5}", r"\boxed{\frac{2}{4}}", "I do not know , sorry ~"],
    # 12 once, 13 twice, unparsed once
    "set/twelve": [r"\boxed{12}", r"\boxed{13}", r"wait , that's wrong . \boxed{13}", "hm ..."],
}


def benchmark(**changes) -> Benchmark:
    options = {"k": 4, "sampling": T1, "cons": (2, 4), "pass_k": (2, 4)} | changes
    return Benchmark("set", [HALF, TWELVE], **options)


def test_figures_by_hand():
    """bug 46: '1/2' and '0.5' vote together, None never votes, and problems are told apart by id, not by prompt."""
    scripted = Scripted(ANSWERS)
    report, traces = evaluate(scripted, scripted, benchmark(), version=7)
    assert len(traces) == 8
    assert report.pass_at_1.value == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert report.cons_at[4].value == pytest.approx((1 + 0) / 2)  # 3 right votes of 3; 13 beats 12 by 2 to 1
    # cons@2 of "half": every pair holds a right vote -> 1. Of "twelve", pairs of {12, 13, 13, none}: 12+13 ties (2 of 6 pairs, 1/2
    # each), 12+none is right (1 of 6), 13+13 and 13+none are wrong: (2 * 1/2 + 1) / 6 = 1/3
    assert report.cons_at[2].value == pytest.approx((1 + 1 / 3) / 2)
    assert report.pass_at[2].value == pytest.approx((1 + 1 / 2) / 2)  # of "twelve" 3 of 6 pairs hold the right one
    assert report.pass_at[4].value == 1.0
    assert [row["unparsed"] for row in report.problems] == [1, 1]
    assert report.problems[1]["answers"][0] == {"answer": "13", "count": 2, "correct": False}


def test_votes_are_counted_over_equal_answers_and_not_over_strings():
    """bug 46: four spellings of 1/2 against two votes for "3"; a voter that compares strings says 3."""
    texts = [rf"\boxed{{{answer}}}" for answer in ("1/2", "0.5", r"\frac{1}{2}", "2/4", "3", "3")]
    scripted = Scripted({"set/half": texts})
    report, _ = evaluate(scripted, scripted, Benchmark("set", [HALF], k=6, sampling=T1, cons=(6,)))
    assert report.cons_at[6].value == 1.0


def test_lengths_are_those_of_all_completions():
    """bug 9: the cut-off completion (5 words) counts in the mean length, though training may leave it out of its loss."""
    scripted = Scripted({"set/half": ANSWERS["set/half"]})
    report, _ = evaluate(scripted, scripted, Benchmark("set", [HALF], k=4, sampling=T1))
    words = [len(text.rstrip("~").split()) for text in ANSWERS["set/half"]]
    assert words == [1, 1, 1, 6]
    assert report.mean_length == pytest.approx(sum(words) / 4)
    assert report.truncated == 0.25


def test_the_same_weights_give_the_same_samples_whenever_they_are_asked():
    scripted = Scripted(ANSWERS)
    first, _ = evaluate(scripted, scripted, benchmark(), version=3)
    second, _ = evaluate(scripted, scripted, benchmark(), version=9)
    assert scripted.seeds[:2] == scripted.seeds[2:]
    assert scripted.synced == [3, 9]  # bug 24: the engine is told to take the weights before every evaluation
    assert figures(first) == figures(second)
    evaluate(scripted, scripted, benchmark(seed=1))
    assert scripted.seeds[4:] != scripted.seeds[:2]


def test_chunks_do_not_change_the_report():
    scripted, told = Scripted(ANSWERS), []
    whole, _ = evaluate(scripted, scripted, benchmark())
    chunked, _ = evaluate(scripted, scripted, benchmark(), rows=1, progress=lambda done, total: told.append((done, total)))
    assert chunked == whole
    assert told == [(4, 8), (8, 8)]


def test_order_of_samples_does_not_matter():
    """bug 46: no figure depends on which sample came first."""
    backwards = Scripted({pid: texts[::-1] for pid, texts in ANSWERS.items()})
    forwards = Scripted(ANSWERS)
    assert figures(evaluate(backwards, backwards, benchmark())[0]) == figures(evaluate(forwards, forwards, benchmark())[0])


def test_an_answer_equal_in_value_but_not_accepted_does_not_vote_with_the_right_ones():
    problem = Problem(
        "pc/1",
        "use two of 9 6 2 to make 54",
        "9 * 6",
        meta={"verifier": "expression", "numbers": [9, 6, 2], "use": 2, "target": 54},
    )
    texts = [
        "<answer> 9 * 6 </answer>",
        "<answer> 6 * 9 </answer>",
        "<answer> 54 </answer>",
        "<answer> 54 </answer>",
        "<answer> 9 + 6 </answer>",
    ]
    scripted = Scripted({"pc/1": texts})
    report, _ = evaluate(scripted, scripted, Benchmark("pc", [problem], k=5, sampling=T1, cons=(5,)))
    right = [row["count"] for row in report.problems[0]["answers"] if row["correct"]]
    assert sum(right) == 2
    assert report.pass_at_1.value == pytest.approx(2 / 5)


def test_rates_and_the_question_whether_reflecting_pays():
    easy = [Look(True, False, False, True, 0.0)] * 3 + [Look(True, True, True, True, 0.2)]
    hard = [Look(False, True, False, False, 0.0)] * 3 + [Look(False, False, False, False, 0.0)]
    found = rates([easy, hard])
    assert found["reflection_rate"] == pytest.approx(4 / 8)
    assert found["language_mixing"] == pytest.approx(1 / 8)
    # pooled, reflecting looks harmful (1 of 4 right against 3 of 4) only because the hard problem is reflected on
    assert (found["accuracy/reflecting"], found["accuracy/plain"]) == (1 / 4, 3 / 4)
    assert found["accuracy/within/reflecting"] == found["accuracy/within/plain"] == 0.5
    assert found["accuracy/within/problems"] == 2
    assert "accuracy/within/plain" not in rates([[Look(True, True, False, True, 0.0)]])


def test_reflection_is_found_in_the_samples():
    scripted = Scripted(ANSWERS)
    report, _ = evaluate(scripted, scripted, benchmark())
    assert report.rates["reflection_rate"] == pytest.approx(1 / 8)


def test_reward_scores_the_traces_and_leaves_the_figures_alone():
    def reward(groups):
        return [g.with_traces([_scored(t) for t in g.traces]) for g in groups]

    def _scored(trace):
        from dataclasses import replace

        return replace(trace, score=Score(1.0, {"always": 1.0}, {"always": 1.0}))

    scripted = Scripted(ANSWERS)
    report, traces = evaluate(scripted, scripted, benchmark(), reward=reward)
    assert all(t.score.parts == {"always": 1.0} for t in traces)
    assert report.pass_at_1.value == 0.5


def test_greedy_is_called_greedy():
    scripted = Scripted(ANSWERS)
    report, _ = evaluate(scripted, scripted, benchmark(k=1, cons=(), pass_k=(), sampling=Sampling(temperature=0.0)))
    named = figures(report)
    assert named["greedy"] == 1.0
    assert "pass@1" not in named


def test_setting_travels_with_the_figures():
    scripted = Scripted(ANSWERS)
    report, _ = evaluate(scripted, scripted, benchmark())
    flat = summary(report)
    assert flat["setting"]["samples a problem"] == 4
    assert flat["setting"]["template"] == "scripted"
    low, high = flat["pass@1_samples"]
    assert low < flat["pass@1"] < high
    assert flat["pass@1_low"] < flat["pass@1"] < flat["pass@1_high"]


def test_length_and_reflection_have_intervals_over_problems():
    scripted = Scripted(ANSWERS)
    report, _ = evaluate(scripted, scripted, benchmark())
    flat = figures(report)
    lengths = [row["mean_length"] for row in report.problems]
    assert len(lengths) == 2
    half = (
        12.706 * abs(lengths[0] - lengths[1]) / 2
    )  # Student's t of one degree; the standard error of two is half their distance
    assert flat["mean_length_high"] - flat["mean_length"] == pytest.approx(half, rel=1e-4)
    assert flat["mean_length"] - flat["mean_length_low"] == pytest.approx(half, rel=1e-4)
    assert 0 <= flat["reflection_rate_low"] <= flat["reflection_rate"] < flat["reflection_rate_high"] <= 1


def test_one_problem_gives_the_length_no_interval():
    scripted = Scripted(ANSWERS)
    only = benchmark()
    flat = figures(evaluate(scripted, scripted, replace(only, problems=only.problems[:1]))[0])
    assert "mean_length" in flat and "mean_length_low" not in flat


def test_benchmark_template_is_used_and_given_back_even_after_an_error():
    scripted = Scripted(ANSWERS)
    own = scripted.template
    other = SimpleNamespace(name="other")
    assert evaluate(scripted, scripted, benchmark(template=other))[0].setting["template"] == "other"
    assert scripted.template is own
    with pytest.raises(KeyError):
        evaluate(scripted, scripted, benchmark(template=other), progress=lambda *_: {}["stop"])
    assert scripted.template is own


def test_reports_compare_paired():
    scripted = Scripted(ANSWERS)
    report, traces = evaluate(scripted, scripted, benchmark())
    better = [Group(p, tuple(traces[:4])) for p in (HALF,)] + [Group(TWELVE, tuple(traces[4:]))]
    again = assess(better, benchmark())
    a, b = tallies(report), tallies(again)
    assert compare([a[p] for p in a], [b[p] for p in a]).difference == 0.0
    assert a["set/half"].sizes == (3,)
    assert a["set/half"].unparsed == 1


def test_judge_replaces_the_gold_answer():
    scripted = Scripted(ANSWERS)
    report, _ = evaluate(scripted, scripted, benchmark(judge=lambda traces: [float("13" in t.text) for t in traces]))
    assert report.pass_at_1.value == pytest.approx((0 + 2 / 4) / 2)


def test_problems_of_a_task():
    task = SimpleNamespace(test=[HALF, TWELVE], validation=[TWELVE])
    assert problems_of(task) == [HALF, TWELVE]
    assert problems_of(task, "validation") == [TWELVE]
    assert problems_of(task, limit=1) == [HALF]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cons": (8,)}, "cons and pass_k must lie between 1 and k"),
        ({"k": 0, "cons": (), "pass_k": ()}, "cons and pass_k must lie between 1 and k"),
        ({"sampling": Sampling(temperature=0.0)}, "greedy decoding gives the same completion every time"),
    ],
)
def test_wrong_benchmarks_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        benchmark(**changes)


def test_problem_lists_are_checked():
    with pytest.raises(ValueError, match="no problems"):
        Benchmark("empty", [], sampling=T1)
    with pytest.raises(ValueError, match="twice"):
        Benchmark("double", [HALF, HALF], sampling=T1)
