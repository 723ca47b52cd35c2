"""The callbacks on a LightningModule that r1 does not know: thirty lines, a policy, nothing else."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from r1 import files, metrics
from r1.analysis.reading import read_run
from r1.callbacks import BenchmarkCallback, ProgressCallback, ReflectionCallback, TraceCallback
from r1.callbacks.reflection import behaviour
from r1.callbacks.traces import spread
from r1.evaluation.benchmark import Benchmark, evaluate, figures
from r1.policy.tiny import tiny_policy
from r1.records import Group, Problem, Score, Trace
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.trace_file import read_traces
from r1.tasks.words import vocabulary

PROBLEMS = [Problem(f"sums/{i}", f"use two of {i} 5 2 to make {5 + i}", f"{i} + 5") for i in (3, 4, 6)]


class Foreign(LightningModule):
    """Supervised training on random targets: no engine, no rollouts, no rollout_step, automatic optimisation."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = tiny_policy(vocabulary(), hidden=16, layers=1, heads=2, inner=16)

    def training_step(self, batch, batch_idx):
        loss = self.policy.model(input_ids=batch, labels=batch).loss
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.randint(3, 60, (24, 6), generator=torch.Generator().manual_seed(0)), batch_size=4)


def small(k: int = 3) -> Benchmark:
    return Benchmark("sums", PROBLEMS, k=k, sampling=Sampling(max_new_tokens=5), cons=(2, k))


def fit(module, tmp_path, callbacks, **options) -> Trainer:
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=CSVLogger(tmp_path, name="", version=""), callbacks=callbacks, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=50, **options,
    )  # fmt: skip
    trainer.fit(module)
    return trainer


def table(tmp_path) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    with (tmp_path / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    found.setdefault(name, {})[int(float(row["step"]))] = float(value)
    return found


def test_benchmarks_of_a_foreign_module(tmp_path):
    """Six steps, evaluated at 0, 2, 4 and 6, though the trainer itself logs every fiftieth step only."""
    callback = BenchmarkCallback({"sums": small()}, every_n_steps=2, run_dir=tmp_path)
    module = Foreign()
    trainer = fit(module, tmp_path, [callback])
    logged = table(tmp_path)
    for name in ("pass@1", "cons@2", "cons@3"):
        full = metrics.evaluation("sums", name)
        low, high = (logged[bound] for bound in metrics.interval(full))
        assert sorted(logged[full]) == [0, 2, 4, 6]
        assert all(low[step] <= logged[full][step] <= high[step] for step in logged[full])
    assert {"eval/sums/mean_length", "eval/sums/reflection_rate", "eval/sums/truncated"} <= set(logged)
    assert float(trainer.callback_metrics["eval/sums/pass@1"]) == logged["eval/sums/pass@1"][6]
    assert [step for step, _ in callback.history["sums"]] == [0, 2, 4, 6]
    rows = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    assert {p["id"] for p in rows[-1]["problems"]} == {p.id for p in PROBLEMS}


@pytest.mark.parametrize("at_end", [True, False])
def test_reports_that_the_disk_refuses_are_written_later(tmp_path, monkeypatch, at_end):
    """Refused after steps 0 to 4: the answers wait for the next evaluation, or for the end of the run."""
    module, real = Foreign(), files.append
    room = {True: 4, False: 6}[at_end]

    def append(path, data):
        if module.trainer.global_step < room:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "append", append)
    callback = BenchmarkCallback(
        {"sums": small(), "more": small()}, every_n_steps=2 if at_end else 5, at_end=at_end, run_dir=tmp_path
    )
    with pytest.warns(UserWarning, match="the answers of 2 wait in memory: .*No space left"):
        fit(module, tmp_path, [callback])
    rows = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [(row["step"], row["benchmark"]) for row in rows] == [
        (step, name) for step in ([0, 2, 4, 6] if at_end else [0, 5]) for name in ("sums", "more")
    ]
    assert not callback.waiting


def test_start_and_end_alone(tmp_path):
    callback = BenchmarkCallback({"sums": small()}, every_n_steps=0)
    fit(Foreign(), tmp_path, [callback])
    assert [step for step, _ in callback.history["sums"]] == [0, 6]
    callback = BenchmarkCallback({"sums": small()}, every_n_steps=4, at_start=False, at_end=False)
    fit(Foreign(), tmp_path / "second", [callback])
    assert [step for step, _ in callback.history["sums"]] == [4]


def test_evaluation_leaves_training_as_it_was(tmp_path):
    """The same weights with and without the callback: it draws from keys, not from the global generator, and restores modes."""
    with_it, without = Foreign(), Foreign()
    without.load_state_dict(with_it.state_dict())
    fit(with_it, tmp_path / "a", [BenchmarkCallback({"sums": small()}, every_n_steps=1)])
    fit(without, tmp_path / "b", [])
    assert all(torch.equal(a, b) for a, b in zip(with_it.state_dict().values(), without.state_dict().values()))


def test_a_module_without_a_policy_is_told_so(tmp_path):
    module = Foreign()
    module.model = module.policy.model
    del module.policy
    with pytest.raises(ValueError, match=r"module\.policy.*Foreign does not have"):
        BenchmarkCallback({"sums": small()}).on_train_start(Trainer(logger=False, accelerator="cpu"), module)


def trace(text: str, problem: Problem = PROBLEMS[0], tokens: int = 4) -> Trace:
    score = Score(1.0, {"accuracy": 1.0, "judge": None}, {"accuracy": 1.0, "judge": 1.0})
    return Trace(problem, [3, 4], [5] * tokens, [-0.5] * tokens, text, "stop", score=score, advantage=0.25)


class Sampling30(Foreign):
    """A module with rollouts of its own, as GRPO has them: `last_groups` and `rollout_step`."""

    rollout_step = 0
    steps = 6

    def training_step(self, batch, batch_idx):
        self.rollout_step += 1
        texts = ["wait , that's wrong", "试 三 then", f"step {self.rollout_step}"]
        self.last_groups = [
            Group(PROBLEMS[0], tuple(trace(text) for text in texts)),
            Group(PROBLEMS[1], (trace("five", PROBLEMS[1]),)),
        ]
        return super().training_step(batch, batch_idx)


def test_every_completion_is_kept(tmp_path):
    callbacks = [
        TraceCallback(tmp_path, every_n_steps=2),
        BenchmarkCallback({"sums": small()}, every_n_steps=3, run_dir=tmp_path),
    ]
    fit(Sampling30(), tmp_path, callbacks)
    rollouts = list(read_traces(tmp_path / "traces" / "rollouts.jsonl.zst"))
    assert [row["step"] for _, row in rollouts] == [2] * 4 + [4] * 4 + [6] * 4
    kept, row = rollouts[0]
    assert (kept.text, kept.advantage, kept.score.parts) == ("wait , that's wrong", 0.25, {"accuracy": 1.0, "judge": None})
    assert (row["phase"], row["stage"]) == ("rollout", "sampling30")
    evaluated = list(read_traces(tmp_path / "traces" / "evaluations.jsonl.zst"))
    assert len(evaluated) == 3 * len(PROBLEMS) * 3  # at steps 0, 3 and 6; k = 3
    assert {row["phase"] for _, row in evaluated} == {"eval/sums"}
    run = read_run(tmp_path)
    assert len(list(run.traces())) == len(rollouts) + len(evaluated)


def test_behaviour_weighs_completions_and_not_groups():
    """bug 44: three completions in one group and one in another; the mean of group means would say .5 * 1/3 = .167."""
    groups = [
        Group(PROBLEMS[0], (trace("wait , no"), trace("试 三 then"), trace("plain"))),
        Group(PROBLEMS[1], (trace("plain", PROBLEMS[1]),)),
    ]
    found = behaviour(groups)
    assert found[metrics.REFLECTION_RATE] == 0.25
    assert found[metrics.MIXING_RATE] == 0.25
    assert behaviour([]) == {}


def test_behaviour_is_summed_over_ranks_before_it_is_divided():
    """This rank holds 3 completions of which 1 reflects, the other 1 that does: 2 of 4, not the mean of 1/3 and 1."""
    groups = [Group(PROBLEMS[0], (trace("wait , no"), trace("plain"), trace("plain")))]
    found = behaviour(groups, lambda count, reflecting, mixed, repeated: [count + 1, reflecting + 1, mixed, repeated])
    assert found[metrics.REFLECTION_RATE] == 0.5


def test_ranks_share_the_problems_and_all_of_them_count(monkeypatch):
    """Three problems on two ranks; rank 1 has one of its own and is told what rank 0 sampled. A rank without a problem of its own
    repeats one to keep step, and that one counts once."""
    module = Foreign()
    benchmark = small(k=2)
    other = replace(benchmark, problems=[PROBLEMS[0], PROBLEMS[2]])
    callback = BenchmarkCallback({"sums": benchmark})
    elsewhere = evaluate(module.policy, HFEngine(module.policy), other)[1]

    def all_gather(parts, traces):
        parts[:] = [elsewhere, traces]

    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather)
    report, _ = callback._evaluate(SimpleNamespace(world_size=2, global_rank=1), module, benchmark, step=0)
    assert [row["id"] for row in report.problems] == [p.id for p in PROBLEMS]
    assert report.setting["problems"] == 3
    whole, _ = evaluate(module.policy, HFEngine(module.policy), benchmark)
    assert figures(report) == figures(whole)  # however many ranks there are
    elsewhere = evaluate(module.policy, HFEngine(module.policy), benchmark)[1]
    spare, _ = callback._evaluate(SimpleNamespace(world_size=4, global_rank=3), module, benchmark, step=0)
    assert len(spare.problems) == 3
    assert all(row["n"] == 2 for row in spare.problems)


def test_behaviour_is_logged_every_step(tmp_path):
    fit(Sampling30(), tmp_path, [ReflectionCallback()])
    logged = table(tmp_path)
    assert logged[metrics.REFLECTION_RATE] == dict.fromkeys(range(1, 7), 0.25)


def test_progress_as_plain_lines(tmp_path, capsys):
    callbacks = [
        ProgressCallback(every_n_steps=3, live=False),
        BenchmarkCallback({"sums": small()}, every_n_steps=0),
        ReflectionCallback(),
    ]
    fit(Sampling30(), tmp_path, callbacks)
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in steps] == ["3/6", "6/6"]
    assert "reflects 25%" in steps[-1]
    assert "left" in steps[0]
    assert any(line.startswith("sums after step 0: pass@1") for line in lines)


def test_progress_as_live_table(tmp_path, capsys):
    module = Sampling30()
    fit(module, tmp_path, [ReflectionCallback(), ProgressCallback(live=True, rows=4, title="demo")])
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "reflects" in shown
    assert "6/6" in shown


def test_reward_parts_have_columns():
    progress = ProgressCallback()
    cells = progress.cells({metrics.part_mean("accuracy"): 0.5, metrics.KL: 0.01, "train/other": 1.0})
    assert cells == {"accuracy": "0.50", "KL": "0.010"}


def test_table_rows_come_from_different_problems():
    assert spread(list(range(8)), 4) == [0, 2, 4, 6]
    assert spread([1, 2], 8) == [1, 2]


def test_wandb_table_is_given_the_traces():
    given = []

    class Logger:
        def log_table(self, **kwargs):
            given.append(kwargs)

    class Loggers:
        loggers = (Logger(), object())

    TraceCallback("unused", table_rows=2)._table(Loggers(), "samples", [trace("a"), replace(trace("b"), score=None)], 5)
    (call,) = given
    assert call["key"] == "samples"
    assert [row[3] for row in call["data"]] == ["a", "b"]
    assert call["data"][0][5] == "accuracy 1"  # a part that did not apply is left out
    assert len(call["columns"]) == len(call["data"][0])


@pytest.mark.slow
def test_wandb_table_is_on_disk_without_an_account(tmp_path, monkeypatch):
    """The real logger, offline: the table is a file of the run, which `wandb sync` would upload."""
    import json

    import wandb
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")

    class Loggers:
        loggers = (WandbLogger(save_dir=tmp_path, offline=True),)

    TraceCallback("unused", table_rows=2)._table(Loggers(), "samples", [trace("a <b>"), trace("c")], 5)
    wandb.finish()
    (file,) = tmp_path.rglob("*.table.json")
    table = json.loads(file.read_text())
    assert [dict(zip(table["columns"], row))["completion"] for row in table["data"]] == ["a <b>", "c"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BenchmarkCallback({}, every_n_steps=-1), "every_n_steps must be 0"),
        (lambda: TraceCallback("x", every_n_steps=0), "at least 1"),
        (lambda: ProgressCallback(rows=0), "at least 1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
