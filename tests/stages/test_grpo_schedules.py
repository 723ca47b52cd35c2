"""What changes on the way through a run: token limit, late reward parts, late prompts; all by optimiser updates, all resumable."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from r1 import metrics
from r1.records import Problem
from r1.rewards import Overlong, Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.stages import GRPO
from r1.tasks.base import Mixture

MATHS = SimpleNamespace(name="maths", train=[Problem(f"m/{i}", "use 1") for i in range(4)], validation=[], test=[])
CHAT = SimpleNamespace(
    name="chat", train=[Problem(f"c/{i}", "make 2", domain="general") for i in range(4)], validation=[], test=[]
)


def task() -> Mixture:
    return Mixture({"maths": MATHS, "chat": CHAT}, {"maths": 0.5, "chat": 0.5}, starts={"chat": 5})


def new(lab) -> GRPO:
    """Four steps of two updates: step k begins after 2k of them. The limit rises at the update 4, the rest begins at 5, so at step 3."""

    def first(traces):
        return [float(t.token_ids[0]) for t in traces]

    reward = Reward({"first": first, "chat": first}, {"first": 1.0, "chat": 0.5}, {"chat": 5})
    return lab.grpo(engine=HFEngine, reward=reward, steps=4, minibatches=2, prompts_per_step=4, sampling=Sampling(max_new_tokens=3),
                    length_schedule={4: 6})  # fmt: skip


def watch(stage: GRPO) -> list[dict]:
    """What each step saw."""
    seen: list[dict] = []
    logged: dict[str, float] = {}
    stage.log_step = lambda values, log=stage.log_step: logged.update(values) or log(values)

    def report(groups, stats, figures, report=stage.report):
        traces = [t for g in groups for t in g.traces]
        report(groups, stats, figures)
        seen.append(
            {
                "longest": max(len(t.token_ids) for t in traces),
                "parts": set(traces[0].score.parts),
                "chats": sum(g.problem.domain == "general" for g in groups),
                "limit": float(logged[metrics.TOKEN_LIMIT]),
                "weight": float(logged[metrics.part_weight("chat")]),
            }
        )

    stage.report = report
    return seen


def test_each_begins_at_its_update(lab):
    stage = new(lab)
    seen = watch(stage)
    lab.fit(stage, task())
    assert [step["limit"] for step in seen] == [3, 3, 6, 6]
    assert [step["longest"] for step in seen[:2]] == [3, 3]
    assert max(step["longest"] for step in seen[2:]) > 3
    assert [step["parts"] for step in seen] == [{"first"}] * 3 + [{"first", "chat"}]
    assert [step["weight"] for step in seen] == [0, 0, 0, 0.5]
    assert [step["chats"] > 0 for step in seen] == [False, False, False, True]


def test_a_resumed_run_is_as_far_in_its_plan(lab, tmp_path):
    """Bug 47, for what goes by updates: resumed at step 2, the limit is the second one and the chat begins one step later."""

    def trainer(**options) -> Trainer:
        return Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, **options
        )

    straight, resumed = new(lab), new(lab)
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    whole = watch(straight)
    trainer(callbacks=[keep]).fit(straight, straight.loader(task()))
    rest = watch(resumed)
    trainer(enable_checkpointing=False).fit(resumed, resumed.loader(task()), ckpt_path=tmp_path / "step=4.ckpt")
    assert rest == whole[2:]
    assert torch.equal(lab.weights(straight), lab.weights(resumed))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [({-1: 4}, "0 or more"), ({3: 0}, "1 or more"), ({3: 64}, "does not fit the model's 64 positions")],
)
def test_a_limit_that_would_fail_later_fails_now(lab, schedule, message):
    with pytest.raises(ValueError, match=message):
        lab.grpo(length_schedule=schedule)


def test_a_part_that_reckons_with_one_limit_is_refused(lab):
    reward = Reward({"overlong": Overlong(limit=6, margin=2)}, {"overlong": 1.0})
    lab.grpo(reward=reward)
    with pytest.raises(ValueError, match="overlong reckon with one token limit"):
        lab.grpo(reward=reward, length_schedule={2: 8})
