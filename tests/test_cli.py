"""The command line: what is listed, how it fails, and that help costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1 import __main__ as cli
from r1.commands import doctor


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with two commands of its own."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/__init__.py").write_text("")
    (tmp_path / "commands/score.py").write_text('"""r1 score: grade a file.\n\nMore."""\nimport torch\n')
    (tmp_path / "commands/zeta.py").write_text('"""Do something new."""\n')
    (tmp_path / "demo.py").write_text('"""See it happen."""\n')
    monkeypatch.setattr(cli, "_HERE", tmp_path)
    return tmp_path


def test_a_command_is_a_file_and_its_docstring(commands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(cli.commands()) == ["demo", "score", "zeta"]  # the order people meet them in, then the rest
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "  demo   See it happen." in said
    assert "  score  grade a file." in said
    assert "train" not in said  # its file is missing here, so it is not offered


def test_an_unknown_command_is_answered_with_the_list(commands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["scroe"]) == 2
    said = capsys.readouterr().err
    assert "there is no command 'scroe'" in said
    assert "demo, score, zeta" in said


def test_no_command_shows_the_usage_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: r1 <command>" in capsys.readouterr().out


@pytest.mark.parametrize(("returned", "code"), [(3, 3), (0, 0), (None, 0), (0.75, 0), (True, 0)])
def test_only_an_int_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, returned: object, code: int) -> None:
    monkeypatch.setattr(doctor, "main", lambda argv: returned)  # a float is a sweeper's objective
    assert cli.main(["doctor"]) == code


def test_every_command_has_a_summary() -> None:
    found = cli.commands()
    assert {"train", "doctor"} <= set(found)
    for name, file in found.items():
        assert len(cli.summary(file)) > 10, f"{name}: the first line of its docstring is its line in r1 --help"


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "lightning", "transformers", "hydra", "pydantic", "rich", "numpy"]
    code = f"from r1.__main__ import main; import sys; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20).stdout
    assert out.splitlines()[-1] == "[]"


def test_a_hydra_command_answers_help_without_torch() -> None:
    code = "import sys, r1.commands.train as train\ntry: train.main(['--help'])\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Groups" in out
    assert out.splitlines()[-1] == "False"


def test_doctor_reports_versions_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"]["tested"] == "2.13.0"
    assert found["ok"] is True
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "lightning" else "1.0")
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    assert doctor.main([]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "lightning is missing: pip install" in said
    assert "torch 1.0 is not the tested 2.13.0" in said
    assert "apt-get install bubblewrap" in said
    assert "not ready" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "sweep", "jobs"),
    [("cpu", ["reward.weights.format=0,1", "seed=1,2"], 4), ("ddp_sim", ["seed=1,2"], 2)],
)
def test_a_sweep_finishes_and_its_runs_can_be_compared(tmp_path: Path, trainer: str, sweep: list[str], jobs: int) -> None:
    small = ["stage.steps=2", "stage.prompts_per_step=4", "stage.group_size=4", "callbacks.benchmark=null", "logger=csv"]
    fixed = [f"trainer={trainer}", "name=small", "hydra.sweep.dir=sweep", "print_config=false"]
    command = [sys.executable, "-m", "r1", "train", "-m", *sweep, *fixed, *small]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]  # the other ranks made no folders of their own
    columns = set()
    for job in range(jobs):
        columns.add((tmp_path / f"sweep/{job}/metrics.csv").read_text(encoding="utf-8").partition("\n")[0])
        assert json.loads((tmp_path / f"sweep/{job}/summary.json").read_text())["steps"] == 2
    assert len(columns) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "module"), [("joblib", "joblib"), ("submitit_local", "submitit")])
def test_other_launchers_run_sweeps_and_report(tmp_path: Path, launcher: str, module: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{module}_launcher", reason=f"the {launcher} launcher comes with the extra `sweep`")
    small = ["stage.steps=2", "stage.prompts_per_step=4", "stage.group_size=4", "callbacks.benchmark=null", "logger=csv"]
    fixed = [f"hydra/launcher={launcher}", "name=small", "hydra.sweep.dir=sweep", "print_config=false"]
    command = [sys.executable, "-m", "r1", "train", "-m", "reward.weights.format=0,1", "seed=0", *fixed, *small]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| reward.weights.format | seeds |" in done.stdout
    table = (tmp_path / "sweep/report.md").read_text(encoding="utf-8")
    assert "| 0 | 1/1 |" in table
    assert "| 1 | 1/1 |" in table
    assert "never started" not in table
    assert "1 finished seed in some cells" in table


@pytest.mark.slow
def test_optuna_searches_for_the_metric_it_is_told(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="pip install optuna && pip install --no-deps hydra-optuna-sweeper (docs/sweeps.md)")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    small = ["stage.steps=1", "stage.prompts_per_step=2", "stage.group_size=2", "callbacks.benchmark=null", "logger=csv"]
    search = [
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.direction=maximize",
        "hydra.sweeper.sampler.seed=1",
    ]
    command = [sys.executable, "-m", "r1", "train", "-m", *search, "optimizer.lr=interval(0.0001, 0.001)",
               "optimized_metric=train/completions/mean_length", "hydra.sweep.dir=sweep", "print_config=false", *small]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    best = (tmp_path / "sweep/optimization_results.yaml").read_text(encoding="utf-8")
    assert "optimizer.lr" in best
    assert "best_value" in best


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")]
)
def test_threads_do_not_spin_for_long_unless_the_user_says_so(given: dict[str, str], spins: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    code = "import os, r1; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spins


@pytest.mark.parametrize(
    ("command", "own"),
    [
        ("train", "r1 train -m reward.weights.format=0,0.1,1"),
        ("eval", "r1 eval policy.path="),
        ("audit", "r1 audit reward="),
        ("generate", "r1 generate data=rejection"),
        ("pipeline", "[status | why NODE]"),
    ],
)
def test_a_hydra_command_has_a_help_of_its_own(command: str, own: str) -> None:
    said = subprocess.run([sys.executable, "-m", "r1", command, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.replace("`", "").startswith(cli.summary(cli.commands()[command]))
    assert own in said
    assert ("r1 train experiment=<name>" in said) == (command == "train")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["", "train"])
def test_a_reader_that_leaves_is_no_error(command: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`r1 train --help | head -1`: also where all of it fits into Python's buffer and is written at the very end."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "r1", *command.split(), "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
