"""A run folder in, one page out: read back what must be on it, and what must not."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from r1.analysis.figures import accuracy
from r1.analysis.reading import read_run
from r1.analysis.report import report
from r1.analysis.tables import before_after_table, changes, show
from r1.analysis.trace_view import choose, digest, first_middle_last, html_text, pieces
from r1.commands.report import main
from r1.records import Problem, Score, Trace
from r1.rollout.trace_file import TraceWriter

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
METRICS = """step,train/reward,train/rewards/accuracy/mean,eval/sums/pass@1,eval/sums/pass@1_low,eval/sums/pass@1_high,eval/sums/cons@8,eval/sums/mean_length
0,,,0.15,0.1,0.2,0.18,20
1,0.2,0.1,,,,,
2,0.4,0.3,0.55,0.5,0.6,0.8,60
2,0.5,0.35,,,,,
3,nan,0.6,,,,,
4,0.9,0.8,0.79,0.75,0.83,0.98,85
5,0.9
"""


def trace(problem: str, text: str, right: bool, tokens: int = 5) -> Trace:
    score = Score(
        float(right) + 0.1,
        {"accuracy": float(right), "format": 1.0, "judge": None},
        {"accuracy": 1.0, "format": 0.1, "judge": 1.0},
    )
    asked = Problem(f"sums/{problem}", f"what is {problem}? {EVIL}", "6")
    return Trace(asked, [1], [2] * tokens, [-0.1] * tokens, text, "stop", score=score, advantage=0.5)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "config.yaml").write_text(f"name: '{EVIL}'\nseed: 3\nstage: {{steps: 4}}\n")
    writer = TraceWriter(folder / "traces" / "evaluations.jsonl.zst")
    for step, learned in ((0, False), (2, False), (4, True)):
        texts = [
            trace("3+3", f"<think> hm . wait , {EVIL} </think> <answer> 6 </answer>", learned),
            trace("2+2", "<answer> 5 </answer>", False),
        ]
        writer.write([*texts, trace("3+3", "a second sample", False)], step=step, stage="grpo", phase="eval/sums")
    rollouts = TraceWriter(folder / "traces" / "rollouts.jsonl")
    for step in (1, 2, 3, 4):
        rollouts.write(
            [trace("1+1", "wait , but 试 加", True, tokens=10 * step + i) for i in range(5)],
            step=step,
            stage="grpo",
            phase="rollout",
        )
    return folder


def test_reading_a_run(run):
    found = read_run(run)
    assert found.benchmarks == ["sums"]
    assert found.votes == {"sums": [8]}
    assert found.rewards == ["accuracy"]
    assert found.curve("train/reward").x == [1, 2, 4, 5]  # NaN is no value; the cut last line still has its reward
    assert found.curve("train/reward").y == [0.2, 0.5, 0.9, 0.9]  # a step that ran twice counts with its last value
    assert found.curve("eval/sums/pass@1").y == [0.15, 0.55, 0.79]
    assert not found.curve("train/kl")
    assert [path.name for path in found.trace_files] == ["evaluations.jsonl.zst", "rollouts.jsonl"]
    assert len(list(found.traces())) == 9 + 20


def test_a_run_with_parts_is_about_the_reinforced_one(run, tmp_path):
    whole = tmp_path / "demo"
    (whole / "base").mkdir(parents=True)
    (whole / "base" / "metrics.csv").write_text("step,train/loss\n1,3.0\n2,1.0\n")
    run.rename(whole / "r1_zero")
    (whole / "summary.json").write_text(
        json.dumps({"before": {"pass@1": 0.15}, "after": {"pass@1": 0.79}, "seconds": {"base": 60, "r1_zero": 90}})
    )
    found = read_run(whole)
    assert found.curve("train/reward").x
    assert [part.folder.name for part in found.parts] == ["base", "r1_zero"]
    text = report(whole).read_text()
    assert "Loss of base" in text
    assert "2.5 min" in text


def test_the_page_is_self_contained_and_escapes_model_text(run):
    text = report(run).read_text()
    assert "<script>alert" not in text
    assert "<img" not in text
    assert not re.search(r'(?:src|href)="(?!#)', text)  # nothing is loaded, every link stays on the page
    assert "@import" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(&quot;x&quot;)" in text
    assert text.count("<section") == text.count("</section>")
    for title in ("Accuracy on sums", "Length of a completion", "Reward, part by part", "The same problem, early and late"):
        assert title in text
    assert "Samples that reflect" not in text  # this run did not log it


def test_before_and_after_come_from_the_curves_where_there_is_no_summary(run):
    text = report(run).read_text()
    assert "15\u00a0%" in text
    assert "79\u00a0%" in text
    assert "+64 points" in text


def test_changes_are_called_better_only_where_intervals_are_apart():
    before = {
        "pass@1": 0.15,
        "pass@1_low": 0.1,
        "pass@1_high": 0.2,
        "cons@8": 0.5,
        "cons@8_low": 0.3,
        "cons@8_high": 0.7,
        "mean_length": 20.0,
    }
    after = {
        "pass@1": 0.79,
        "pass@1_low": 0.75,
        "pass@1_high": 0.83,
        "cons@8": 0.6,
        "cons@8_low": 0.4,
        "cons@8_high": 0.8,
        "mean_length": 85.0,
    }
    rows = {row.key: row for row in changes(before, after)}
    assert list(rows) == ["pass@1", "cons@8", "mean_length"]
    assert (rows["pass@1"].verdict, rows["cons@8"].verdict, rows["mean_length"].verdict) == (1, 0, 0)
    assert {row.key: row.verdict for row in changes(after, before)}["pass@1"] == -1
    assert rows["mean_length"].text == "× 4.2"
    assert rows["pass@1"].text == "+64 points"


def test_terminal_table_holds_intervals():

    console = Console(width=100, file=io.StringIO())
    console.print(
        before_after_table({"before": {"pass@1": 0.15, "pass@1_low": 0.1, "pass@1_high": 0.2}, "after": {"pass@1": 0.79}})
    )
    shown = console.file.getvalue()
    assert "15\u00a0% (10–20\u00a0%)" in shown
    assert "+64 points" in shown


def test_pieces_rebuild_the_text():
    for text in (
        f"<think> a {EVIL} wait, no. </think> so <answer> 6 </answer>",
        "no tags, wait, \\boxed{7}",
        "<think> cut off, wait",
        "",
        "先试。等等，不对 <answer>4</answer>",
    ):
        assert "".join(piece for _, piece in pieces(text)) == text


def test_regions_of_a_trace():
    marked = {piece.strip(): names for names, piece in pieces("<think> it is 5 . wait , 6 </think> <answer> 6 </answer>")}
    assert marked["wait"] == "thought reflection"
    assert marked["6"] == "answer"
    assert html_text("<b> wait , & </b>") == '&lt;b&gt; <mark class="reflection">wait</mark> , &amp; &lt;/b&gt;'


def test_problems_are_chosen_by_rule(run):
    chosen = choose(digest(read_run(run)).kept)
    assert [next(iter(rows.values()))[0].problem.id for rows in chosen] == ["sums/3+3", "sums/2+2"]  # learned, then still wrong
    assert sorted(chosen[0]) == [0, 2, 4]
    assert first_middle_last([]) == []
    assert first_middle_last([5]) == [5]


def test_digest_counts_rollouts_alone(run):
    found = digest(read_run(run))
    assert found.lengths[1] == (10, 12.0, 14)  # 10..14 tokens
    assert found.words[1] == {"wait": 1.0, "but": 1.0}
    assert found.chinese[1] == pytest.approx(2 / 4)
    assert found.count == 29


def test_paper_lines_only_on_aime_2024(run):
    found = read_run(run)
    assert "o1-0912" not in accuracy(found, "sums")
    renamed = replace(found, curves={name.replace("/sums/", "/aime24/"): curve for name, curve in found.curves.items()})
    assert "o1-0912 pass@1" in accuracy(renamed, "aime24")
    other = replace(found, curves={name.replace("/sums/", "/aime25/"): curve for name, curve in found.curves.items()})
    assert "o1-0912" not in accuracy(other, "aime25")


def test_a_run_that_has_only_just_begun(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1,2.5\n")
    assert "To repeat this run" in report(tmp_path).read_text()


def test_command(run, tmp_path, capsys):
    assert main([str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").is_file()
    assert "pass@1" in capsys.readouterr().out
    assert main([str(tmp_path / "nothing")]) == 1
    assert "no run at" in capsys.readouterr().err


def test_a_broken_summary_is_named(run):
    (run / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json is not JSON"):
        read_run(run)


def test_a_pipeline_is_about_its_first_reinforced_node(run, tmp_path):
    """Nodes are links into a store that also holds older versions; later reinforced nodes are runs of their own."""
    whole, store = tmp_path / "whole", tmp_path / "whole" / "store"
    for name in ("base-1", "zero-1", "zero-2", "dev-1"):
        (store / name).mkdir(parents=True)
        table = "step,train/loss\n1,2.5\n" if name == "base-1" else METRICS.replace("0.79", f"0.{len(name)}{name[-1]}")
        (store / name / "metrics.csv").write_text(table)
        TraceWriter(store / name / "traces" / "rollouts.jsonl").write(
            [trace("1+1", name, True)], step=1, stage="grpo", phase="rollout"
        )
    for name, version in (("base", 1), ("zero", 2), ("dev", 1)):
        (whole / name).symlink_to(f"store/{name}-{version}", target_is_directory=True)
    (whole / "pipeline.json").write_text(json.dumps({"nodes": {"base": {}, "zero": {}, "dev": {}}}))
    found = read_run(whole)
    assert [part.folder.name for part in found.parts] == ["base", "zero"]
    assert found.curve("eval/sums/pass@1").y[-1] == 0.62
    assert [t.text for t, _ in found.traces()] == ["base-1", "zero-2"]


def test_a_page_of_a_pipeline_begins_with_its_ledger(run):
    column = {"node": "base", "label": EVIL, "against": None, "steps": 3, "tokens": None, "seconds": 1.0, "cpu_seconds": 1.0}
    figures = {"sums": {"pass@1": 0.25, "pass@1_low": 0.2, "pass@1_high": 0.3}}
    claim = {"text": EVIL, "holds": False, "reads": "because"}
    ledger = {"recipe": "toy", "about": "", "columns": [column | {"evaluations": figures}], "claims": [claim]}
    (run / "ledger.json").write_text(json.dumps(ledger))
    page = report(run).read_text(encoding="utf-8")
    assert page.index('id="ledger"') < page.index('id="accuracy"')
    assert "not shown" in page
    assert "<td>25\u00a0%<small>(20–30)</small></td>" in page
    assert EVIL not in page


def test_a_number_of_traces_below_zero_is_refused(run, capsys):
    with pytest.raises(SystemExit):
        main([str(run), "--traces", "-5"])
    assert "--traces must be 0 or more, got -5" in capsys.readouterr().err


def test_in_a_narrow_window_the_labels_wrap_and_the_figures_do_not():
    side = {"pass@1": 0.15, "pass@1_low": 0.14, "pass@1_high": 0.17, "accuracy/within/reflecting": 0.68}
    on = Console(width=66, file=(file := io.StringIO()))
    show(before_after_table({"before": side, "after": side}), on)
    assert file.getvalue().count("15\u00a0% (14–17\u00a0%)") == 2
    assert "same problems" in " ".join(file.getvalue().split())
