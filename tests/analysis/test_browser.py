"""The trace browser: which groups it holds, that offsets are right for JavaScript, and, where there is a browser, that it works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from r1.analysis.browser import browser, choose_groups, levels, payload, token_lengths
from r1.analysis.reading import read_run
from r1.analysis.report import report
from r1.analysis.trace_view import digest
from r1.records import Problem, Score, Trace
from r1.rollout.trace_file import TraceWriter

EVIL = '</script><script>document.title="hacked"</script><img src=x onerror=\'document.title="hacked"\'>'


def trace(i: int, text: str, right: bool = True, tokens: tuple[int, ...] = (1, 2)) -> Trace:
    score = Score(
        float(right),
        {"accuracy": float(right), "format": 0.5, "judge": float("nan")},
        {"accuracy": 1.0, "format": 0.0, "judge": 0.0},
    )
    return Trace(
        Problem(f"sums/{i}", f"question {i} {EVIL}", "6"),
        [1],
        list(tokens),
        [-0.5] * len(tokens),
        text,
        "stop",
        score=score,
        advantage=-1.5,
    )


def write_run(
    folder: Path,
    problems: int,
    samples: int,
    steps: tuple[int, ...],
    text: str = "<think> wait , no </think> <answer> 6 </answer>",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("step,eval/sums/pass@1\n" + "".join(f"{step},0.5\n" for step in steps))
    writer = TraceWriter(folder / "traces" / "evaluations.jsonl.zst")
    for step in steps:
        traces = [trace(i, text, right=(i + j) % 2 == 0) for i in range(problems) for j in range(samples)]
        writer.write(traces, step=step, stage="grpo", phase="eval/sums")
    return folder


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="trace-data">(.*?)</script>', html, re.DOTALL).group(1))


def test_whole_groups_are_chosen_evenly():
    groups = {("eval/a", float(step), f"p{i}"): [8, 100] for step in (0, 20, 40) for i in range(10)}
    groups |= {("rollout", float(step), f"q{step}-{i}"): [8, 100] for step in range(1, 101) for i in range(4)}
    chosen = choose_groups(groups, max_traces=160)
    evaluated = [key for key in chosen if key[0] == "eval/a"]
    # half of 160 traces are 10 groups of 8: three problems at all three steps, and one more group
    assert len(evaluated) == 10
    assert {key[2] for key in evaluated} == {"p0", "p1", "p2", "p3"}
    rolled = sorted(key[1] for key in chosen if key[0] == "rollout")
    assert len(rolled) == 10
    assert (min(rolled), max(rolled)) == (1, 82)  # the first of each of twelve even steps, until the room is full
    assert choose_groups(groups, max_traces=10**6) >= {("rollout", 100.0, "q100-3"), ("eval/a", 40.0, "p9")}
    assert choose_groups({("rollout", 1.0, "long"): [8, 10**9]}, max_traces=100) == set()
    assert choose_groups({}, 100) == set()


def test_payload_holds_what_the_page_shows(tmp_path):
    run = read_run(write_run(tmp_path, 2, 3, (0, 4)))
    data = payload(run, set(digest(run).groups))
    assert len(data["rows"]) == 12
    assert data["phases"] == ["eval/sums"]
    assert data["parts"] == ["accuracy", "format", "judge"]
    row = data["rows"][1]
    assert (row["k"], row["n"], row["r"], row["w"], row["a"]) == (0, 2, 1, 0.0, -1.5)
    assert row["v"] == [0.0, 0.5, None]  # what could not be judged is no number
    named = {data["names"][code]: row["x"][start:end] for start, end, code in row["h"]}
    assert named == {"thought": "<think> wait , no </think>", "backtracking": "wait", "answer": "6"}
    assert "t" not in row  # no tokenizer in this run folder


def test_offsets_count_as_javascript_counts(tmp_path):
    """An emoji is one character here and two units there."""
    run = read_run(write_run(tmp_path, 1, 1, (0,), text="😀 no . wait , 😀 <answer> 6 </answer>"))
    (row,) = payload(run, set(digest(run).groups))["rows"]
    units = row["x"].encode("utf-16-le")
    spans = {units[2 * start : 2 * end].decode("utf-16-le") for start, end, _ in row["h"]}
    assert spans == {"wait", "6"}


def test_the_data_cannot_end_its_script(tmp_path):
    run = read_run(write_run(tmp_path, 1, 2, (0,), text=EVIL + " \u2028 <!-- "))
    html = browser(run, digest(run))
    assert html.count("</script>") == 1
    assert "<img" not in html
    assert data_of(html)["rows"][0]["x"].startswith(EVIL)


def test_tokens_are_cut_where_they_are():
    words = {1: "try", 2: "9", 3: "wait", 4: ""}
    assert token_lengths(trace(0, "try 9 wait", tokens=(1, 2, 3, 4)), words.__getitem__) == [
        4,
        2,
        4,
    ]  # 4 is the end of the sequence
    pieces = {1: "try", 2: " 9", 3: " wait"}
    assert token_lengths(trace(0, "try 9 wait", tokens=(1, 2, 3)), pieces.__getitem__) == [3, 2, 5]
    assert token_lengths(trace(0, "别的", tokens=(1, 2)), words.__getitem__) is None


def test_levels_of_surprise():
    assert levels([0.0, 0.5, 4.0, float("inf")], 4.0) == "0199"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_ten_thousand_traces_in_a_real_browser(tmp_path):
    """The page comes up, filters and keys work, and markup in a trace stays text."""
    run = read_run(
        write_run(tmp_path / "run", 125, 8, tuple(range(0, 100, 10)), text=f"<think> wait , {EVIL} </think> <answer> 6 </answer>")
    )
    page = report(run.folder, tmp_path / "page.html", max_traces=10_000)
    script = """<script>window.addEventListener("load", () => {
      const out = [], $ = (id) => document.querySelector(id), groups = () => document.querySelectorAll("#b-groups li").length;
      out.push(groups(), document.querySelectorAll("#b-pane article").length);
      const started = performance.now();
      $("#b-step").value = "all"; $("#b-step").dispatchEvent(new Event("change"));
      out.push(groups());
      $("#b-groups button").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true}));
      out.push($("#b-groups [aria-current]").dataset.index);
      $("#b-verdict").value = "1"; $("#b-verdict").dispatchEvent(new Event("input"));
      setTimeout(() => { out.push($("#b-count").textContent, document.querySelectorAll("#b-pane article.wrong").length, performance.now() - started < 4000);
        document.title = document.title === "hacked" ? "hacked" : JSON.stringify(out); }, 1500); });</script>"""
    page.write_text(page.read_text().replace("</body>", script + "</body>"))
    began = time.perf_counter()
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--dump-dom",
        page.as_uri(),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert time.perf_counter() - began < 90
    title = re.search(r"<title>(.*?)</title>", shown).group(1).replace("&quot;", '"')
    # 125 problems at the last step with 8 siblings; 1,250 groups at all steps; the key went one down; half the traces are right
    assert json.loads(title) == [125, 8, 1250, "1", "5,000 traces of 1,250 groups", 0, True]
