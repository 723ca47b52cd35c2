"""Every file in conf/task names arguments that exist and builds what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from r1.build import build, plain
from r1.schema import validate

CONF = Path(__file__).resolve().parents[2] / "conf"
# train, validation, test problems
OFFLINE = {
    "pair_countdown": (1319, 188, 250), "pair_countdown_4": (2195, 309, 250), "countdown": (9998, 201, 501), "arithmetic": (10000, 200, 500),
    "tiny_general": (141, 30, 40), "tiny_helpful": (303, 69, 81), "tiny_safe": (251, 51, 74),
    "tiny_scenarios": (564, 218, 290), "arithmetic_long": (30000, 200, 500), "steps": (14281, 401, 1001),
}  # fmt: skip
WITH_DATA = {"aime24": 30, "aime25": 30, "aime26": 30, "math500": 500, "cmath": 600, "humaneval": 164, "mbpp": 427}
ELSEWHERE = {
    "mixture",
    "clean",
    "clean_aime",
    "gsm8k",
    "gpqa",
    "livecodebench",
    "competition",
    "documents",
    "gym",
    "base_corpus",
    "step_corpus",
    "preferences",
    "prompts",
    "scenarios",
}  # built below, or by a hub, a path, an extra


def config(name: str, *overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(overrides=[f"+task={name}", "+paths=default", "+seed=0", *overrides]).task


def test_every_file_is_listed_here() -> None:
    assert {file.stem for file in (CONF / "task").glob("*.yaml")} == {*OFFLINE, *WITH_DATA, *ELSEWHERE}


@pytest.mark.parametrize("name", [*WITH_DATA, *ELSEWHERE])
def test_keys_are_arguments(name: str) -> None:
    cfg = config(
        name,
        *(
            f"task.{key}=x"
            for key in {
                "competition": ["path"],
                "clean": ["task.path"],
                "clean_aime": ["task.path"],
                "documents": ["path"],
                "gym": ["dataset"],
                "prompts": ["path"],
                "scenarios": ["tasks.reasoning.path", "tasks.general.path"],
            }.get(name, [])
        ),
    )
    validate(plain(cfg))


@pytest.mark.parametrize("name", OFFLINE)
def test_generated_tasks(name: str) -> None:
    task = build(config(name))
    assert task.name == name
    assert (len(task.train), len(task.validation), len(task.test)) == OFFLINE[name]


@pytest.mark.parametrize("name", WITH_DATA)
def test_local_copies_are_found(data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("R1_DATA_DIR", str(data_dir))
    task = build(config(name))
    assert task.name == name
    assert len(task.test) == WITH_DATA[name]
    assert task.test[0].id.startswith(f"{name}/")
    assert task.test[0].language == ("zh" if name == "cmath" else "en")


def test_base_corpus_has_its_own_task() -> None:
    corpus = build(config("base_corpus", "task.size=50", "task.english=1.0", "task.mixed=0.0"))
    assert len(corpus.documents) == 50
    assert len(corpus.test) == 250
    assert "试" not in " ".join(d.body for d in corpus.documents)


def test_mixture_and_how_another_task_joins() -> None:
    sizes = ("task.tasks.countdown.size=30", "task.tasks.arithmetic.size=90")
    task = build(config("mixture", *sizes, "task.shares.countdown=1", "task.shares.arithmetic=3", "task.size=40"))
    assert sum(p.id.startswith("arithmetic") for p in task.train) == 30
    joined = config("mixture", "+task@task.tasks.pairs=pair_countdown", "+task.shares.pairs=1")
    assert joined.tasks.pairs._target_ == "r1.tasks.pair_countdown.PairCountdown"


def test_older_aime_without_newer(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R1_DATA_DIR", str(data_dir))
    task = build(config("clean_aime", f"task.task.path={data_dir}/aime1983_2023.jsonl", "task.task.validation=25"))
    assert (len(task.train), len(task.validation), len(task.leaks)) == (950, 25, 0)
