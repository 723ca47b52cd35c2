"""From a recipe to steps: real configs, composed before anything runs."""

from __future__ import annotations

import pytest

from r1.build import ConfigError, compose, plain
from r1.commands.pipeline import _overrides, main
from r1.pipeline.plan import file_digest, identity, plan
from r1.pipeline.recipe import read_recipe
from r1.pipeline.sources import digests
from r1.pipeline.store import Record, Store

NODES = {
    "base": {"set": ["experiment=tiny_base"]},
    "zero": {"set": ["experiment=tiny_r1_zero", "policy.path=@base/hf"]},
}


def steps(searchpath=(), **nodes):
    return plan(read_recipe({"name": "toy", "nodes": NODES | nodes}), searchpath)


def test_a_config_is_composed_with_its_folders_still_open():
    found = steps()
    assert list(found) == ["base", "zero"]
    assert found["zero"].inputs == [("base", "hf")]
    assert found["zero"].config["callbacks"]["traces"]["run_dir"] == "@run"
    assert found["base"].inputs == []


def test_inputs_and_seeds_are_part_of_an_identity_and_names_are_not():
    zero = steps()["zero"]
    one = identity(zero.ingredients({"base/hf": "aa"}))
    assert one == identity(steps(zero={"set": [*NODES["zero"]["set"], "name=other"]})["zero"].ingredients({"base/hf": "aa"}))
    assert one != identity(zero.ingredients({"base/hf": "bb"}))
    assert one != identity(steps(zero={"set": [*NODES["zero"]["set"], "seed=1"]})["zero"].ingredients({"base/hf": "aa"}))


def test_a_stage_depends_on_its_own_code():
    found = steps()
    assert "r1.stages.grpo" in found["zero"].code
    assert "r1.stages.grpo" not in found["base"].code
    assert "r1.tasks.corpus" in found["base"].code
    assert not any(name.startswith(("r1.callbacks", "r1.analysis", "r1.evaluation")) for name in found["zero"].code)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            {"set": ["experiment=tiny_bsae"]},
            "(?s)node more .r1 train.: experiment=tiny_bsae: there is no such choice; did you mean 'tiny_base'",
        ),
        ({"set": ["experiment=tiny_base", "stage.step=3"]}, "node more .*did you mean 'steps'"),
        ({"set": ["experiment=tiny_base", "stage.steps=many"]}, "node more .*stage.steps='many': expected int"),
        ({"set": ["experiment=tiny_r1_zero", "policy.path=@bse/hf"]}, "node more: there is no node 'bse'; did you mean 'base'"),
        ({"set": ["experiment=tiny_r1_zero", "policy.path=@more/hf"]}, "in a circle: more -> more"),
    ],
)
def test_a_mistake_in_any_node_is_found_before_the_first_runs(node, said):
    with pytest.raises(ConfigError, match=said):
        steps(more=node)


def test_files_on_the_disk_are_part_of_an_identity(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text("{}\n")
    node = {"set": ["experiment=tiny_base", "task=documents", f"task.path={data}"]}
    before = steps(more=node)["more"].files
    assert list(before) == [str(data)]
    data.write_text('{"a": 1}\n')
    assert steps(more=node)["more"].files != before


@pytest.mark.parametrize("size", [100, 3 * 2**20])
def test_a_model_of_the_same_size_with_other_weights_is_another_input(tmp_path, size):
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(bytes(size))
    before = file_digest(tmp_path / "model")
    assert file_digest(tmp_path / "model") == before
    file.write_bytes(bytes(size - 1) + b"1")
    assert file_digest(tmp_path / "model") != before


def test_data_that_code_reads_from_beside_itself_is_part_of_an_identity():
    assert "r1.pipeline.prompting: examples.jsonl" in digests(["r1.pipeline.prompting"], follow=False)


def test_what_a_column_asks_of_its_evaluation_comes_last():
    ledger = {
        "eval": ["template=chat", "benchmark=[pair_countdown_test]"],
        "stages": {"zero": {"eval": ["template=r1_zero"]}, "base": "base"},
    }
    found = plan(read_recipe({"name": "toy", "nodes": NODES, "ledger": ledger}))
    assert [found[f"{name}.eval"].config["template"]["name"] for name in ("zero", "base")] == ["r1_zero", "chat"]


def test_experiments_may_lie_elsewhere(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [tiny_base, _self_]\nstage: {steps: 7}\n")
    assert steps([str(tmp_path)], more={"set": ["experiment=mine"]})["more"].config["stage"]["steps"] == 7


VARS = ("base", "student", "problems", "prompts", "general", "helpful", "safe", "rewriter", "rewriter_model")
VALUES = [f"recipe.vars.{key}=some/{key}" for key in VARS]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("r1", [*VALUES, "recipe.ledger.eval=[]"]),
        pytest.param("r1", VALUES, marks=pytest.mark.slow),
        pytest.param("r1_tiny", [], marks=pytest.mark.slow),
    ],
)
def test_the_recipes_are_whole(name, options):
    """Every node composes, and the order is the paper's."""
    cfg = compose("pipeline", [f"recipe={name}", *options], run_dir="runs/x")
    found = plan(read_recipe(plain(cfg.recipe)))
    order = ["r1_zero", "cold_start", "dev1", "dev2", "rejection", "dev3", "helpful", "harmless", "r1", "student"]
    assert [step for step in found if step in order] == order
    assert dict(found["dev3"].inputs)["rejection"] == "rows.jsonl"
    assert {"helpful", "harmless", "dev3"} <= set(found["r1"].needs)
    assert ("dev1", "hf") in found["dev2"].inputs
    assert found["r1"].config["stage"]["sampling"]["temperature"] == 0.7
    assert found["dev2"].config["reward"]["weights"]["language"] > 0
    if name == "r1":  # v2 3.2.2: the last 400 of 1,700 updates, in whole rollouts of 16
        late = found["r1"].config["reward"]["starts"] | found["r1"].config["task"]["starts"]
        assert late == {"helpfulness": 1296, "harmlessness": 1296, "reasoning": 0, "general": 1296}
        assert [found[n].config["optimizer"]["lr"] for n in ("r1_zero", "dev1", "dev3", "student", "student_7b", "student_14b")] == [
            3e-6, 5e-5, 5e-5, 1e-4, 8e-5, 7e-5,
        ]  # fmt: skip
        asked = {n: found[n].config["task"]["against"] for n in ("r1_zero", "dev2", "student_rl")}
        asked |= {
            "rejection": found["rejection"].config["data"]["against"],
            "r1": found["r1"].config["task"]["tasks"]["reasoning"]["against"],
        }
        assert all({"aime24", "math500"} <= set(against) for against in asked.values())
        for name in ("r1_zero", "student_rl") if "r1_zero.eval" in found else ():
            assert found[f"{name}.eval"].config["template"] == found[name].config["template"]


def test_what_the_papers_recipe_says_of_training_stands_in_its_experiments():
    """Their numbers are the ones that paper-diff checks: a node only adds what it is made from."""
    cfg = compose("pipeline", ["recipe=r1", *VALUES], run_dir="runs/x")
    nodes = [node for node in read_recipe(plain(cfg.recipe)).nodes.values() if node.run == "train"]
    assert {item.split("=")[0].split(".")[0] for node in nodes for item in node.set} == {
        "seed", "experiment", "trainer", "policy", "task", "task@task", "reward",
    }  # fmt: skip
    assert not [item for node in nodes for item in node.set if item.startswith("reward") and "=@" not in item]


@pytest.mark.parametrize(
    ("name", "built_on"),
    [
        pytest.param("students", {"student_base", "rejection"}, marks=pytest.mark.slow),
        ("language", {"base"}),
    ],
)
def test_the_questions_are_whole(name, built_on):
    cfg = compose("pipeline", [f"recipe={name}"], run_dir="runs/x")
    recipe = read_recipe(plain(cfg.recipe))
    found = plan(recipe)
    last = {"students": "student", "language": "r1_zero_language"}[name]
    assert set(found[last].needs) == built_on
    assert "r1" not in found
    assert all(f"{column.node}.eval" in found for column in recipe.ledger.columns)


@pytest.mark.parametrize("question", [["status"], ["why", "base"]])
def test_a_question_writes_nothing(question, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*question, "recipe=language", "store=elsewhere/store"]) == 0
    assert "base" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("question", [["status", "until=r1_zeroo"], ["why", "base", "until=r1_zeroo"]])
def test_a_question_about_an_unknown_node_is_answered_with_those_there_are(question, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*question, "recipe=language"])
    assert "there is no such node; did you mean 'r1_zero'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_hint_of_status_asks_about_the_same_recipe_and_store(tmp_path, monkeypatch, capsys):
    """A finished base of another size lies in the store; the hint's words, given back, say so."""
    monkeypatch.chdir(tmp_path)
    assert main(["why", "base", "recipe=language", "store=s"]) == 0
    assert "never made" in capsys.readouterr().out
    step = plan(read_recipe(plain(compose("pipeline", ["recipe=language", "seed=7"]).recipe)))["base"]
    ingredients = step.ingredients({})
    folder = Store(tmp_path / "s").folder("base", identity(ingredients))
    folder.mkdir(parents=True)
    Store(tmp_path / "s").finish(Record("base", identity(ingredients), ingredients, {}, folder=folder))
    assert main(["status", "recipe=language", "store=s", "name=mine", "until=base"]) == 0
    (hint,) = [line[line.index("r1 pipeline why") :].split() for line in capsys.readouterr().out.splitlines() if " why " in line]
    assert hint == ["r1", "pipeline", "why", "base", "recipe=language", "store=s", "name=mine"]
    assert main(hint[2:]) == 0
    assert "config  seed: 7 -> 0" in capsys.readouterr().out


def test_what_the_real_recipe_needs_is_asked_for():
    """All of it at once, though a value that refers to a missing one cannot be read itself."""
    with pytest.raises(ConfigError) as error:
        compose("pipeline", ["recipe=r1", "recipe.vars.student=S"], run_dir="runs/x")
    asked = [line.split()[0] for line in str(error.value).splitlines()]
    assert asked == sorted(f"recipe.vars.{name}" for name in VARS if name != "student")


def test_a_recipe_is_shown_before_its_variables_have_values(capsys):
    overrides = _overrides(["status", "recipe=r1", "recipe.vars.base=B"])
    assert "recipe.vars.problems" in (said := capsys.readouterr().out)
    assert "recipe.vars.base" not in said
    cfg = compose("pipeline", overrides, run_dir="runs/x")
    assert (cfg.action, cfg.recipe.vars.base, cfg.recipe.vars.rewriter_model) == ("status", "B", "<rewriter_model>")
    assert _overrides(["status", "recipe=language"]) == ["recipe=language", "action=status"]
    assert _overrides(["why", "dev1", "recipe=r1"]) == ["recipe=r1", "action=why", "only=dev1"]
    assert _overrides(["status", "recipe=r2"]) == ["recipe=r2", "action=status"]  # refused by the command, with the choices
