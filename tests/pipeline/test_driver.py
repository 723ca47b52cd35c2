"""The driver, on nodes that write one small file each: what runs, what is reused, what a failure leaves."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from r1.build import ConfigError
from r1.pipeline.changes import status_table, why
from r1.pipeline.driver import Driver, NodeFailed
from r1.pipeline.plan import Step
from r1.pipeline.recipe import Node, Recipe
from r1.pipeline.store import Store, content_hash

CONFIGS = {
    "base": {"size": 1},
    "zero": {"size": 2, "policy": {"path": "@base/hf"}},
    "student": {"teacher": "@zero/hf", "policy": {"path": "@base/hf"}},
    "alone": {"size": 9},
}


class Lab:
    """A store, and an `execute` that writes a model made of the config's numbers and of what its inputs hold."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran, self.broken, self.said = folder, [], set(), []

    def driver(self, **configs) -> Driver:
        steps = {name: Step(Node(name, "train"), CONFIGS[name] | configs.get(name, {})) for name in CONFIGS}
        recipe = Recipe("toy", {name: step.node for name, step in steps.items()})
        return Driver(recipe, steps, Store(self.folder / "store"), self.folder / "toy", self.execute, None, self.said.append)

    def execute(self, command: str, config: dict, folder: Path) -> None:
        name = folder.name.rpartition("-")[0]
        self.ran.append(name)
        (folder / "manifest.json").write_text("{}")
        if name in self.broken:
            (folder / "checkpoints").mkdir(exist_ok=True)
            raise RuntimeError("out of memory")
        parts = [str(config.get("size", 0) % 10)]
        for value in (config.get("teacher"), config.get("policy", {}).get("path")):
            parts += [(Path(value) / "weights").read_text()] if value else []
        (folder / "hf").mkdir(exist_ok=True)
        (folder / "hf" / "weights").write_text("+".join(parts))

    def run(self, *choice, **configs) -> list[str]:
        """Names of the nodes that this run made."""
        before = len(self.ran)
        self.driver(**configs).run(*choice)
        return self.ran[before:]

    def kinds(self, **configs) -> dict[str, str]:
        return {name: state.kind for name, state in self.driver(**configs).states().items()}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_nodes_run_once_in_order_and_link_to_what_they_made(lab):
    assert lab.run() == ["base", "zero", "student", "alone"]
    assert (lab.folder / "toy" / "student" / "hf" / "weights").read_text() == "0+2+1+1"
    assert lab.run() == []
    assert lab.said[-1].split()[:4] == ["[4/4]", "alone", "as", "it"]
    assert list(json.loads((lab.folder / "toy" / "pipeline.json").read_text())["nodes"]) == ["base", "zero", "student", "alone"]


def test_a_change_makes_its_node_and_what_builds_on_it_again(lab):
    lab.run()
    assert lab.kinds(zero={"size": 3}) == {"base": "done", "zero": "stale", "student": "stale", "alone": "done"}
    assert lab.run(zero={"size": 3}) == ["zero", "student"]
    assert lab.run() == []  # going back finds what was made then
    assert (lab.folder / "toy" / "zero" / "hf" / "weights").read_text() == "2+1"


def test_a_node_that_comes_out_the_same_leaves_what_builds_on_it_alone(lab):
    lab.run()
    assert lab.run(base={"size": 11}) == ["base"]  # 11 % 10 is 1: another config, the same weights


def test_names_and_folders_are_no_part_of_what_is_made(lab):
    lab.run()
    assert lab.run(base={"name": "another", "tags": ["x"], "paths": {"runs": "elsewhere"}, "logger": {"csv": None}}) == []


def test_a_failure_leaves_the_others_and_says_what_to_do(lab):
    lab.broken = {"zero"}
    with pytest.raises(NodeFailed, match="(?s)node zero failed: RuntimeError: out of memory.*goes on from its last checkpoint"):
        lab.driver().run()
    assert lab.kinds() == {"base": "done", "zero": "unfinished", "student": "waiting", "alone": "next"}
    (folder,) = (lab.folder / "store").glob("zero-*")
    assert "out of memory" in (folder / "error.txt").read_text()
    lab.broken = set()
    assert lab.run() == ["zero", "student", "alone"]
    assert not (folder / "error.txt").exists()
    assert lab.driver().states()["zero"].record.resumed
    assert not lab.driver().states()["base"].record.resumed


def test_a_signal_ends_the_pipeline_and_is_no_failure(lab):
    def stopped(command, config, folder):
        raise SystemExit(143)

    driver = lab.driver()
    driver.execute = stopped
    with pytest.raises(SystemExit):
        driver.run()
    assert lab.said[-1] == "stopped in base; started again, the pipeline goes on there"
    assert not list((lab.folder / "store").glob("*/error.txt"))
    assert lab.run() == ["base", "zero", "student", "alone"]


def test_an_output_that_was_not_written_is_a_failure(lab):
    lab.execute = lambda command, config, folder: None
    with pytest.raises(NodeFailed, match="there is no .*hf"):
        lab.driver().run()
    assert lab.kinds()["base"] == "unfinished"


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ((None, "zero", None), ["base", "zero"]),
        ((None, "alone", None), ["alone"]),
        ((None, None, "base"), ["base"]),
        (("base", "zero", None), ["base", "zero"]),
    ],
)
def test_a_part_of_a_recipe(lab, choice, made):
    assert lab.run(*choice) == made


def test_from_takes_what_comes_before_as_it_is(lab):
    lab.run()
    assert lab.run("zero", None, None, base={"size": 5}, zero={"size": 4}) == ["zero", "student"]
    assert (lab.folder / "toy" / "zero" / "hf" / "weights").read_text() == "4+1"  # on the base of size 1, though 5 is wanted now
    assert lab.kinds(base={"size": 5})["base"] == "stale"


def test_from_takes_the_newest_of_its_own_seed_and_says_which(lab):
    seeded = {name: {"seed": 0} for name in CONFIGS}
    lab.run(**seeded)
    lab.run(**({name: {"seed": 1} for name in CONFIGS} | {"base": {"seed": 1, "size": 3}}))
    lab.run("zero", None, None, **(seeded | {"base": {"seed": 0, "size": 5}, "zero": {"seed": 0, "size": 4}}))
    assert (lab.folder / "toy" / "zero" / "hf" / "weights").read_text() == "4+1"  # not on the 3 of seed 1, which is newer
    assert any(line.startswith("base is taken as it is, base-") for line in lab.said)
    with pytest.raises(ConfigError, match="node zero needs base, which is not done"):
        lab.run("zero", None, None, **{name: {"seed": 2} for name in CONFIGS})


def test_a_whole_folder_can_be_an_input(lab):
    lab.run(None, "base", None, student={"teacher": "@base"})
    assert lab.driver(student={"teacher": "@base"}).states()["base"].record.outputs.keys() == {"hf", ""}
    driver = lab.driver(student={"teacher": "@base"})
    driver._check_inputs("student", driver.states())  # the marker that came after the hash is not part of it
    (lab.folder / "toy" / "base" / "more").write_text("1")
    with pytest.raises(ConfigError, match="is not what base wrote there"):
        driver._check_inputs("student", driver.states())


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ((None, "zeroo", None), "until=zeroo: there is no such node; did you mean 'zero'"),
        ((None, None, "zero"), "node zero needs base, which is not done"),
        (("alone", "zero", None), "no node lies between"),
        (("zero", None, "zero"), "only=zero is one node"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(lab, choice, said):
    with pytest.raises(ConfigError, match=said):
        lab.driver().run(*choice)
    assert lab.ran == []


def test_an_input_that_was_tampered_with_is_refused(lab):
    lab.run(None, "base", None)
    (lab.folder / "toy" / "base" / "hf" / "weights").write_text("8")
    with pytest.raises(ConfigError, match="is not what base wrote there"):
        lab.driver().run()
    assert lab.ran == ["base"]


def test_an_output_that_is_gone_is_told(lab):
    lab.run(None, "base", None)
    (lab.folder / "toy" / "base" / "hf").rename(lab.folder / "elsewhere")
    with pytest.raises(ValueError, match="marked as done, but hf is gone"):
        lab.driver().states()


def test_a_folder_is_made_by_one_process_at_a_time(lab):
    driver = lab.driver()
    folder = driver.store.folder("base", str(driver.states()["base"].identity))
    with driver.store.lock(folder), pytest.raises(ValueError, match="being made by another process"):
        lab.driver().run()
    assert lab.ran == []


def test_why_names_what_has_changed(lab, tmp_path, monkeypatch):
    data = tmp_path / "problems.jsonl"
    data.write_text("1")
    lab.run(base={"data": str(data), "deep": {"a": 1, "b": 2}})
    data.write_text("2")
    told = "\n".join(why(lab.driver(base={"data": str(data), "deep": {"a": 5, "c": 3}}), "base"))
    assert "config  deep.a: 1 -> 5" in told
    assert "config  deep.b: 2 -> left out" in told
    assert "config  deep.c: 3, was not there" in told
    assert f"files   {data}: has other content" in told
    assert "size" not in told
    waiting = why(lab.driver(base={"size": 5}), "student")
    assert waiting[0].startswith("student waits for zero, base")
    assert any("config  size: 1 -> 5" in line for line in waiting)
    assert why(lab.driver(), "alone")[0].startswith("alone is done")


def test_status_shows_the_chosen_nodes_and_how_to_ask_about_a_stale_one(lab):
    from rich.console import Console

    lab.run()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(status_table(lab.driver(base={"size": 5}), ["base", "zero"], "store='my [store]' --config-dir c"))
    told = " ".join(console.export_text().split())
    assert "alone" not in told
    assert "done" not in told  # it is neither in a row nor explained
    assert "r1 pipeline why base store='my [store]' --config-dir c" in told


def test_status_shows_every_node_and_what_it_waits_for(lab):
    from rich.console import Console

    lab.run(None, "base", None)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status_table(lab.driver()))
    told = console.export_text()
    assert "waits for zero" in told
    assert [line.split()[2] for line in told.splitlines() if " train " in line] == ["done", "next", "waiting", "next"]


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path):
    for name, text in (
        ("one/a", "1"),
        ("one/sub/b", "2"),
        ("two/a", "1"),
        ("two/sub/b", "2"),
        ("three/a", "1"),
        ("three/sub/c", "2"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "two") != content_hash(tmp_path / "three")
    (tmp_path / "two" / "a").write_text("3")
    assert content_hash(tmp_path / "one") != content_hash(tmp_path / "two")
