"""Distillation: which samples are learned, by which loss, and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from transformers import Qwen3ForCausalLM

from r1 import metrics
from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.records import Problem, Trace
from r1.rewards import Accuracy, Format, Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.trace_file import TraceWriter, read_traces
from r1.stages import Distill
from r1.stages.distill import OnPolicy
from r1.stages.optimizers import adamw
from r1.stages.teacher import Teacher
from r1.tasks.documents import Lesson

ROWS = [
    ("p1", "good", "stop"),
    ("p1", "good good", "stop"),
    ("p1", "bad", "stop"),
    ("p2", "good bad", "length"),
    ("p3", "good 3", "stop"),
]


@pytest.fixture
def traces(tmp_path: Path) -> str:
    writer = TraceWriter(tmp_path / "teacher.jsonl")
    rows = [Trace(Problem(i, "use 1"), [3], [4], [-1.0], text, end) for i, text, end in ROWS]
    writer.write(rows, step=1, stage="grpo", phase="train")
    return str(tmp_path / "teacher.jsonl")


def new(lab, **changes) -> Distill:
    policy = changes.pop("policy", None) or lab.policy()
    reward = Reward({"good": lambda traces: [float("good" in t.text) for t in traces]}, {"good": 1.0})
    return Distill(**{"policy": policy, "reward": reward, "engine": HFEngine(policy), "optimizer": partial(adamw, lr=1e-2),
                      "steps": 2, **changes})  # fmt: skip


def sharp_policy(lab, seed: int) -> Policy:
    """A policy whose distributions differ visibly from token to token, as a teacher's do."""
    policy = lab.policy(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(8.0) if parameter.dim() > 1 else None
    return policy


def on_policy(prompts: int = 4, samples: int = 2) -> OnPolicy:
    return OnPolicy(Sampling(max_new_tokens=6), prompts, samples)


class TestSamplesOfTheTeacher:
    def test_finished_and_right_traces_are_learned(self, lab, traces):
        stage = new(lab, traces=traces, right_by=["good"])
        bodies = [stage.policy.decode(e.completion_ids) for e in stage.examples(None)]
        assert bodies == ["good", "good good", "good 3"]  # not "bad", and not the truncated one
        assert [stage.policy.decode(e.completion_ids) for e in new(lab, traces=traces).examples(None)] == [
            *bodies[:2],
            "bad",
            bodies[2],
        ]
        lab.fit(stage)

    def test_a_wrong_answer_in_the_right_format_is_not_learned(self, lab, tmp_path):
        """Its total is that of a right answer in no format: 1 of 2."""
        problem = Problem("p", "1 + 1 is what?", "2")
        texts = ["<think> a </think> <answer> 2 </answer>", "<think> a </think> <answer> 3 </answer>", "<answer> 2 </answer>"]
        TraceWriter(tmp_path / "t.jsonl").write(
            [Trace(problem, [3], [4], [-1.0], text, "stop") for text in texts], step=1, stage="grpo", phase="train"
        )
        stage = new(lab, traces=str(tmp_path / "t.jsonl"), reward=Reward({"accuracy": Accuracy(), "format": Format()},
                    {"accuracy": 1.0, "format": 1.0}), right_by=["accuracy"])  # fmt: skip
        kept = stage.keep([trace for trace, _ in read_traces(tmp_path / "t.jsonl")])
        assert [trace.text for trace in kept] == [texts[0], texts[2]]

    def test_parts_that_the_reward_has_not_are_named(self, lab, traces):
        with pytest.raises(ValueError, match="right_by names accuracy, but the reward has good"):
            new(lab, traces=traces, right_by=["accuracy"])

    def test_at_most_so_many_of_one_problem(self, lab, traces):
        stage = new(lab, traces=traces, per_problem=1)
        assert [stage.policy.decode(e.completion_ids) for e in stage.examples(None)] == ["good", "good 3"]

    def test_a_missing_file_is_named(self, lab, tmp_path):
        with pytest.raises(ValueError, match=r"nowhere.jsonl"):
            new(lab, traces=str(tmp_path / "nowhere.jsonl"))


def test_curated_rows_are_the_tasks_documents(lab):
    rows = SimpleNamespace(documents=[Lesson(Problem("p", "use 1"), "good"), Lesson(Problem("q", "use 2"), "bad")])
    stage = new(lab, teacher=sharp_policy(lab, 1), tokens_per_step=40)
    assert [stage.policy.decode(e.completion_ids) for e in stage.examples(rows)] == ["good", "bad"]
    lab.fit(stage, rows)
    with pytest.raises(ValueError, match="nothing to learn: give `traces`"):
        stage.loader(lab.Problems())


def kl_by_hand(kind: str, student: Policy, teacher: Policy, rows: list[tuple[list[int], list[int]]], temperature: float) -> float:
    """The mean over completion tokens, one row and one token at a time, in float64."""
    values = []
    for prompt, body in rows:
        with torch.no_grad():
            s, t = (
                (policy.model(torch.tensor([prompt + body])).logits[0].double() / temperature).log_softmax(-1)
                for policy in (student, teacher)
            )
        for place in range(len(prompt) - 1, len(prompt) + len(body) - 1):
            log_s, log_t = s[place], t[place]
            log_m = (0.7 * log_t.exp() + 0.3 * log_s.exp()).log()
            kl = lambda p, q: float((p.exp() * (p - q)).sum())  # noqa: E731
            values.append({"forward": kl(log_t, log_s), "reverse": kl(log_s, log_t), "jsd": 0.7 * kl(log_t, log_m) + 0.3 * kl(log_s, log_m)}[kind])  # fmt: skip
    return sum(values) / len(values)


class TestDistributionOfTheTeacher:
    @pytest.mark.parametrize(("kind", "mixture"), [("forward", None), ("reverse", None), ("jsd", 0.7)])
    @pytest.mark.parametrize("packing", [False, True])
    def test_the_loss_is_the_divergence_at_the_learned_tokens(self, lab, traces, kind, mixture, packing):
        student, teacher = sharp_policy(lab, 0), sharp_policy(lab, 1)
        stage = new(lab, policy=student, traces=traces, teacher=teacher, divergence=kind, mixture=mixture, temperature=2.0, steps=1,
                    tokens_per_step=100, max_tokens=20, packing=packing)  # fmt: skip
        rows = [(e.prompt_ids, e.completion_ids) for e in stage.examples(None)]
        expected = kl_by_hand(kind, student, teacher, rows, 2.0)
        lab.fit(stage)
        assert expected > 1e-3
        assert float(stage.trainer.callback_metrics[metrics.LOSS]) == pytest.approx(expected, rel=1e-4)
        assert float(stage.trainer.callback_metrics[metrics.DIVERGENCE]) == pytest.approx(expected, rel=1e-4)

    def test_a_student_that_is_its_teacher_has_nothing_to_learn(self, lab, traces):
        stage = new(lab, policy=sharp_policy(lab, 1), traces=traces, teacher=sharp_policy(lab, 1), optimizer=lab.sgd)
        before = lab.weights(stage)
        lab.fit(stage)
        assert torch.allclose(before, lab.weights(stage), atol=1e-6)
        assert float(stage.trainer.callback_metrics[metrics.AGREEMENT]) == 1.0

    def test_the_student_nears_its_teacher_who_stays_as_he_was(self, lab, traces):
        teacher = sharp_policy(lab, 1)
        before = torch.cat([p.flatten().clone() for p in teacher.parameters()])
        stage = new(lab, traces=traces, teacher=teacher, steps=60, tokens_per_step=100)
        seen = []
        stage.log_step = lambda values, log=stage.log_step: seen.append(values[metrics.DIVERGENCE]) or log(values)
        lab.fit(stage)
        assert seen[-1] < 0.1 * seen[0]
        assert torch.equal(before, torch.cat([p.flatten() for p in teacher.parameters()]))
        assert not any("teacher" in name for name in stage.state_dict())  # a checkpoint holds the student alone

    @pytest.mark.parametrize("micro_tokens", [10, 1000])
    def test_micro_batches_change_nothing(self, lab, traces, micro_tokens):
        """Bug 15."""
        options = dict(traces=traces, teacher=sharp_policy(lab, 1), tokens_per_step=100, optimizer=lab.sgd)
        cut, whole = new(lab, micro_tokens=micro_tokens, **options), new(lab, **options)
        lab.fit(cut), lab.fit(whole)
        assert torch.allclose(lab.weights(cut), lab.weights(whole), atol=1e-6)

    def test_a_folder_is_loaded_in_the_students_dtype(self, lab, traces, tmp_path):
        folder = lab.policy(1).save(tmp_path / "teacher")
        teacher = new(lab, policy=lab.policy().to(torch.bfloat16), traces=traces, teacher=str(folder)).teacher
        assert teacher.policy.model.dtype == torch.bfloat16
        assert teacher.policy.template == lab.policy().template

    def test_other_words_are_refused_and_padding_of_the_head_is_not(self, lab):
        student = lab.policy()
        swapped = [{"good": "bad", "bad": "good"}.get(word, word) for word in lab.WORDS]
        with pytest.raises(
            ValueError, match=r"share a vocabulary.*2 tokens have another id or none: 'bad' \(student 15, teacher 14\)"
        ):
            Teacher(tiny_policy(swapped, hidden=16, layers=1, heads=2), student)
        wide = sharp_policy(lab, 1)
        wide.model.resize_token_embeddings(len(wide.tokenizer) + 5, mean_resizing=False)
        assert isinstance(wide.model, Qwen3ForCausalLM)
        assert Teacher(wide, student).shared == len(student.tokenizer)


class TestOnPolicy:
    def test_the_student_is_judged_where_it_went(self, lab):
        student, teacher = sharp_policy(lab, 0), sharp_policy(lab, 1)
        stage = new(lab, policy=student, teacher=teacher, on_policy=on_policy(), steps=1)
        start = sharp_policy(lab, 0)
        lab.fit(stage)
        sampled = [(t.prompt_ids, t.token_ids) for g in stage.last_groups for t in g.traces]
        assert len(sampled) == 8
        assert len({tuple(ids) for _, ids in sampled}) > 4
        expected = kl_by_hand("reverse", start, teacher, sampled, 1.0)  # the weights that sampled are those that were judged
        assert float(stage.trainer.callback_metrics[metrics.DIVERGENCE]) == pytest.approx(expected, rel=1e-4)
        assert metrics.REWARD in stage.trainer.callback_metrics

    def test_a_rehearsal_is_the_largest_micro_batch(self, lab):
        stage = new(lab, teacher=sharp_policy(lab, 1), on_policy=on_policy(4, 2))
        lab.fit(stage)
        (batch,) = stage.rehearsal(SimpleNamespace(items=lab.Problems().train))
        assert tuple(batch.tokens.shape) == (8, 8 + 6)  # "User : use 1 2 3 Assistant :" is the longest prompt

    def test_it_nears_its_teacher(self, lab):
        stage = new(lab, teacher=sharp_policy(lab, 1), on_policy=on_policy(8, 4), steps=30)
        seen = []
        stage.log_step = lambda values, log=stage.log_step: seen.append(values[metrics.DIVERGENCE]) or log(values)
        lab.fit(stage)
        assert sum(seen[-3:]) < 0.4 * sum(seen[:3])

    def test_resuming_gives_the_same_weights_bitwise(self, lab, tmp_path):
        def trainer(**options) -> Trainer:
            return Trainer(
                accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, **options
            )

        def stage() -> Distill:
            return new(lab, teacher=sharp_policy(lab, 1), on_policy=on_policy(), steps=4)

        straight, resumed = stage(), stage()
        keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
        trainer(callbacks=[keep]).fit(straight, straight.loader(lab.Problems()))
        trainer(enable_checkpointing=False).fit(resumed, resumed.loader(lab.Problems()), ckpt_path=tmp_path / "step=2.ckpt")
        assert torch.equal(lab.weights(straight), lab.weights(resumed))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(traces="x", on_policy=on_policy()), "leave one of them null"),
        (dict(right_by=["x"]), r"only traces are filtered.*right_by=\['x'\] would be ignored"),
        (dict(on_policy=on_policy()), "needs a `teacher`"),
        (dict(on_policy=on_policy(), teacher="x", engine=None), "needs an `engine`"),
        (dict(traces="x", divergence="reverse"), "stage.teacher.*divergence=reverse would be ignored"),
        (dict(traces="x", mixture=0.3, temperature=2.0), "mixture=0.3, temperature=2.0 would be ignored"),
        (dict(on_policy=on_policy(), teacher="x", max_tokens=9, packing=True), "max_tokens=9, packing=True would be ignored"),
        (dict(on_policy=on_policy(), teacher="x", tokens_per_step=10), "tokens_per_step=10 would be ignored; leave it out"),
    ],
)  # fmt: skip
def test_combinations_of_which_a_part_would_be_ignored(lab, changes, message):
    with pytest.raises(ValueError, match=message):
        new(lab, **changes)


def test_a_mixture_belongs_to_jsd(lab, traces):
    with pytest.raises(ValueError, match="divergence=jsd"):
        new(lab, traces=traces, teacher=lab.policy(1), mixture=0.3)
    with pytest.raises(ValueError, match="temperature must be positive"):
        new(lab, traces=traces, teacher=lab.policy(1), temperature=0.0)
    with pytest.raises(ValueError, match="samples >= 1"):
        OnPolicy(Sampling(), samples=0)
