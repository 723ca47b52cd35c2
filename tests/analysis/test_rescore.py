"""Traces seen by another policy: the ratio and entropy of every token, against a plain forward pass of one row."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from r1.analysis.browser import balance, payload
from r1.analysis.reading import read_run
from r1.analysis.rescore import policy_folder, rescore, temperature_of
from r1.analysis.trace_view import digest
from r1.policy.tiny import tiny_policy
from r1.records import Problem, Trace
from r1.rollout.trace_file import TraceWriter
from r1.tasks.words import vocabulary


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return tiny_policy(vocabulary(), hidden=16, layers=1, heads=2, inner=16)


def trace(prompt: list[int], tokens: list[int], logp: float = -1.0) -> Trace:
    return Trace(Problem("sums/1", "1 + 1", "2"), prompt, tokens, [logp] * len(tokens), "two", "stop")


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_by_a_plain_forward_pass(policy, temperature: float) -> None:
    """Rows of different lengths, in one padded batch and in parts of one row, each as if it were alone."""
    traces = [trace([5, 6, 7], [8, 9]), trace([5], [10, 11, 12, 13]), trace([4, 5], [9])]
    for budget in (10_000, 1):
        for one, found in zip(traces, rescore(policy, traces, temperature, tokens=budget)):
            with torch.no_grad():
                logits = policy.model(input_ids=torch.tensor([one.prompt_ids + one.token_ids])).logits[0].double() / temperature
            logps = logits.log_softmax(-1)[len(one.prompt_ids) - 1 : -1]
            own = logps[range(len(one.token_ids)), one.token_ids]
            assert found["ratio"] == pytest.approx((own + 1.0).exp().tolist(), rel=1e-4)
            assert found["entropy"] == pytest.approx((-(logps.exp() * logps).sum(-1)).tolist(), rel=1e-4)


def test_levels_of_a_ratio() -> None:
    assert balance([0.01, 0.25, 0.5, 1.0, 2.0, 4.0, 100.0, math.nan, 0.0]) == "002468840"


def test_the_page_has_the_colours(policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "hf")
    (tmp_path / "metrics.csv").write_text("step,train/reward\n1,0.5\n")
    word = policy.tokenizer.decode([20]).strip()
    one = Trace(Problem("sums/1", "1 + 1", "2"), [5], [20], [-1.0], word, "length")
    TraceWriter(tmp_path / "traces" / "rollouts.jsonl").write([one], step=1, stage="grpo", phase="rollout")
    run = read_run(tmp_path)
    plain = payload(run, set(digest(run).groups))["rows"][0]
    assert set(plain["l"]) == {"log-prob"}
    (row,) = payload(run, set(digest(run).groups), lambda traces, phase: rescore(policy, traces))["rows"]
    assert set(row["l"]) == {"log-prob", "entropy", "ratio"}
    assert all(len(digits) == 1 for digits in row["l"].values())


def test_which_policy_and_at_which_temperature(tmp_path: Path) -> None:
    for part, metric in (("base", "train/loss"), ("zero", "train/reward")):
        (tmp_path / part / "hf").mkdir(parents=True)
        (tmp_path / part / "metrics.csv").write_text(f"step,{metric}\n1,0.5\n")
        (tmp_path / part / "hf" / "config.json").write_text("{}")
    run = read_run(tmp_path)
    assert policy_folder(run) == tmp_path / "zero" / "hf"  # the one that was reinforced
    (tmp_path / "zero" / "hf" / "config.json").unlink()
    assert policy_folder(run) == tmp_path / "base" / "hf"
    (tmp_path / "base" / "hf" / "config.json").unlink()
    with pytest.raises(ValueError, match="holds no policy"):
        policy_folder(run)
    config = {"stage": {"sampling": {"temperature": 0.7}}, "benchmark": {"aime24": {"sampling": {"temperature": 0.6}}}}
    assert temperature_of(config, "rollout") == 0.7
    assert temperature_of(config, "eval/aime24") == 0.6
    assert temperature_of(config, "eval/aime24 (base)") == 0.6
    assert temperature_of({"benchmark": {"greedy": {"sampling": {"temperature": 0.0}}}}, "eval/greedy") == 1.0
    assert temperature_of({}, "rollout") == 1.0


def test_parts_of_a_run_are_told_apart(tmp_path: Path) -> None:
    """Step 3000 of the base is no later step of the reinforcement."""
    for part, metric, step in (("base", "train/loss", 3000), ("zero", "train/reward", 20)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "metrics.csv").write_text(f"step,{metric},eval/sums/pass@1\n{step},0.5,0.5\n")
        TraceWriter(tmp_path / part / "traces" / "evaluations.jsonl").write(
            [trace([5], [8])], step=step, stage="x", phase="eval/sums"
        )
    run = read_run(tmp_path)
    found = digest(run)
    assert set(found.groups) == {("eval/sums (base)", 3000.0, "sums/1"), ("eval/sums", 20.0, "sums/1")}
    assert set(found.kept) == {("eval/sums", "sums/1")}
    assert payload(run, set(found.groups))["phases"] == ["eval/sums", "eval/sums (base)"]
