"""Two runs on the same problems: every figure worked out by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from r1.analysis.comparison import apart, compare_runs, comparison_table, markdown, read_side, setting_notes
from r1.analysis.tables import show
from r1.commands.report import main

SETTING = {"problems": 3, "samples a problem": 4, "temperature": 0.6, "seed": 0, "template": "tiny"}


def problem(name: str, right: int, wrong: int = 0, reflecting: int = 0, length: float = 10.0) -> dict[str, Any]:
    classes = [{"answer": "1", "count": right, "correct": True}, {"answer": "2", "count": wrong, "correct": False}]
    n = 4
    return {"id": name, "n": n, "correct": right, "unparsed": n - right - wrong, "answers": [c for c in classes if c["count"]],
            "reflecting": reflecting, "mean_length": length}  # fmt: skip


def write(folder: Path, *evaluations: tuple[int, list[dict[str, Any]]], **setting: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "step": step,
            "benchmark": "set",
            "setting": SETTING | setting,
            "cons_at": {"4": {}},
            "pass_at": {"4": {}},
            "problems": found,
        }
        for step, found in evaluations
    ]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    return str(folder)


BEFORE = [problem("a", 1, 3), problem("b", 0, 4), problem("c", 2, 2, reflecting=1)]
AFTER = [problem("c", 4, 0, 4, 30.0), problem("a", 3, 1, 3, 20.0), problem("b", 2, 1, 2, 13.0)]


@pytest.fixture
def run(tmp_path: Path) -> str:
    return write(tmp_path / "run", (0, BEFORE), (20, AFTER))


def test_before_and_after_by_hand(run: str) -> None:
    rows = {row.figure: row for row in compare_runs(f"{run}@0", run)}
    assert list(rows) == ["pass@1", "cons@4", "pass@4", "mean_length", "reflection_rate"]
    one = rows["pass@1"]
    assert (one.first, one.second) == (pytest.approx(3 / 12), pytest.approx(9 / 12))
    # a, b, c by id and not by place: each gained 2 of 4
    assert one.found.difference == pytest.approx(0.5)
    assert one.found.problems == pytest.approx((0.5, 0.5))
    assert one.found.p == pytest.approx(2 / 8)
    assert one.verdict == "cannot tell"  # three problems cannot, whatever they say: p is .25
    vote = rows["cons@4"]
    assert (vote.first, vote.second) == (pytest.approx((0 + 0 + 0.5) / 3), pytest.approx(1.0))  # c was a tie; b wins 2 to 1
    assert rows["pass@4"].second == 1.0
    assert rows["pass@4"].first == pytest.approx(2 / 3)
    length = rows["mean_length"].over_problems
    assert length[0] == pytest.approx((10 + 3 + 20) / 3)
    assert rows["reflection_rate"].over_problems[0] == pytest.approx((3 + 2 + 3) / 12)


def test_a_difference_that_can_be_told(tmp_path: Path) -> None:
    many = [problem(f"p{i}", i % 3, 4 - i % 3) for i in range(12)]
    more = [problem(f"p{i}", i % 3 + 1, 3 - i % 3) for i in range(12)]
    a, b = write(tmp_path / "a", (5, many)), write(tmp_path / "b", (9, more))
    rows = {row.figure: row for row in compare_runs(a, b)}
    assert rows["pass@1"].verdict == "higher"
    assert {row.figure: row for row in compare_runs(b, a)}["pass@1"].verdict == "lower"
    assert rows["mean_length"].verdict == "cannot tell"
    same = {row.figure: row for row in compare_runs(a, a)}
    assert (same["pass@1"].found.difference, same["pass@1"].found.p) == (0.0, 1.0)


def test_only_shared_problems_and_shared_figures_count(run: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other", (20, [problem("a", 4), problem("z", 0)]))
    rows = {row.figure: row for row in compare_runs(run, other)}
    assert rows["pass@1"].first == pytest.approx(3 / 4)
    assert rows["pass@1"].found.n_problems == 1
    with pytest.raises(ValueError, match="share no problem"):
        compare_runs(run, write(tmp_path / "none", (0, [problem("z", 1)])))


def test_settings_that_differ_are_said(run: str, tmp_path: Path) -> None:
    hot = write(tmp_path / "hot", (20, AFTER), temperature=1.0)
    notes = setting_notes(run, hot)
    assert notes == ["set: problems 3, samples a problem 4, seed 0, template tiny", "set: not alike: temperature 0.6 and 1.0"]
    text = markdown(compare_runs(run, hot), "cold", "hot|ter", notes)
    assert "| pass@1 | 75\u00a0% | 75\u00a0% | +0.0 |" in text
    assert "not alike: temperature" in text
    assert "hot|ter" in text.splitlines()[0]


def test_what_cannot_be_compared_is_said(run: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no evaluation at step 7; evaluated were \[0, 20\]"):
        read_side(f"{run}@7")
    with pytest.raises(ValueError, match=r"no evaluations\.jsonl in"):
        read_side(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="nothing to compare on aime24"):
        compare_runs(run, run, "aime24")
    write(tmp_path / "demo" / "base", (0, BEFORE))
    assert read_side(str(tmp_path / "demo")).reports["set"]["step"] == 0  # the only one below
    write(tmp_path / "demo" / "zero", (0, BEFORE))
    with pytest.raises(ValueError, match="choose one"):
        read_side(str(tmp_path / "demo"))


def test_the_command(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "comparison.md"
    assert main(["--compare", f"{run}@0", run, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "+50.0" in said
    assert "template tiny" in said
    assert out.read_text().startswith(f"# {run}@0 against {run}")
    assert main(["--compare", f"{run}@3", run]) == 1
    assert "evaluated were [0, 20]" in capsys.readouterr().err
    for wrong in ([], [run, "--compare", run, run], [run, "--benchmark", "set"], ["--compare", run, run, "--reward-lab"]):
        with pytest.raises(SystemExit):
            main(wrong)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("runs/demo/base.eval", "runs/demo/dev1.eval", ("base.eval", "dev1.eval")),
        ("runs/zero/2026-01-01/eval", "runs/base/2026-01-01/eval", ("zero", "base")),
        ("runs/x@0", "runs/x", ("x@0", "x")),
        ("runs/x", "runs/x", ("x", "x")),
        ("a", "runs/b", ("a", "runs/b")),
    ],
)
def test_a_column_is_headed_by_what_tells_its_run_apart(first: str, second: str, told: tuple[str, str]) -> None:
    assert apart(first, second) == told


@pytest.mark.parametrize("width", [80, 200])
def test_no_figure_is_cut_in_a_narrow_window(run: str, width: int) -> None:
    rows = compare_runs(f"{run}@0", run)
    on = Console(width=width, file=(file := io.StringIO()))
    for one in comparison_table(rows, "runs/demo/2026-01-01_12-00-00", "runs/demo/2026-01-02_12-00-00"):
        show(one, on)
    assert "…" not in file.getvalue()
    words = file.getvalue().rpartition("─")[2].split()
    assert {"pass@1", *(f"{100 * row.over_problems[0]:+.1f}" for row in rows if row.percent)} <= set(words)
