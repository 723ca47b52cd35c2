"""Reward models: the losses by hand, what is read, and that preferences are learned."""

from __future__ import annotations

import json
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from r1 import metrics
from r1.callbacks import RehearsalCallback
from r1.policy.lora import Lora
from r1.policy.scorer import Scorer
from r1.records import Problem
from r1.stages import RewardModel
from r1.stages.optimizers import adamw
from r1.tasks.preference import Labelled, Pair, Preferences

PROBLEM = Problem("p", "use 1")
PAIRS = [Pair(Problem(f"p{i}", f"use {1 + i % 3}"), f"good {i % 3 + 1}", f"bad {i % 3 + 1}") for i in range(12)]


def new_stage(lab, **changes) -> RewardModel:
    return RewardModel(
        **{
            "policy": lab.policy(),
            "optimizer": partial(adamw, lr=1e-2),
            "judged": "whole",
            "steps": 30,
            "batch_size": 6,
            **changes,
        }
    )


def task(rows, validation=()) -> SimpleNamespace:
    return SimpleNamespace(train=list(rows), validation=list(validation))


def test_at_the_start_every_response_scores_the_same(lab):
    stage = new_stage(lab, steps=1)
    lab.fit(stage, task(PAIRS))
    assert float(stage.trainer.logged_metrics[metrics.LOSS]) == pytest.approx(math.log(2))  # -log sigmoid(0)


@pytest.mark.parametrize("kind", ["pairs", "labelled"])
def test_it_learns_which_is_better(lab, kind):
    rows = (
        PAIRS
        if kind == "pairs"
        else [Labelled(p.problem, text, good) for p in PAIRS for text, good in ((p.chosen, True), (p.rejected, False))]
    )
    stage = new_stage(lab)
    lab.fit(stage, task(rows, rows[:4]))
    assert stage.accuracy(rows) == 1.0
    assert float(stage.trainer.callback_metrics["eval/preferences/accuracy"]) == 1.0


def test_held_out_accuracy_is_without_dropout(lab, monkeypatch):
    policy = lab.policy()
    Lora(r=2, dropout=0.5).attach(policy.model)
    stage = new_stage(lab, policy=policy).train()
    for parameter in stage.policy.parameters():
        torch.nn.init.normal_(parameter)
    seen, real = [], stage.margins
    monkeypatch.setattr(stage, "margins", lambda batch: seen.append(real(batch)) or seen[-1])
    stage.accuracy(PAIRS), stage.accuracy(PAIRS)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(stage.margins(PAIRS), stage.margins(PAIRS))  # training has its dropout back


def test_a_rehearsal_is_the_largest_micro_batch(lab):
    long = Labelled(PROBLEM, "good bad good 1 2 3", False)
    rows = [Labelled(PROBLEM, "good", True), long, Labelled(PROBLEM, "<think> 1 2 3 1 2 3 </think> bad", True)]
    stage = new_stage(lab, judged="summary", micro_rows=2, batch_size=3)
    assert stage.rehearsal(stage.loader(task(rows))) == [[long, long]]
    assert (
        stage.rehearsal(stage.loader(task([PAIRS[0], PAIRS[1]._replace(rejected="bad 1 2 3"), PAIRS[2]])))[0][0].rejected
        == "bad 1 2 3"
    )
    assert len(new_stage(lab, batch_size=6).rehearsal(stage.loader(task(PAIRS)))[0]) == 6  # a step holds no more


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_rehearsal_changes_nothing(lab, dropout):
    def fit(*callbacks):
        policy = lab.policy()
        Lora(r=2, dropout=dropout).attach(policy.model)
        stage = new_stage(lab, policy=policy, steps=2)
        seen, real = [], stage.loss
        stage.loss = lambda batch: seen.append(len(batch)) or real(batch)
        lab.fit(stage, task(PAIRS), callbacks=list(callbacks))
        return lab.weights(stage), seen

    (plain, alone), (rehearsed, with_it) = fit(), fit(RehearsalCallback("always"))
    assert torch.equal(plain, rehearsed)
    assert with_it == [6, *alone]


def test_too_little_memory_is_said_before_the_first_step(lab):
    stage = new_stage(lab)
    stage.loss = lambda batch: (_ for _ in ()).throw(MemoryError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(ValueError, match=r"largest micro-batch of this run \(6 rows\).*stage\.micro_rows"):
        lab.fit(stage, task(PAIRS), callbacks=[RehearsalCallback("always")])


def test_micro_rows_change_nothing(lab):
    """Bug 15, for pairs."""
    one, many = new_stage(lab, steps=3, optimizer=lab.sgd), new_stage(lab, steps=3, micro_rows=2, optimizer=lab.sgd)
    lab.fit(one, task(PAIRS)), lab.fit(many, task(PAIRS))
    assert torch.allclose(lab.weights(one), lab.weights(many), atol=1e-6)


def test_a_score_does_not_depend_on_the_rows_beside_it(lab):
    scorer = new_stage(lab).policy
    torch.nn.init.normal_(scorer.model.score.weight)
    rows = [scorer.encode(PROBLEM, text) for text in ("good", "good bad good 1 2 3")]
    together = scorer(rows)
    assert torch.allclose(together, torch.cat([scorer([row]) for row in rows]), atol=1e-6)
    assert rows[0][-1] == scorer.eos_id


def test_of_a_long_response_the_middle_is_left_out_and_the_end_is_read(lab):
    scorer = new_stage(lab).policy
    whole = scorer.encode(PROBLEM, "good bad good 1 2 3")
    assert scorer.encode(PROBLEM, "good bad good 1 2 3", len(whole)) == whole
    assert scorer.encode(PROBLEM, "good bad good 1 2 3", 5) == whole[:2] + whole[-3:]
    stage = new_stage(lab, max_tokens=5)
    torch.nn.init.normal_(stage.policy.model.score.weight)
    with torch.no_grad():
        good, bad = stage.scores([(PROBLEM, "1 1 1 1 1 1 1 good"), (PROBLEM, "1 1 1 1 1 1 1 bad")])
    assert good != bad


def test_helpfulness_reads_the_summary_alone(lab):
    stage = new_stage(lab, judged="summary")
    torch.nn.init.normal_(stage.policy.model.score.weight)
    with torch.no_grad():
        scores = stage.scores(
            [(PROBLEM, "<think> bad </think> good"), (PROBLEM, "<think> 1 2 3 </think> good"), (PROBLEM, "good")]
        )
    assert torch.allclose(scores, scores[:1].expand(3), atol=1e-6)
    whole = new_stage(lab, judged="whole")
    whole.policy.load_state_dict(stage.policy.state_dict())
    with torch.no_grad():
        scores = whole.scores([(PROBLEM, "<think> bad </think> good"), (PROBLEM, "<think> 1 2 3 </think> good")])
    assert not torch.allclose(scores[0], scores[1], atol=1e-4)


def test_the_saved_folder_is_a_hugging_face_classifier(lab, tmp_path):
    scorer = Scorer.from_policy(lab.policy()).eval()
    torch.nn.init.normal_(scorer.model.score.weight)
    again = AutoModelForSequenceClassification.from_pretrained(scorer.save(tmp_path / "rm")).eval()
    row = scorer.encode(PROBLEM, "good bad")
    with torch.no_grad():
        assert float(again(input_ids=torch.tensor([row])).logits[0, 0]) == pytest.approx(float(scorer([row])[0]), abs=1e-6)


def test_preferences_from_a_file(tmp_path):
    rows = [{"question": f"q{i}", "chosen": "yes", "rejected": "no"} for i in range(5)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = Preferences(str(file), validation=2)
    assert (len(found.train), len(found.validation)) == (3, 2)
    file.write_text(
        json.dumps({"question": "q", "response": "r", "label": 1}) + "\n" + json.dumps({"question": "q2", "chosen": "y"})
    )
    with pytest.raises(ValueError, match="line 2: expected columns chosen and rejected"):
        Preferences(str(file))
