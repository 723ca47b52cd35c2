"""Supervised stages: what is learned, from which rows, and that learning works."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from r1 import metrics
from r1.records import Problem
from r1.stages import SFT
from r1.stages.optimizers import adamw
from r1.tasks.corpus import Document
from r1.tasks.documents import Lesson

DOCUMENTS = [
    Document(f"User : use {a} Assistant :", " ".join(["good"] * (1 + i % 3) + ["bad"]), "sheet") for i, a in enumerate("123123")
]


def task(documents=DOCUMENTS) -> SimpleNamespace:
    return SimpleNamespace(documents=documents)


def new_sft(lab, **changes) -> SFT:
    return SFT(**{"policy": lab.policy(), "optimizer": partial(adamw, lr=1e-2), "steps": 3, "tokens_per_step": 40, **changes})


def test_the_body_and_its_end_are_learned_and_the_prompt_is_not(lab):
    """Bugs 2 (mask shifted by one) and 7 (the end of sequence left out): weights sit on the body's tokens and the end."""
    stage = new_sft(lab, steps=1, tokens_per_step=1000)
    seen = []
    stage.loss = lambda batch, loss=stage.loss: seen.append(batch) or loss(batch)
    lab.fit(stage, task())
    learned = [int(i) for batch in seen for i in batch.targets[batch.weight > 0]]
    words = stage.policy.tokenizer.convert_ids_to_tokens(learned)
    assert sorted(set(words)) == ["<eos>", "bad", "good"]
    assert words.count("<eos>") == words.count("bad") == 6
    assert sum(float(batch.weight.sum()) for batch in seen) == pytest.approx(1.0)


def test_the_prompt_is_learned_where_asked(lab):
    stage = new_sft(lab, steps=1, tokens_per_step=1000, train_on_prompt=True)
    seen = []
    stage.loss = lambda batch, loss=stage.loss: seen.append(batch) or loss(batch)
    lab.fit(stage, task())
    words = stage.policy.tokenizer.convert_ids_to_tokens([int(i) for batch in seen for i in batch.targets[batch.weight > 0]])
    assert words.count("Assistant") == 6
    assert words.count("User") == 0  # the first token has nothing before it


@pytest.mark.parametrize("micro_tokens", [10, 20, 1000])
def test_micro_batches_change_nothing(lab, micro_tokens):
    """Bug 15."""
    stage = new_sft(lab, micro_tokens=micro_tokens, optimizer=lab.sgd)
    lab.fit(stage, task())
    reference = new_sft(lab, optimizer=lab.sgd)
    lab.fit(reference, task())
    assert torch.allclose(lab.weights(stage), lab.weights(reference), atol=1e-6)


@pytest.mark.parametrize("micro_tokens", [24, 1000])
def test_packing_changes_nothing(lab, micro_tokens):
    """Positions that restart keep the documents of a row apart: the weights are those of padded rows."""
    packed, padded = (
        new_sft(lab, max_tokens=24, optimizer=lab.sgd, **o) for o in (dict(packing=True, micro_tokens=micro_tokens), {})
    )
    lab.fit(packed, task()), lab.fit(padded, task())
    assert torch.allclose(lab.weights(packed), lab.weights(padded), atol=1e-5)


def test_it_learns(lab):
    stage = new_sft(lab, steps=60, tokens_per_step=100)
    losses = []
    stage.log_step = lambda values, log=stage.log_step: losses.append(values[metrics.LOSS]) or log(values)
    lab.fit(stage, task())
    assert losses[0] > 2.0
    assert losses[-1] < 0.8


def test_lessons_go_through_the_template(lab):
    stage = new_sft(lab)
    (example,) = stage.examples(task([Lesson(Problem("p", "use 1"), "good")]))
    assert stage.policy.tokenizer.convert_ids_to_tokens(example.prompt_ids) == ["User", ":", "use", "1", "Assistant", ":"]
    assert stage.policy.tokenizer.convert_ids_to_tokens(example.completion_ids) == ["good", "<eos>"]


def test_long_examples_are_left_out_and_counted(lab, capsys):
    documents = [*DOCUMENTS, Document("User :", " ".join(["good"] * 30), "sheet")]
    assert len(new_sft(lab, max_tokens=12).loader(task(documents)).examples) == 6
    assert "left out 1 of 7" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [dict(epochs=1), dict(steps=None)])
def test_steps_or_epochs(lab, changes):
    with pytest.raises(ValueError, match="either `steps` or `epochs`"):
        new_sft(lab, **changes)
