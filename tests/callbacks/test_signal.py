"""train/signal/<part> for a module that r1 does not know, and sentences that come seldom."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from r1.analysis.attribution import Signal
from r1.callbacks import SignalCallback
from r1.callbacks.signal import _over_ranks
from r1.losses import advantages
from r1.records import Group, Problem, Score, Trace

WEIGHTS = {"accuracy": 1.0, "format": 0.1}


def group(name: str, accuracy: tuple[float, ...], form: tuple[float, ...]) -> Group:
    problem = Problem(name, "?")
    scores = [Score(a + 0.1 * f, {"accuracy": a, "format": f}, WEIGHTS) for a, f in zip(accuracy, form, strict=True)]
    return Group(problem, tuple(Trace(problem, [1], [2], [-0.1], "", "stop", score=score) for score in scores))


class Toy(LightningModule):
    """Six steps of anything."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def train_dataloader(self):
        return DataLoader(torch.ones(6, 1), batch_size=1)


class Sampling(Toy):
    """Three groups where only format differs and one where only accuracy does: format has 3 / 4 of the squares. Every third
    step is silent."""

    rollout_step = 0

    def training_step(self, batch, batch_idx):
        self.rollout_step += 1
        only_format = [group(f"f{i}", (0, 0), (1, 0)) for i in range(3)]
        groups = [group("s", (1, 1), (1, 1))] if self.rollout_step % 3 == 0 else [*only_format, group("a", (1, 0), (1, 1))]
        self.last_groups = advantages(groups)
        return super().training_step(batch, batch_idx)


def fit(module: LightningModule, folder, callback: SignalCallback) -> dict[str, dict[int, float]]:
    Trainer(
        accelerator="cpu", max_epochs=1, logger=CSVLogger(folder, name="", version=""), callbacks=[callback], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=50,
    ).fit(module)  # fmt: skip
    found: dict[str, dict[int, float]] = {}
    file = folder / "metrics.csv"
    for row in csv.DictReader(file.open()) if file.exists() else ():
        for name, value in row.items():
            if value and name.startswith("train/signal/"):
                found.setdefault(name, {})[int(float(row["step"]))] = float(value)
    return found


def test_shares_are_logged_every_step_and_hints_every_fourth(tmp_path, capsys):
    logged = fit(Sampling(), tmp_path, SignalCallback(hint_every_n_steps=4))
    steps = [1, 2, 4, 5]  # 3 and 6 have no signal to share
    assert logged["train/signal/accuracy"] == pytest.approx(dict.fromkeys(steps, 0.25))
    assert logged["train/signal/format"] == pytest.approx(dict.fromkeys(steps, 0.75))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("signal")]
    assert said == [
        "signal, up to step 4: 75 % of the update comes from format (weight 0.1); 75 % in groups where nothing else differs"
    ]


def test_each_hint_is_about_the_steps_since_the_last(tmp_path, capsys):
    """Step 3 alone is silent, steps 1 and 2 are not: looked at one by one, five of six lines are about the format."""
    fit(Sampling(), tmp_path, SignalCallback(hint_every_n_steps=1))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("signal")]
    assert [line.partition(": ")[2][:4] for line in lines] == ["75 %", "75 %", "no g", "75 %", "75 %", "no g"]


def test_hints_can_be_switched_off(tmp_path, capsys):
    assert fit(Sampling(), tmp_path, SignalCallback(hint_every_n_steps=0))
    assert "signal" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="hint_every_n_steps must be 0"):
        SignalCallback(hint_every_n_steps=-1)


def test_modules_without_rollouts_log_nothing(tmp_path, capsys):
    assert fit(Toy(), tmp_path, SignalCallback(hint_every_n_steps=1)) == {}
    assert "signal" not in capsys.readouterr().out


def test_ranks_are_added_up(monkeypatch):
    """This rank: 2 squares, all format's; the other: 6, all accuracy's. Together a quarter is format's."""
    own = Signal(1, 0, 2, 0, 2.0, {"format": 2.0}, {}, {}, WEIGHTS)
    other = Signal(3, 0, 6, 0, 6.0, {"accuracy": 6.0}, {}, {}, WEIGHTS)

    def gather(parts, mine):
        parts[:] = [mine, other]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    both = _over_ranks(SimpleNamespace(world_size=2), own)
    assert both.shares == {"accuracy": 0.75, "format": 0.25}
    assert _over_ranks(SimpleNamespace(world_size=1), own) is own
