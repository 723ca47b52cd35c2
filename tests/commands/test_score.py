"""`r1 score`: rows out, votes per group, bad input, and real outputs against the verdicts they came with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from r1.commands.score import main


def write(path: Path, rows: list) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(tmp_path: Path, capsys, rows: list, *options: str) -> tuple[list[dict], list[dict], dict]:
    """(graded rows, groups, summary)"""
    code = main(
        [
            str(write(tmp_path / "in.jsonl", rows)),
            "--out",
            str(tmp_path / "out.jsonl"),
            "--groups",
            str(tmp_path / "groups.jsonl"),
            *options,
        ]
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return read(tmp_path / "out.jsonl"), read(tmp_path / "groups.jsonl"), json.loads(printed.out.splitlines()[-1])


ROWS = [
    {
        "id": "a1",
        "group": "a",
        "gold": "4",
        "response": "<think> wait , 加 two </think> <answer> 4 </answer>",
        "target": "en",
        "level": 1,
    },
    {"id": "a2", "group": "a", "gold": "4", "response": r"so </think> \boxed{5}"},
    {"id": "a3", "group": "a", "gold": "4", "response": r"<think>\boxed{4} is cut"},
    {"id": "a4", "group": "a", "gold": 4, "response": r"\boxed{5.0}"},
    {"id": "b1", "group": "b", "gold": "1/2", "response": r"\boxed{0.5}"},
    {"id": "b2", "group": "b", "gold": "1/2", "response": r"\boxed{\frac{1}{2}}"},
    {"id": "b3", "group": "b", "gold": "1/2", "response": r"\boxed{3}"},
    {"id": "c1", "group": "c", "gold": "8", "response": r"\boxed{8}"},
    {"id": "c2", "group": "c", "gold": "8", "response": r"\boxed{5}"},
    {"id": "d1", "gold": None, "response": r"\boxed{8}"},
]


def test_rows(tmp_path, capsys) -> None:
    rows, _, _ = run(tmp_path, capsys, ROWS)
    assert [r["id"] for r in rows] == [r["id"] for r in ROWS]
    assert [r["answer"] for r in rows] == ["4", "5", None, "5.0", "0.5", r"\frac{1}{2}", "3", "8", "5", "8"]
    assert [r["correct"] for r in rows] == [True, False, False, False, True, True, False, True, False, None]
    first = rows[0]
    assert (first["format_ok"], first["think"], first["level"]) == (True, "wait , 加 two", 1)
    assert first["language_share"]["en"] == pytest.approx(2 / 3)
    assert first["language_share"]["zh"] == pytest.approx(1 / 3)
    assert first["language_consistency"] == pytest.approx(2 / 3)
    assert [r["text"] for r in first["reflections"]] == ["wait"]
    assert ROWS[0]["response"][first["reflections"][0]["start"] :].startswith("wait")
    assert rows[2]["think"] == r"\boxed{4} is cut"
    assert "language_consistency" not in rows[1]


def test_groups(tmp_path, capsys) -> None:
    _, groups, summary = run(tmp_path, capsys, ROWS)
    a, b, c, d = groups
    assert (a["n"], a["pass@1"], a["cons"], a["answer"], a["tied"]) == (4, 0.25, 0.0, "5", [])  # 5 and 5.0 outvote 4
    assert (b["n"], b["pass@1"], b["cons"]) == (3, pytest.approx(2 / 3), 1.0)
    assert (c["cons"], c["tied"]) == (0.5, ["5", "8"])  # a tie is worth its expected value
    assert (d["group"], d["n"], d["pass@1"], d["cons"], d["answer"]) == ("d1", 1, None, None, "8")
    assert summary["rows"] == 10
    assert summary["graded"] == 9
    assert summary["groups"] == 4
    assert summary["tied_groups"] == 1
    assert summary["pass@1"] == pytest.approx((0.25 + 2 / 3 + 0.5) / 3)
    assert summary["cons"] == pytest.approx((0 + 1 + 0.5) / 3)


def test_rows_of_one_problem_are_one_group(tmp_path, capsys) -> None:
    rows = [{"problem": p, "gold": "1", "response": "1"} for p in ("x", "y", "x")]
    assert [(g["group"], g["n"]) for g in run(tmp_path, capsys, rows)[1]] == [("x", 2), ("y", 1)]


def test_verdicts_that_came_with_the_rows(tmp_path, capsys) -> None:
    rows = [
        {"id": i, "gold": "1", "response": r, "correct": c} for i, r, c in (("p", "1", True), ("q", "1", False), ("r", "2", None))
    ]
    graded, _, summary = run(tmp_path, capsys, rows)
    assert summary["input_verdicts"] == {"compared": 2, "differ": 1, "ids": ["q"]}
    assert (graded[1]["correct"], graded[1]["input_correct"]) == (True, False)


def test_other_field_names_verifiers_and_formats(tmp_path, capsys) -> None:
    rows = [{"key": "1", "out": "a</think> \\boxed{(b)}", "ref": "B"}, {"key": "2", "out": "a</think> <answer>6 * 9</answer>", "ref": "9 * 6",
             "verifier": "expression", "meta": {"numbers": [9, 6, 2], "use": 2, "target": 54}}]  # fmt: skip
    options = [
        "--response-field",
        "out",
        "--gold-field",
        "ref",
        "--id-field",
        "key",
        "--verifier",
        "choice",
        "--format",
        "r1",
        "--opened",
    ]
    graded, groups, _ = run(tmp_path, capsys, rows, *options)
    assert [r["correct"] for r in graded] == [True, True]
    assert [r["format_ok"] for r in graded] == [True, False]
    assert [g["group"] for g in groups] == ["1", "2"]


BAD = [
    ('{"gold": "1", "response": ', "not JSON"),
    ("[1, 2]", "expected a JSON object, got list"),
    ({"gold": "1", "output": "1"}, "no field 'response'; this row has: gold, output"),
    ({"response": "1"}, "no field 'gold'"),
    ({"gold": "1", "response": 5}, "must be text, got int"),
    ({"gold": ["1"], "response": "1"}, "must be text, a number or null, got list"),
    ({"gold": "  ", "response": "1"}, "gold answer is empty"),
    ({"gold": "1", "response": "1", "verifier": "maths"}, "verifier 'maths'; there are"),
    ({"gold": "1", "response": "1", "verifier": "expression"}, "needs 'target' in the row's `meta`"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_bad_rows_stop_with_their_line(tmp_path, capsys, row, message: str) -> None:
    file = write(tmp_path / "in.jsonl", [ROWS[0], "", row, ROWS[1]])
    assert main([str(file), "--out", str(tmp_path / "out.jsonl")]) == 1
    error = capsys.readouterr().err
    assert f"{file}:3: " in error
    assert message in error
    assert not (tmp_path / "out.jsonl").exists()  # no half-written result
    assert list(tmp_path.iterdir()) == [file]


def test_bad_rows_can_be_skipped(tmp_path, capsys) -> None:
    rows = [ROWS[0], *(row for row, _ in BAD), ROWS[1]]
    graded, _, summary = run(tmp_path, capsys, rows, "--skip-bad")
    assert [r["id"] for r in graded] == ["a1", "a2"]
    assert summary["bad_rows"] == len(BAD)


def test_missing_file(tmp_path, capsys) -> None:
    assert main([str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_empty_file(tmp_path, capsys) -> None:
    rows, groups, summary = run(tmp_path, capsys, [])
    assert (rows, groups, summary["rows"], summary["pass@1"]) == ([], [], 0, None)


def test_reads_stdin_and_runs_without_torch(tmp_path) -> None:
    line = json.dumps(ROWS[0], ensure_ascii=False)
    code = (
        "import sys; from r1.__main__ import main; code = main(['score', '-']); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=line.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout.decode().splitlines()[-1])["pass@1"] == 1.0


# Where we and the source differ, and why. The answer of this output is `3+4=7`: the question asks for m + n with m = 3 and n = 4, the
# gold answer is 7, and both sides of the equation are 7. The source compared strings; we are right. (`41=42` is refused.)
DIFFERS = {"amc23-22-llama3b-rg-step_400-10": True}


def test_real_outputs_reproduce_the_sources_verdicts(tmp_path, capsys, data_dir) -> None:
    out = tmp_path / "out.jsonl"
    assert main([str(data_dir / "traces.jsonl"), "--response-field", "output", "--gold-field", "gold", "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out)
    graded = {row["id"]: row for row in read(out)}
    assert len(graded) == summary["rows"] == 398
    judged = {i: row for i, row in graded.items() if row["input_correct"] is not None}
    differing = {i: row["correct"] for i, row in judged.items() if row["correct"] != row["input_correct"]}
    assert len(judged) == 388
    assert differing == DIFFERS
    unjudged = [row for row in graded.values() if row["input_correct"] is None]  # ten answers of strong teachers, all right
    assert [row["correct"] for row in unjudged] == [True] * 10
    assert summary["grader"]["timeouts"] == summary["grader"]["crashes"] == 0
