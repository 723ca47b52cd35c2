"""What goes wrong around a run: full disks, signals, other configs, damaged checkpoints. It goes on, or says what to do; nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from r1 import checkpoints
from r1.build import ConfigError, _run_dir, identity, save_config
from r1.run import plugins, train
from r1.stages import GRPO


def at_step(n: int, do: Any) -> None:
    """Call `do` when step n has been logged, in this process from now on."""
    real = GRPO.log_step

    def log_step(self: GRPO, values: dict[str, float]) -> None:
        real(self, values)
        if self.rollout_step == n:
            do()

    GRPO.log_step = log_step  # type: ignore[method-assign]


def same_as_whole(world: Any, run: Path) -> None:
    found = world.result(run)
    for what, value in world.whole("grpo").items():
        assert found[what] == value, what


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_costs_checkpoints_only(world: Any, tmp_path: Path) -> None:
    """Files of more than 4,000 bytes are refused from step 1 to step 5: no checkpoint, no further traces in their file. What waited is
    written when there is room again."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        at_step(1, lambda: limit_files(4_000))
        at_step(5, lambda: limit_files(resource.RLIM_INFINITY))
        at_step(5, lambda: (tmp_path / "seen").write_text(str(checkpoints.all_in(tmp_path / "run/checkpoints"))))
        train(world.config("grpo", tmp_path / "run"))

    assert world.in_a_fork(work) == 0
    assert (tmp_path / "seen").read_text() == "[]"  # nothing could be saved after steps 2 and 4
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path / "run/checkpoints")] == [6, 7]
    same_as_whole(world, tmp_path / "run")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_a_signal_ends_the_step_saves_and_leaves(world: Any, tmp_path: Path, number: int, status: int) -> None:
    def work() -> None:
        at_step(3, lambda: os.kill(os.getpid(), number))
        train(world.config("grpo", tmp_path / "run"))

    assert world.in_a_fork(work) == status
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path / "run/checkpoints")] == [2, 3]
    assert not (tmp_path / "run/summary.json").exists()  # it is not finished
    assert world.in_a_fork(lambda: train(world.config("grpo", tmp_path / "run"))) == 0
    same_as_whole(world, tmp_path / "run")


JOB = {
    "JOB_ID": "123",
    "JOB_NAME": "r1",
    "NTASKS": "1",
    "NTASKS_PER_NODE": "1",
    "NNODES": "1",
    "PROCID": "0",
    "LOCALID": "0",
    "NODEID": "0",
}


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a task that srun has started, the only one of its job."""
    for name, value in JOB.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_under_slurm_the_signal_before_the_end_of_a_job_saves_a_whole_step(world: Any, tmp_path: Path, slurm: None) -> None:
    """SIGUSR1 in the middle of step 2, before the first checkpoint: the step is finished and saved, and the requeued job goes on from it.
    Lightning's handler would save between two updates of the rollout, and take that up."""

    def work() -> None:
        real, calls = GRPO.optimise, 0

        def optimise(self: GRPO, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 4:  # two updates a step
                os.kill(os.getpid(), signal.SIGUSR1)
            return real(self, *args, **kwargs)

        GRPO.optimise = optimise  # type: ignore[method-assign]
        train(world.config("grpo", tmp_path / "run", "callbacks.checkpoint.every_n_steps=0"))

    assert world.in_a_fork(work) == 138
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path / "run/checkpoints")] == [2]
    assert not [*tmp_path.rglob("hpc_ckpt*")]
    assert world.in_a_fork(lambda: train(world.config("grpo", tmp_path / "run"))) == 0
    same_as_whole(world, tmp_path / "run")


def test_under_slurm_lightning_saves_nothing_of_its_own(world: Any, tmp_path: Path, slurm: None) -> None:
    def work() -> None:
        at_step(2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        train(world.config("grpo", tmp_path / "run", "callbacks.checkpoint=null"))

    assert world.in_a_fork(work) == -signal.SIGUSR1  # without our callback nobody listens
    assert not [*tmp_path.rglob("hpc_ckpt*")]


@pytest.mark.slow
def test_both_tasks_of_a_slurm_job_end_with_the_status_of_the_one_that_was_told(world: Any, tmp_path: Path, slurm: None) -> None:
    """srun hands on the highest status: with 143 from the task that had no signal yet the batch script would not requeue."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def task(rank: int) -> None:
        os.environ |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        if rank == 1:
            at_step(3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        train(world.config("grpo", tmp_path / "run", "trainer.devices=2", "+trainer.strategy=ddp"))

    other = os.fork()
    if not other:
        os._exit(world.in_a_fork(lambda: task(1)) % 256)
    assert world.in_a_fork(lambda: task(0)) == 138
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 138
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path / "run/checkpoints")] == [2, 3]


def test_a_save_of_lightnings_handler_is_refused(world: Any, tmp_path: Path) -> None:
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"")
    for ckpt_path in ("auto", "null"):
        with pytest.raises(ConfigError, match=r"hpc_ckpt_1\.ckpt was saved in the middle of a step"):
            train(world.config("grpo", tmp_path, f"ckpt_path={ckpt_path}"))


def test_the_plugins_of_a_config_stay_under_slurm(
    world: Any, tmp_path: Path, slurm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kinds(*given: str) -> list[str]:
        targets = ",".join(f"{{_target_: lightning.pytorch.plugins.{name}}}" for name in given)
        cfg = world.config("grpo", tmp_path, *([f"+trainer.plugins=[{targets}]"] if given else []))
        return [type(plugin).__name__ for plugin in plugins(cfg.trainer)]

    assert kinds() == ["SLURMEnvironment"]
    assert kinds("io.TorchCheckpointIO") == ["TorchCheckpointIO", "SLURMEnvironment"]
    assert kinds("environments.LightningEnvironment") == ["LightningEnvironment"]
    for name in ("RANK", "GROUP_RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "0")
    assert kinds() == []  # torchrun inside a job


@pytest.mark.slow
def test_a_second_signal_stops_at_once(world: Any, tmp_path: Path) -> None:
    def work() -> None:
        at_step(3, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)])
        train(world.config("grpo", tmp_path / "run"))

    assert world.in_a_fork(work) == 1
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path / "run/checkpoints")] == [2]
    assert world.in_a_fork(lambda: train(world.config("grpo", tmp_path / "run"))) == 0
    same_as_whole(world, tmp_path / "run")


@pytest.fixture
def stopped(world: Any, tmp_path: Path) -> Path:
    """A run that was told to stop after step 5: checkpoints of 4 and 5."""

    def work() -> None:
        at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(world.config("grpo", tmp_path / "run"))

    assert world.in_a_fork(work) == 143
    return tmp_path / "run"


def test_other_settings_are_refused_by_name_and_nothing_is_touched(world: Any, stopped: Path) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as refusal:
        train(world.config("grpo", stopped, "reward.weights.format=0.5", "optimizer.lr=0.02", "callbacks.traces.every_n_steps=2"))
    said = str(refusal.value)
    assert said.startswith("ckpt_path: the checkpoint belongs to a run with other settings")
    assert "reward.weights.format: 0.1 in the checkpoint, 0.5 now" in said
    assert "optimizer.lr: 0.01 in the checkpoint, 0.02 now" in said
    assert "traces" not in said  # what a run keeps is no part of what it is
    assert "ckpt_strict=false" in said
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before
    with pytest.raises(ConfigError, match="holds a run already"):
        train(world.config("grpo", stopped, "ckpt_path=null"))


@pytest.mark.slow
def test_other_settings_may_be_asked_for(world: Any, stopped: Path) -> None:
    def work() -> None:
        with pytest.warns(UserWarning, match=r"optimizer\.lr: 0\.01 in the checkpoint, 0\.02 now"):
            train(world.config("grpo", stopped, "optimizer.lr=0.02", "ckpt_strict=false"))

    assert world.in_a_fork(work) == 0
    assert json.loads((stopped / "summary.json").read_text())["steps"] == 7
    rates = [row["train/lr"] for row in world.result(stopped)["metrics"] if row["train/lr"]]
    assert [float(rate) for rate in rates] == [0.01] * 5 + [0.02] * 2  # not the rate that the optimiser's state brought
    assert world.result(stopped)["weights"] != world.whole("grpo")["weights"]


def test_a_run_that_was_killed_before_its_summary_sums_up_what_it_had_logged(world: Any) -> None:
    whole, run = world.whole("grpo"), world.folder / "grpo"
    before = json.loads((run / "summary.json").read_text())["metrics"]
    (run / "summary.json").unlink()
    assert world.in_a_fork(lambda: train(world.config("grpo", run, "optimized_metric=train/reward"))) == 0
    assert json.loads((run / "summary.json").read_text())["metrics"].keys() >= before.keys()
    assert world.result(run)["weights"] == whole["weights"]


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_the_steps_behind_the_one_before(world: Any, stopped: Path) -> None:
    newest = checkpoints.all_in(stopped / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert world.in_a_fork(lambda: train(world.config("grpo", stopped))) == 0
    same_as_whole(world, stopped)


@pytest.mark.slow
def test_when_no_checkpoint_can_be_read_nothing_is_overwritten(world: Any, stopped: Path) -> None:
    for path in checkpoints.all_in(stopped / "checkpoints"):
        path.write_bytes(b"\0" * 100)
    with (
        pytest.warns(UserWarning, match="Trying the one before"),
        pytest.raises(ConfigError, match="can be read; move the folder"),
    ):
        train(world.config("grpo", stopped))


@pytest.mark.slow
def test_a_checkpoint_may_be_continued_in_another_folder(world: Any, stopped: Path, tmp_path: Path) -> None:
    file = stopped / "checkpoints" / checkpoints.LAST
    assert world.in_a_fork(lambda: train(world.config("grpo", tmp_path / "other", f"ckpt_path={file}"))) == 0
    whole, found = world.whole("grpo"), world.result(tmp_path / "other")
    assert found["weights"] == whole["weights"]
    assert [row["step"] for row in found["metrics"] if row["train/loss"]] == ["6", "7"]


@pytest.mark.parametrize("keep", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_going_on_from_an_older_checkpoint_leaves_nothing_of_the_course_before(world: Any, tmp_path: Path, keep: int) -> None:
    """Back to step 2 of a finished run with another temperature, stopped after step 5, started again: as the same in a new folder."""
    run, other = tmp_path / "run", tmp_path / "other"
    assert world.in_a_fork(lambda: train(world.config("grpo", run, "callbacks.checkpoint.keep=0"))) == 0
    changes = ["stage.sampling.temperature=0.7", "ckpt_strict=false", f"callbacks.checkpoint.keep={keep}"]
    back = f"ckpt_path='{run}/checkpoints/step=000002.ckpt'"
    assert world.in_a_fork(lambda: train(world.config("grpo", other, *changes, back))) == 0

    def until_stopped() -> None:
        at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(world.config("grpo", run, *changes, back))

    assert world.in_a_fork(until_stopped) == 143
    steps = [2, 4, 5]
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(run / "checkpoints")] == steps[-keep:]
    assert (run / "checkpoints" / checkpoints.LAST).resolve().name == "step=000005.ckpt"
    assert not (run / "summary.json").exists()
    assert world.in_a_fork(lambda: train(world.config("grpo", run, *changes))) == 0
    found, wanted = world.result(run), world.result(other)
    assert found["weights"] == wanted["weights"] != world.whole("grpo")["weights"]
    assert found["metrics"][-len(wanted["metrics"]) :] == wanted["metrics"]


def test_a_finished_run_is_left_alone(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    world.whole("grpo")
    run = world.folder / "grpo"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert train(world.config("grpo", run, "optimized_metric=train/reward")) == pytest.approx(
        json.loads((run / "summary.json").read_text())["metrics"]["train/reward"]
    )
    assert "is finished (7 steps): there is nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize("part", [0, 0.01, 0.4, 0.8, 0.99])
def test_torn_files_of_a_run_are_made_again(world: Any, tmp_path: Path, part: float) -> None:
    """What an older version left of its small files when it was killed while it wrote them."""
    from r1.commands.train import main

    world.whole("grpo")
    run = shutil.copytree(world.folder / "grpo", tmp_path / "run", symlinks=True)
    for name in ("summary.json", "config.yaml", "manifest.json"):
        os.truncate(run / name, int((run / name).stat().st_size * part))
    assert world.in_a_fork(lambda: main([*world.overrides("grpo"), f"hydra.run.dir={run}"])) == 0
    same_as_whole(world, run)
    assert identity(OmegaConf.load(run / "config.yaml")) == identity(world.config("grpo", run))
    assert json.loads((run / "summary.json").read_text())["steps"] == 7
    assert json.loads((run / "manifest.json").read_text())


@pytest.mark.parametrize("torn", ["", "seed", "trainer:\n  accel", "stage: {", "- 1", "a: b\nc", "\0\0"])
def test_a_torn_config_is_no_config(world: Any, tmp_path: Path, torn: str) -> None:
    """ckpt_path=last passes over such a folder, and a run's own is written anew."""
    cfg = world.config("grpo", tmp_path / "new")
    file = tmp_path / "old" / "config.yaml"
    (file.parent / "checkpoints").mkdir(parents=True)
    file.write_text(torn)
    cfg.ckpt_path = "last"
    assert _run_dir(str(tmp_path), "new", _root_=cfg) == f"{tmp_path}/new"
    save_config(cfg, file.parent)
    assert _run_dir(str(tmp_path), "new", _root_=cfg) == str(file.parent)


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(world: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"paths\.run_dir: nothing can be written in"):
        train(world.config("grpo", tmp_path / "file" / "run"))

    def as_nobody() -> None:
        os.setuid(65534)
        with pytest.raises(ConfigError, match="Permission denied"):
            train(world.config("grpo", tmp_path / "closed"))

    (tmp_path / "closed").mkdir(mode=0o555)
    if os.getuid() == 0:
        assert world.in_a_fork(as_nobody) == 0


@pytest.mark.slow
def test_the_command_line_goes_on_where_it_was(world: Any, tmp_path: Path) -> None:
    """`r1 train ...` stopped, then the same command with ckpt_path=last: one folder, one run. Another config gets a folder of its own."""
    from r1.commands.train import main

    command = [*world.overrides("grpo"), f"paths.runs={tmp_path}", "name=again"]

    def until_stopped() -> None:
        at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        main(command)

    assert world.in_a_fork(until_stopped) == 143
    (run,) = (tmp_path / "again").iterdir()
    assert world.in_a_fork(lambda: main([*command, "ckpt_path=last"])) == 0
    assert [*(tmp_path / "again").iterdir()] == [run]
    same_as_whole(world, run)
    time.sleep(1.1)  # folders are named by the second
    assert world.in_a_fork(lambda: main([*command, "ckpt_path=last", "seed=1", "stage.steps=1"])) == 0
    assert len([*(tmp_path / "again").iterdir()]) == 2


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others(world: Any, tmp_path: Path) -> None:
    """Two gloo ranks; the second is killed in its third step. The first gets an error instead of waiting for ever."""

    def work() -> None:
        def die_on_the_second() -> None:
            if torch.distributed.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        at_step(3, die_on_the_second)
        train(world.config("grpo", tmp_path / "run", "trainer.devices=2", "+trainer.strategy=ddp_fork"))

    started = time.monotonic()
    status = world.in_a_fork(work)
    assert status not in (0, -signal.SIGKILL)
    assert time.monotonic() - started < 60
