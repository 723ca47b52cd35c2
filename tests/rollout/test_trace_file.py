"""What is written comes back, in strict JSON, also after a run that died in the middle of a line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time

import pytest
import zstandard

from r1.records import Problem, Score
from r1.rollout import trace_file
from r1.rollout.trace_file import TraceWriter, read_traces

NAMES = ["t.jsonl", "t.jsonl.zst"]


@pytest.fixture
def full(lab):
    return lab.trace(
        [7, 8], [5, 1], logps=[-0.123456789, -2.0], text="über 答案 \u2028 \"x\"\n", finish_reason="length", weight_version=9, seed=2**62,
        score=Score(1.1, {"accuracy": 1.0, "format": None, "judge": math.nan}, {"accuracy": 1.0, "format": 0.1, "judge": 2.0}), advantage=-0.25,
        problem=Problem("aime24/07", "1 + 1?", "2", "math", "zh", [{"input": "1"}], {"numbers": [1, 1]}),
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_everything_in_a_trace_comes_back(tmp_path, lab, full, name):
    writer = TraceWriter(tmp_path / "deep" / name, run="demo", seed_of_run=3)
    writer.write([full, lab.trace([7], [1])], step=4, stage="grpo", phase="rollout", extra=[{"reflections": ["wait"]}, {}])
    writer.write([], step=5, stage="grpo", phase="rollout")
    writer.write([lab.trace([9], [1])], step=5, stage="grpo", phase="rollout")
    (first, row), (second, _), (third, last) = read_traces(tmp_path / "deep" / name)
    assert math.isnan(first.score.parts.pop("judge"))
    full.score.parts.pop("judge")
    assert first.logps == [-0.12346, -2.0]  # 5 digits
    for field in ("problem", "prompt_ids", "token_ids", "text", "finish_reason", "weight_version", "seed", "score", "advantage"):
        assert getattr(first, field) == getattr(full, field), field
    assert (second.score, second.advantage) == (None, None)
    assert {k: row[k] for k in ("schema", "run", "seed_of_run", "step", "stage", "phase", "reflections")} == {
        "schema": 1, "run": "demo", "seed_of_run": 3, "step": 4, "stage": "grpo", "phase": "rollout", "reflections": ["wait"],
    }  # fmt: skip
    assert (third.prompt_ids, last["step"]) == ([9], 5)


def test_lines_are_strict_json(tmp_path, full):
    TraceWriter(tmp_path / "t.jsonl").write([full], step=0, stage="s", phase="p")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    (line,) = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line, parse_constant=refuse)["score"]["parts"] == {"accuracy": 1.0, "format": None, "judge": "NaN"}


def test_an_outage_keeps_the_total_empty(tmp_path, lab):
    score = Score(None, {"judge": math.inf}, {"judge": 1.0})
    TraceWriter(tmp_path / "t.jsonl").write([lab.trace([7], [1], score=score)], step=0, stage="s", phase="p")
    ((trace, _),) = read_traces(tmp_path / "t.jsonl")
    assert trace.score == score


@pytest.mark.parametrize("name", NAMES)
def test_a_torn_tail_is_left_out_and_cut_before_the_next_append(tmp_path, lab, name):
    path = tmp_path / name
    for step in range(3):
        TraceWriter(path).write([lab.trace([7, step], [1])] * 5, step=step, stage="s", phase="p")
    whole = path.read_bytes()
    TraceWriter(path).write([lab.trace([8], [1])], step=3, stage="s", phase="p")
    added = len(path.read_bytes()) - len(whole)
    for cut in (1, added // 2, added - 1):  # a byte short, half a line, a single byte of it
        path.write_bytes(path.read_bytes()[: len(whole) + added - cut])
        if cut == added // 2:
            with pytest.warns(UserWarning, match="torn"):
                assert len(list(read_traces(path))) == 15
        with pytest.warns(UserWarning, match="not finished"):
            writer = TraceWriter(path)
        assert path.read_bytes() == whole
        writer.write([lab.trace([8], [1])], step=3, stage="s", phase="p")
        assert [row["step"] for _, row in read_traces(path)] == [0] * 5 + [1] * 5 + [2] * 5 + [3]


def test_damage_in_the_middle_is_an_error(tmp_path, lab):
    path = tmp_path / "t.jsonl"
    TraceWriter(path).write([lab.trace([7], [1])] * 3, step=0, stage="s", phase="p")
    lines = path.read_text().splitlines(keepends=True)
    for broken, message in (("{\n", "is not a JSON line"), ('{"schema": 2}\n', "schema 1, got 2"), ("[]\n", "schema 1, got 'list'"),
                            ('{"schema": 1}\n', "not a whole trace"), (lines[0].replace('"stop"', '"tired"'), "finish_reason"),
                            (lines[0].replace("[-0.5]", "NaN"), "NaN is not JSON"), ("\udcff\n", "not a JSON line")):  # fmt: skip
        path.write_bytes("".join([lines[0], broken, lines[2]]).encode(errors="surrogateescape"))
        with pytest.raises(ValueError, match=message) as error:
            list(read_traces(path))
        assert f"{path}:2" in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_limits(tmp_path, lab, name, monkeypatch):
    path = tmp_path / name
    TraceWriter(path).write([lab.trace([7], [1], text="x" * 3_000_000)], step=0, stage="s", phase="p")
    monkeypatch.setattr(trace_file, "MAX_LINE", 2**20)
    with pytest.raises(ValueError, match="line of more than 1048576 bytes"):
        list(read_traces(path))
    monkeypatch.setattr(trace_file, "MAX_FILE", 2**19)
    with pytest.raises(ValueError, match="unpacks to more than 524288 bytes"):
        list(read_traces(path))


def test_a_frame_that_asks_for_too_much_memory(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    path = tmp_path / "t.jsonl.zst"
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(packer.compress(b"x" * 2**20) + packer.flush())
    with pytest.raises(ValueError, match="window"):
        list(read_traces(path))
    with pytest.raises(ValueError, match="window"):
        TraceWriter(path)


def test_files_that_are_none(tmp_path, lab):
    with pytest.raises(ValueError, match=r"called .jsonl or .jsonl.zst"):
        TraceWriter(tmp_path / "t.json")
    with pytest.raises(ValueError, match="no trace file"):
        list(read_traces(tmp_path / "t.jsonl"))
    with pytest.raises(ValueError, match="one mapping a trace"):
        TraceWriter(tmp_path / "t.jsonl").write([lab.trace([7], [1])], step=0, stage="s", phase="p", extra=[])
    odd = lab.trace([7], [1], problem=Problem("odd", "?", meta={"set": {1}}))
    with pytest.raises(ValueError, match="'odd' cannot be written"):
        TraceWriter(tmp_path / "t.jsonl").write([odd], step=0, stage="s", phase="p")
    with pytest.raises(ValueError, match="'p' cannot be written as JSON"):
        TraceWriter(tmp_path / "t.jsonl").write([lab.trace([7], [1], logps=[math.nan])], step=0, stage="s", phase="p")


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_traces_are_read_in_a_second(tmp_path, lab, name):
    traces = [lab.trace(range(14), range(80), logps=[-0.123456] * 80, text="try 5 times 8 is 40 want 40 yes . " * 8)] * 1000
    TraceWriter(tmp_path / name).write(traces, step=0, stage="s", phase="p")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() * 10)
    start = time.process_time()
    assert sum(1 for _ in read_traces(tmp_path / name)) == 10_000
    assert time.process_time() - start < 5  # 0.4 s on an idle core


def test_reading_traces_needs_no_torch():
    code = "import sys, r1.rollout.trace_file, r1.rollout.engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
