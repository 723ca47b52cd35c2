"""metrics.csv stays whole and goes on; W&B without key, server or answer costs a run a few seconds and nothing else."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Server(ThreadingHTTPServer):
    """W&B as it is when it is unwell: silent from the first word, or once it has let a run start."""

    daemon_threads = True

    def __init__(self, starts_runs: bool) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.open, self.starts_runs = threading.Event(), starts_runs
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def shutdown(self) -> None:
        self.open.set()
        super().shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.server.starts_runs or not self.path.endswith("/graphql") or b"createRunFiles" in query:
            self.server.open.wait()  # for ever, to the one who asks
            return
        project = {"id": "p", "name": "r1", "entity": {"id": "e", "name": "me"}}
        run = {"bucket": {"id": "r", "name": "run", "project": project}, "inserted": True}
        answer = json.dumps({"data": {"upsertBucket": run} if b"upsertBucket" in query else {"model": None}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Nothing."""


PROGRAM = """
import sys, time
import wandb
from r1.loggers import WandbLogger
print(time.monotonic(), flush=True)  # what comes before is not W&B's doing
logger = WandbLogger(sys.argv[1], offline=sys.argv[2] == "offline")
logger.log_hyperparams({"seed": 0})
for step in range(3):
    logger.log_metrics({"train/loss": 1.0}, step=step)
logger.finish()
"""


def seconds_of_a_program(folder: Path, mode: str, server: str = "", key: str = "x" * 40) -> tuple[float, str]:
    """From the logger to the end of the program, all that W&B does at exit and all that holds its output open included."""
    with_wandb = {"WANDB_MODE": mode, "WANDB_SILENT": "true", "WANDB_BASE_URL": server, "WANDB_API_KEY": key}
    env = os.environ | {name: value for name, value in with_wandb.items() if value} | {"NETRC": str(folder / "netrc")}
    env |= {"HOME": str(folder), "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    program = subprocess.run([sys.executable, "-c", PROGRAM, folder, mode], env=env, capture_output=True, text=True, timeout=120)
    ended = time.monotonic()
    assert program.returncode == 0, program.stderr
    assert "Traceback" not in program.stderr
    started, _, said = program.stdout.partition("\n")
    return ended - float(started), said


@pytest.fixture(scope="module")
def offline_seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    return seconds_of_a_program(tmp_path_factory.mktemp("offline"), "offline")[0]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["no key", "refused", "silent", "falls silent"])
def test_wandb_that_is_not_there_costs_ten_seconds_at_most(tmp_path: Path, offline_seconds: float, case: str) -> None:
    """Of the whole program, and every figure is on disk."""
    server = Server(starts_runs=case == "falls silent")
    url = "http://127.0.0.1:9" if case == "refused" else f"http://127.0.0.1:{server.server_port}"
    seconds, said = seconds_of_a_program(tmp_path, "online", url, key="" if case == "no key" else "x" * 40)
    server.shutdown()
    assert seconds - offline_seconds < 10
    assert "still uploading" in said if case == "falls silent" else "written to disk" in said
    (file,) = (tmp_path / "wandb").glob("run-*/*.wandb" if case == "falls silent" else "offline-run-*/*.wandb")
    assert b"train/loss" in file.read_bytes()


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
