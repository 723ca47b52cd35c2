"""Traces as Inspect's logs: read back with Inspect itself."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("inspect_ai", reason="needs the extra `view`")
from inspect_ai import log as inspect_log

from r1.analysis.inspect_log import inspect_logs
from r1.analysis.reading import read_run
from r1.records import Problem, Score, Trace
from r1.rollout.trace_file import TraceWriter


def trace(answer: str, accuracy: float | None, number: int = 0, finish: str = "stop") -> Trace:
    text = f"<think> 9 * 6 is 54 </think> <answer> {answer} </answer>" if finish == "stop" else "<think> 9 * 6"
    score = Score(1.0 if accuracy else 0.0, {"accuracy": accuracy, "language": None}, {"accuracy": 1.0, "language": 0.0})
    return Trace(
        Problem(f"pairs/{number}", "make 54", "9 * 6"), [1], [2, 3], [-0.5, 0.0], text, finish, score=score, advantage=0.5
    )  # type: ignore[arg-type]


def test_logs_hold_the_thought_the_scores_and_the_epochs(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("name: demo\nseed: 3\n")
    (run / "metrics.csv").write_text("step,train/reward\n1,0.5\n")
    writer = TraceWriter(run / "traces/evaluations.jsonl.zst")
    samples = [trace("9 * 6", 1.0), trace("9 + 6", 0.0), trace("", None, 1, "length")]
    writer.write(samples, step=20, stage="grpo", phase="eval/pairs")
    rollouts = TraceWriter(run / "traces/rollouts.jsonl")
    for step in range(1, 8):
        rollouts.write(samples[:1], step=step, stage="grpo", phase="rollout")
    paths = inspect_logs(read_run(run), tmp_path / "logs")
    assert [path.name for path in paths] == ["eval-pairs_step20.eval", *(f"rollout_step{step}.eval" for step in (1, 4, 7))]

    log = inspect_log.read_eval_log(str(paths[0]))
    assert (log.eval.model, log.eval.task, log.eval.config.epochs) == ("r1/demo", "pairs step 20", 2)
    log.samples.sort(key=lambda sample: (sample.id, sample.epoch))
    assert [(sample.id, sample.epoch, sample.target) for sample in log.samples] == [
        ("pairs/0", 1, "9 * 6"), ("pairs/0", 2, "9 * 6"), ("pairs/1", 1, "9 * 6"),
    ]  # fmt: skip
    reasoning, answer = log.samples[0].messages[1].content
    assert (reasoning.reasoning, answer.text) == ("9 * 6 is 54", "<answer> 9 * 6 </answer>")
    assert log.samples[0].scores["accuracy"].value == 1.0 and log.samples[0].scores["accuracy"].answer == "9 * 6"
    assert set(log.samples[2].scores) == {"reward"}  # what did not apply is no score
    assert log.samples[2].output.choices[0].stop_reason == "max_tokens"
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert means == pytest.approx({"accuracy": 0.5, "reward": 1 / 3})


def test_a_run_without_traces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/reward\n1,0.5\n")
    with pytest.raises(ValueError, match="no traces in"):
        inspect_logs(read_run(tmp_path), tmp_path / "logs")
