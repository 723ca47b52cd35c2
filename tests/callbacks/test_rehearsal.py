"""Out of memory is found before the first step, and a rehearsal that succeeds leaves no trace."""

from __future__ import annotations

import os
import resource
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from r1_kernels import Objective

from r1.callbacks import RehearsalCallback
from r1.losses import advantages
from r1.policy.tiny import tiny_policy
from r1.rewards import Repetition, Reward
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine
from r1.stages import GRPO, SFT
from r1.stages.examples import Example, ExampleLoader
from r1.stages.optimizers import adamw
from r1.tasks.loader import StepLoader
from r1.tasks.pair_countdown import PairCountdown
from r1.tasks.words import vocabulary


def grpo(**changes: int) -> GRPO:
    policy = tiny_policy(vocabulary(), hidden=16, layers=1, heads=2, inner=24, max_length=4096)
    return GRPO(
        policy, Reward({"repetition": Repetition(n=1)}, {"repetition": 1.0}), HFEngine(policy), Objective(kl="k3", beta=0.01),
        partial(advantages, normalise="group_std"), partial(adamw, lr=1e-2), Sampling(max_new_tokens=changes.pop("max_new_tokens", 8)),
        **{"steps": 2, "prompts_per_step": 4, "group_size": 4, "micro_tokens": 128, **changes},
    )  # fmt: skip


def fit(stage, callback: RehearsalCallback | None) -> torch.Tensor:
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[callback] if callback else [],
    )  # fmt: skip
    trainer.fit(stage, stage.loader(PairCountdown()))
    return torch.cat([p.detach().flatten() for p in stage.policy.parameters()])


@pytest.mark.filterwarnings("ignore")
def test_a_rehearsal_changes_nothing() -> None:
    plain, rehearsed = fit(grpo(), None), fit(grpo(), RehearsalCallback("always"))
    assert torch.equal(plain, rehearsed)


def test_the_batch_is_the_largest_there_can_be() -> None:
    stage = grpo(max_new_tokens=20)
    loader = stage.loader(PairCountdown())
    longest = max(len(stage.policy.encode(problem)) for problem in loader.items)
    (batch,) = stage.rehearsal(loader)
    assert batch.tokens.shape == (128 // (longest + 20), longest + 20)
    assert batch.ref_logp is not None
    assert float(batch.weight.sum()) > 0
    (one_row,) = grpo(max_new_tokens=200).rehearsal(loader)  # a row that is longer than micro_tokens still goes alone
    assert len(one_row) == 1


def test_supervised_stages_take_the_longest_example() -> None:
    policy = tiny_policy(vocabulary(), hidden=16, layers=1, heads=2, inner=24)
    stage = SFT(policy, partial(adamw, lr=1e-2), steps=1, tokens_per_step=100, micro_tokens=60)
    stage._trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    loader = ExampleLoader([Example([3, 4], [5] * n) for n in (3, 18, 7)], 100, steps=1)
    (batch,) = stage.rehearsal(loader)
    assert batch.tokens.shape == (3, 20)  # 60 tokens of 20 each
    assert stage.rehearsal(StepLoader([1], 1, steps=1)) == []  # distillation on what the student samples


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_out_of_memory_is_said_at_step_0(tmp_path: Path) -> None:
    """With 128 MB more than what is in use, 250 rows of 2,000 tokens do not fit: 32 MB for every [B, L, 16]. For real, in a fork."""
    stage = grpo(micro_tokens=500_000, max_new_tokens=2_000, group_size=64)
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, resource.RLIM_INFINITY))
            fit(stage, RehearsalCallback("always"))
        except ValueError as error:
            (tmp_path / "said").write_text(str(error))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = (tmp_path / "said").read_text()
    assert "the memory does not suffice for the largest micro-batch of this run" in said
    assert "Lower stage.micro_tokens" in said


def test_other_errors_are_not_called_memory() -> None:
    stage = grpo()
    stage.loss = lambda batch: (_ for _ in ()).throw(RuntimeError("shape mismatch"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        RehearsalCallback("always").rehearse(stage, stage.loader(PairCountdown()))


def test_when_is_checked() -> None:
    with pytest.raises(ValueError, match="gpu, always or never"):
        RehearsalCallback("sometimes")  # type: ignore[arg-type]
