"""Composing, checking and building configs: on a toy config folder, then on every file of the real one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from r1 import app, build, run
from r1.build import ConfigError
from r1.schema import problems, type_problem


class Part:
    def __init__(self, power: float = 1.0) -> None:
        if power < 0:
            raise ValueError(f"power must be at least 0, got {power}")
        self.power = power


class Stage:
    """Takes one of each kind of argument."""

    def __init__(
        self,
        policy: object,
        group_size: int,
        clip: tuple[float, float] = (0.2, 0.2),
        kind: Literal["token", "sequence"] = "token",
        parts: dict[str, Part] | None = None,
    ) -> None:
        self.policy, self.group_size, self.clip, self.kind, self.parts = policy, group_size, clip, kind, parts


class Frozen:
    """Counts how often it is built."""

    built = 0

    def __init__(self) -> None:
        Frozen.built += 1


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder with one group, and this module importable under the name that its nodes use."""
    files = {
        "train.yaml": """
            defaults: [_self_, stage: grpo, experiment: null]
            seed: 0
            name: toy
            paths: {runs: runs, run_dir: "${paths.runs}/${name}"}
            hydra: {run: {dir: "${paths.runs}/${name}"}, output_subdir: null}
            """,
        "stage/grpo.yaml": "{_target_: toy_targets.Stage, group_size: 4, parts: {easy: {_target_: toy_targets.Part, power: 1}}}",
        "stage/sft.yaml": "{_target_: toy_targets.Stage, group_size: '???'}",
        "experiment/wide.yaml": "# @package _global_\nstage: {group_size: 64}",
    }
    for name, text in files.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(" " * 12) for line in text.strip().splitlines()), encoding="utf-8")
    monkeypatch.setitem(sys.modules, "toy_targets", sys.modules[__name__])
    monkeypatch.setattr(build, "CONF", tmp_path / "conf")
    monkeypatch.setattr(app, "CONF", tmp_path / "conf")
    return tmp_path


# compose


def test_compose_resolves_and_takes_overrides(toy: Path) -> None:
    cfg = build.compose(overrides=["experiment=wide", "seed=7"])
    assert (cfg.stage.group_size, cfg.seed, cfg.paths.run_dir) == (64, 7, "runs/toy")
    assert build.compose(run_dir="elsewhere").paths.run_dir == "elsewhere"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stage.grop_size=8", ["stage has no 'grop_size'", "did you mean 'group_size'?", "group_size, parts"]),
        ("sede=1", ["the config has no 'sede'", "did you mean 'seed'?", "experiment"]),
        ("stage=grop", ["stage=grop", "did you mean 'grpo'?", "grpo, sft"]),
        ("stge=grpo", ["the config has no 'stge'", "did you mean 'stage'?"]),
        ("stage.parts.easy.powr=2", ["stage.parts.easy has no 'powr'", "did you mean 'power'?"]),
        ("+stage.grop_size=8", ["has no argument 'grop_size'", "did you mean 'group_size'?", "clip, kind, parts"]),
        ("stage.group_size=abc", ["stage.group_size='abc'", "expected int, got str"]),
        ("stage.group_size=4.5", ["expected int, got float"]),
        ("+stage.clip=[0.2,wide]", ["expected tuple[float, float]"]),
        ("+stage.kind=word", ["expected Literal['token', 'sequence']"]),
        ("stage.parts.easy.power=big", ["stage.parts.easy.power='big'", "expected float"]),
        ("stage._target_=toy_targets.Stagee", ["toy_targets has no 'Stagee'", "did you mean 'Stage'?"]),
        ("stage._target_=toy_targetz.Stage", ["there is no module 'toy_targetz'"]),
        ("stage=sft", ["stage.group_size has no default", "stage.group_size=..."]),
        ("ckpt_path=a/step=000040.ckpt", ["a value that holds '='", """ "ckpt_path='a/step=000040.ckpt'\""""]),
    ],
)
def test_a_wrong_override_is_answered_with_the_options(toy: Path, override: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        build.compose(overrides=[override])
    for words in said:
        assert words in str(error.value)


def test_a_wrong_key_is_explained_in_the_config_that_was_asked_for(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"stage has: _target_, group_size$"):
        build.compose(overrides=["stage=sft", "stage.parts=null"])  # only grpo.yaml has parts


def test_every_problem_is_said_at_once() -> None:
    node = {"_target_": f"{__name__}.Part", "power": "x", "speed": 1}
    sys.modules.setdefault(__name__, sys.modules[Part.__module__])
    found = list(problems({"a": node, "b": [node]}))
    assert [line.split(":")[0] for line in found] == ["a.power='x'", "a.speed=1", "b[0].power='x'", "b[0].speed=1"]


def test_validation_builds_nothing(toy: Path) -> None:
    before = Frozen.built
    assert not list(problems({"x": {"_target_": "toy_targets.Frozen"}}))
    assert Frozen.built == before


@pytest.mark.parametrize(
    ("value", "hint", "fine"),
    [
        (1, float, True),
        ("1", float, False),
        (float("inf"), float, True),
        (1.0, int, False),
        (True, int, False),
        (1, bool, False),
        (7, str, False),
        (None, int | None, True),
        (None, int, False),
        ([1, 2], tuple[int, ...], True),
        ([1, "b"], Sequence[int], False),
        ({"a": 1}, dict[str, float], True),
        ({"a": "b"}, dict[str, float], False),
        ("data", Path, True),
        ("anything", Stage, True),  # not a simple type: the constructor will judge
        ({"_target_": "x.Y"}, int, True),  # what it builds is not known before it is built
    ],
)
def test_simple_types_are_checked(value: object, hint: object, fine: bool) -> None:
    assert (type_problem(value, hint) is None) == fine


# build


def test_build_passes_extras_untouched_and_plain_containers(toy: Path) -> None:
    policy = [object()]
    stage = build.build(build.compose(overrides=["+stage.clip=[0.2,0.3]"]).stage, policy=policy)
    assert stage.policy is policy
    assert type(stage.clip) is list
    assert type(stage.parts) is dict
    assert stage.parts["easy"].power == 1


def test_build_names_what_is_missing_or_refused(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"stage: toy_targets\.Stage needs policy: <class 'object'>; set stage\.policy="):
        build.build(build.compose().stage)
    bad = build.compose(overrides=["stage.parts.easy.power=-1"])
    with pytest.raises(ConfigError, match=r"stage\.parts\.easy: power must be at least 0, got -1"):
        build.build(bad.stage, policy=None)
    with pytest.raises(ConfigError, match=r"power must be at least 0, got -2"):
        build.build({"_target_": "toy_targets.Part", "power": -2})


def test_build_all_leaves_out_null(toy: Path) -> None:
    group = OmegaConf.create({"a": {"_target_": "toy_targets.Part", "power": 2}, "b": None})
    assert [part.power for part in build.build_all(group)] == [2]
    assert list(build.build_named(group)) == ["a"]
    assert build.build(None) is None
    assert build.build_all(None) == []


def test_partial_nodes_wait_for_their_last_argument(toy: Path) -> None:
    make = build.build(OmegaConf.create({"_target_": "toy_targets.Stage", "_partial_": True, "group_size": 2}))
    assert make(policy="p").group_size == 2


# hydra_app


@app.hydra_app("train")
def train(cfg):
    return cfg.stage.group_size * (cfg.seed + 1)


def test_a_command_runs_and_stores_its_config(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    assert train(["seed=2"]) == 12
    stored = OmegaConf.load(toy / "runs/toy/config.yaml")
    assert stored.seed == 2
    assert stored.paths.run_dir == str(toy / "runs/toy")


def test_a_wrong_override_ends_a_command_with_a_message(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(toy)
    with pytest.raises(SystemExit) as stop:
        train(["sede=1"])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "did you mean 'seed'?" in said
    assert "Traceback" not in said
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="Could not override"):
        train(["sede=1"])


@app.hydra_app("train")
def stumble(cfg):
    raise ZeroDivisionError("a mistake of ours")


def test_the_traceback_of_a_failure_begins_in_the_command(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    with pytest.raises(ZeroDivisionError) as error:
        stumble([])
    files = [Path(entry.path).name for entry in error.traceback]
    assert files[-1] == "test_config.py"
    assert "hydra" not in {Path(entry.path).parts[-2] for entry in error.traceback[-2:]}
    assert len(files) <= 4  # without the trimming there are a dozen frames of Hydra


def test_a_sweep_runs_every_combination(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    train(["-m", "stage.group_size=2,3", "seed=1,2", "hydra.sweep.dir=sweep"])
    stored = [OmegaConf.load(toy / f"sweep/{i}/config.yaml") for i in range(4)]
    assert [(c.stage.group_size, c.seed) for c in stored] == [(2, 1), (2, 2), (3, 1), (3, 2)]


REPORTED: list[Path] = []


@app.hydra_app("train", after_sweep=REPORTED.append)
def third_seed_fails(cfg):
    if cfg.seed == 2:
        raise ZeroDivisionError("a mistake of ours")
    return cfg.seed


def test_a_sweep_ends_with_its_report_also_when_a_job_failed(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = (toy / "conf/train.yaml").read_text(encoding="utf-8")
    (toy / "conf/train.yaml").write_text(
        default.replace("output_subdir: null", "output_subdir: null, callbacks: {folder: {_target_: r1.app.SweepFolder}}")
    )
    monkeypatch.chdir(toy)
    third_seed_fails(["seed=0"])
    assert REPORTED == []  # no sweep, no report
    third_seed_fails(["-m", "seed=0,1", "hydra.sweep.dir=fine"])
    with pytest.raises(ZeroDivisionError):
        third_seed_fails(["-m", "seed=1,2,3", "hydra.sweep.dir=broken"])
    assert list(map(str, REPORTED)) == ["fine", "broken"]
    assert (toy / "broken/2/config.yaml").exists()  # the job after the failed one ran


@app.hydra_app("train")
def rank_zero(cfg):
    os.environ.update(LOCAL_RANK="0", WORLD_SIZE="2")  # what Lightning leaves in the process that starts the other ranks
    return os.environ["R1_RUN_DIR"], sys.argv[1:]


def test_a_distributed_job_leaves_nothing_to_the_next_job(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    run_dir, argv = rank_zero(["-m", "seed=1,2", "hydra.sweep.dir=sweep", "--config-dir", str(toy / "conf")])
    # The last job of the sweep: the ranks it starts are told its own overrides and folder, not the sweep's.
    assert argv == [rank_zero.__module__.rpartition(".")[2], "--config-dir", str(toy / "conf"), "seed=2"]
    assert run_dir == str(toy / "sweep/1")
    assert not {"LOCAL_RANK", "WORLD_SIZE", "R1_RUN_DIR"} & os.environ.keys()


def test_a_rank_works_in_the_folder_of_the_first_and_writes_no_config(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("R1_RUN_DIR", str(toy / "of rank 0"))
    assert folder([]) == str(toy / "of rank 0")
    assert not (toy / "of rank 0/config.yaml").exists()


@app.hydra_app("train")
def folder(cfg):
    return cfg.paths.run_dir


# the real configs

CONFIGS = Path(__file__).resolve().parent.parent / "conf"
NEEDS = {"policy.path": "some/folder", "task.path": "some.jsonl", "stage.traces": "some.jsonl"}


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def compose_real(*overrides: str, config_name: str = "train") -> DictConfig:
    """Compose; what a file leaves to the user (???) is given a value, once it has been said that it is missing."""
    try:
        return build.compose(config_name, overrides)
    except ConfigError as error:
        missing = re.findall(r"^(\S+) has no default", str(error), flags=re.MULTILINE)
        if not missing:
            raise
        return build.compose(config_name, [*overrides, *(f"{key}={NEEDS.get(key, 'given')}" for key in missing)])


@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_composes_and_says_what_it_asks(name: str) -> None:
    text = (CONFIGS / f"experiment/{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n# "), "an experiment begins with its package and the question it asks"
    cfg = compose_real(f"experiment={name}")
    assert cfg.name != "train", "an experiment names its runs"
    assert cfg.policy.get("dtype", "float32") == "float32", "weights that learn are float32"
    assert isinstance(build.plain(cfg), dict)


@pytest.mark.parametrize("name", options("sweep"))
def test_every_sweep_composes_and_says_what_it_asks(name: str) -> None:
    """A sweep that fails in its last job for a misspelt key is found here, and not after hours."""
    text = (CONFIGS / f"sweep/{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n# "), "a sweep begins with its package and the question it asks"
    file = OmegaConf.load(CONFIGS / f"sweep/{name}.yaml")
    assert file.hydra.mode == "MULTIRUN"
    params = {key: str(value).split(",") for key, value in file.hydra.sweeper.params.items()}
    assert len(params["seed"]) >= 3, "fewer seeds cannot tell settings apart"
    assert set(params.get("experiment", [])) <= set(options("experiment"))
    (command,) = [line for line in text.splitlines() if line.startswith("# r1 train ")]
    overrides = re.findall(r"\S+=\S+", command.partition("   (")[0])
    compose_real(
        *[o.replace("=...", "=/somewhere") for o in overrides if not o.startswith("hydra")]
    )  # the command as it is written
    last = {"experiment": "kl_k3"} | {key: values[-1] for key, values in params.items()}
    cfg = compose_real(*(f"{key}={value}" for key, value in last.items()))
    del last["experiment"]
    found = {key: OmegaConf.select(cfg, key, throw_on_missing=True) for key in last}
    assert {key: str(value).removesuffix(".0") for key, value in found.items()} == last


GROUPS = [
    g.name for g in sorted(CONFIGS.iterdir()) if g.is_dir() and g.name not in ("data", "experiment", "hydra", "recipe", "sweep")
]


@pytest.mark.parametrize("turn", range(max(len(options(group)) for group in GROUPS if group != "benchmark")))
def test_every_option_of_every_group_composes(turn: int) -> None:
    """The n-th option of every group at once: as many configs as the largest group has options, and each option in one."""
    chosen = {group: options(group)[turn % len(options(group))] for group in GROUPS if options(group)}
    chosen["benchmark"] = f"[{','.join(options('benchmark')) if turn == 0 else chosen['benchmark']}]"
    if "/objective@" not in (CONFIGS / f"stage/{chosen['stage']}.yaml").read_text(encoding="utf-8"):
        chosen["stage"] = chosen["stage"] if turn < len(options("stage")) else "grpo"
    if chosen["stage"] != "grpo":  # the stage brings these two; others have none to override
        del chosen["objective"], chosen["advantage"]
    compose_real(*(f"{group}={option}" for group, option in chosen.items()))


def test_eval_composes() -> None:
    assert compose_real(config_name="eval").name == "eval"


def test_a_sweep_over_weights_and_seeds_has_jobs_that_differ_in_these_alone() -> None:
    jobs = [compose_real(f"reward.weights.format={w}", f"seed={s}") for w in (0, 1) for s in (1, 2)]
    assert [(job.reward.weights.format, job.seed) for job in jobs] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    low, high = (build.plain(job) for job in (jobs[0], jobs[2]))  # the same seed
    assert low.pop("reward")["weights"] != high.pop("reward")["weights"]
    assert low == high


def test_a_misspelt_weight_is_answered_with_the_weights_there_are() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'format'\?\nreward\.weights has: .*format"):
        build.compose(overrides=["reward.weights.fromat=1"])


@pytest.mark.parametrize("name", ["{a:1}", "[1,2]", "../x", "/x"])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ConfigError, match="part of the run folder's path"):
        build.compose(overrides=[f"name={name}"])
    with pytest.raises(ConfigError, match=r"policy=\[1,2\]: a group takes the name of a file"):
        build.compose(overrides=["policy=[1,2]"])
    with pytest.raises(ConfigError, match="name=1: expected str"):
        build.compose(overrides=["name=1"])


def test_an_adapter_with_sharded_weights_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    chosen = ["policy=hf", f"policy.path={tmp_path}/nowhere", "policy/lora=default", f"paths.run_dir={tmp_path}"]
    with pytest.raises(ConfigError, match=r"policy/lora with sharded weights.*\n*.*trainer=ddp"):
        run.train(compose_real("trainer=fsdp2_sim", *chosen))
    with pytest.raises(Exception, match="nowhere"):  # with ddp it gets as far as the model
        run.train(compose_real("trainer=ddp_sim", *chosen))


def test_wandb_is_offline_until_someone_says_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert build.wandb_offline()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret")
    assert not build.wandb_offline()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert build.wandb_offline()
    monkeypatch.setenv("WANDB_MODE", "online")
    assert not build.wandb_offline()


@pytest.mark.parametrize("name", ["clip", "group_size"])
def test_a_sweep_of_experiments_does_not_lose_them_to_one_on_the_command_line(name: str, capsys) -> None:
    with pytest.raises(SystemExit):
        train(["experiment=tiny_short", f"sweep={name}", "policy.path=x"])
    said = capsys.readouterr().err
    assert f"sweep={name} compares experiments itself (tiny_r1_zero," in said


def test_an_empty_mapping_says_how_a_key_is_added() -> None:
    with pytest.raises(ConfigError, match=r"reward\.starts is empty so far: \+reward\.starts\.format=1 adds a key"):
        build.compose(overrides=["experiment=tiny_r1_zero", "policy.path=x", "reward.starts.format=1"])


def test_a_machine_without_a_gpu_is_told_by_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="trainer: .*gpu"):
        build.build(compose_real("trainer=gpu").trainer)


def test_a_key_that_only_a_swept_group_has_is_explained(capsys) -> None:
    with pytest.raises(SystemExit):
        train(["-m", "experiment=dapo,no_format", "policy.path=x"])
    assert "policy.path=x: a sweep is composed once without the groups that it sweeps over" in capsys.readouterr().err
