"""The training order through a real trainer: what Lightning asks of a loader, and what it puts back after a resume."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from r1.records import Problem
from r1.tasks.loader import StepLoader


class Recorder(lightning.LightningModule):
    """Remembers the ids of every step it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[str]] = []

    def transfer_batch_to_device(self, batch: list[Problem], device: torch.device, dataloader_idx: int) -> list[Problem]:
        return batch

    def training_step(self, batch: list[Problem], index: int) -> torch.Tensor:
        self.seen.append([problem.id for problem in batch])
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, epochs: int, stop: int = -1, resume: Path | None = None) -> list[list[str]]:
    """Ids of every step of a fit of `epochs` passes over a loader of 4 steps, stopped after `stop` steps."""
    problems = [Problem(f"p/{i}", f"question {i}") for i in range(10)]
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, max_steps=stop, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
        callbacks=[ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)],
    )  # fmt: skip
    trainer.fit(module, StepLoader(problems, per_step=3, steps=4, seed=5), ckpt_path=resume, weights_only=False)
    return module.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop", [3, 4, 6, 8])
def test_a_resumed_fit_sees_the_same_problems(tmp_path: Path, stop: int) -> None:
    """bug 47, and the trap beside it: Lightning never exhausts a sized loader. 4 and 8 are the last steps of a pass."""
    whole = fit(tmp_path / "whole", epochs=3)
    assert len(whole) == 12
    assert len({str(whole[i : i + 4]) for i in (0, 4, 8)}) == 3
    head = fit(tmp_path / "head", epochs=3, stop=stop)
    assert head + fit(tmp_path / "tail", epochs=3, resume=tmp_path / "head" / f"step={stop}.ckpt") == whole
