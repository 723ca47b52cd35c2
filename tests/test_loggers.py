"""metrics.csv stays whole and goes on; W&B without key, server or answer costs a run a few seconds and nothing else."""

from __future__ import annotations

import csv
import socket
import threading
import time
from pathlib import Path

import pytest

from r1.loggers import CSVLogger, WandbLogger


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_may_come_late_and_a_second_logger_goes_on(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, save_every=1)
    logger.log_metrics({"train/loss": 0.1 + 0.2}, step=1)
    logger.log_metrics({"train/loss": 2.0, "eval/x": 0.5}, step=2)
    again = CSVLogger(tmp_path)
    again.log_metrics({"train/loss": 3.0}, step=3)
    assert len(rows(tmp_path)) == 2  # rows wait for the next save
    again.finalize("success")
    assert [row["train/loss"] for row in rows(tmp_path)] == ["0.30000000000000004", "2.0", "3.0"]  # every digit
    assert [row["eval/x"] for row in rows(tmp_path)] == ["", "0.5", ""]
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "eval/x,step,train/loss"


def test_a_row_torn_by_a_kill_is_left_out_when_the_file_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1,0.5\n2,0.2")  # the 2 of 0.25 was the last byte to arrive
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"train/kl": 1.0}, step=2)
    logger.save()
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [("1", "0.5"), ("2", "")]


def test_rows_wait_while_the_disk_refuses(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()  # nothing can be written there, not even by root
    logger = CSVLogger(tmp_path, save_every=1)
    with pytest.warns(UserWarning, match="rows wait in memory"):
        logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.log_metrics({"train/loss": 2.0}, step=2)  # said once
    (tmp_path / "metrics.csv").rmdir()
    logger.log_metrics({"train/loss": 3.0}, step=3)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3"]


@pytest.fixture
def silent_server():
    """It takes every connection and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["no key", "unreachable", "slow"])
def test_wandb_that_is_not_there_costs_ten_seconds_at_most(tmp_path, monkeypatch, capsys, silent_server, case) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if case != "no key":
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", silent_server if case == "slow" else "http://127.0.0.1:9")
    import wandb

    wandb.teardown()  # settings are read from the environment once
    logger = WandbLogger(tmp_path, offline=False, patience=4.0)
    started = time.monotonic()
    _ = logger.experiment
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"train/loss": 1.0}, step=1)
    logger.finish()
    seconds = time.monotonic() - started
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    assert "written to disk" in capsys.readouterr().out
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert seconds < 10 + 4  # a busy machine takes its time to start W&B's process


def test_an_error_while_logging_switches_wandb_off(tmp_path: Path) -> None:
    logger = WandbLogger(tmp_path)

    class Broken:
        id = "abc"

        def log(self, *args: object) -> None:
            raise RuntimeError("broken pipe")

        def finish(self) -> None:
            time.sleep(60)

    logger._experiment = Broken()
    with pytest.warns(UserWarning, match="W&B failed and is switched off for this run: broken pipe"):
        logger.log_metrics({"x": 1.0}, step=1)
    logger.log_metrics({"x": 1.0}, step=2)  # not tried again
    logger._off, logger.patience, started = False, 0.2, time.monotonic()
    logger.finish()
    assert time.monotonic() - started < 5


def test_a_late_step_is_not_dropped(tmp_path: Path) -> None:
    """Bug 48: W&B throws away what comes at an explicit step below its own. The step is a figure of the row, the x-axis of all."""
    sent: list[tuple[dict, dict]] = []

    class Experiment:
        def log(self, figures: dict, **how: object) -> None:
            sent.append((figures, how))

    logger = WandbLogger(tmp_path)
    logger._experiment = Experiment()
    logger.log_metrics({"train/loss": 1.0}, step=7)
    logger.log_metrics({"eval/x": 0.5}, step=5)
    assert sent == [({"train/loss": 1.0, "trainer/global_step": 7}, {}), ({"eval/x": 0.5, "trainer/global_step": 5}, {})]


def test_a_resumed_run_goes_on_in_its_wandb_run(tmp_path: Path) -> None:
    logger = WandbLogger(tmp_path)
    logger.resume("abc123")
    assert logger.version == "abc123"
    assert logger._wandb_init["id"] == "abc123"
    assert logger._wandb_init["resume"] == "allow"


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patience must be more than 0"):
        WandbLogger(tmp_path, patience=0)
    with pytest.raises(ValueError, match="save_every"):
        CSVLogger(tmp_path, save_every=0)
