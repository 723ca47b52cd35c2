"""Recipes: what is read, what is refused, and in which order nodes run."""

from __future__ import annotations

import copy

import pytest
import yaml

from r1.build import ConfigError
from r1.pipeline.recipe import in_order, read_recipe, references, resolved, with_evaluations

TEXT = """
name: toy
common: [seed=3]
nodes:
  base: {set: [experiment=tiny_base], about: a base}
  zero: {run: train, set: [experiment=tiny_r1_zero, policy.path=@base/hf]}
  rows: {run: generate, set: [data=sample]}
ledger:
  eval: [benchmark=x]
  stages:
    base: the base
    zero: {label: R1-Zero, against: base}
  claims:
    - {text: it rises, figure: pass@1, stage: zero, against: base, is: higher}
"""


@pytest.fixture
def content() -> dict:
    return copy.deepcopy(yaml.safe_load(TEXT))


def test_a_recipe_is_read(content):
    recipe = read_recipe(content)
    assert list(recipe.nodes) == ["base", "zero", "rows"]
    assert recipe.nodes["zero"].set == ("seed=3", "experiment=tiny_r1_zero", "policy.path=@base/hf")
    assert recipe.nodes["base"].run == "train"
    assert [(c.node, c.label, c.against) for c in recipe.ledger.columns] == [
        ("base", "the base", None),
        ("zero", "R1-Zero", "base"),
    ]
    assert recipe.ledger.claims[0].is_ == "higher"


def test_a_column_is_compared_with_the_one_before_it_unless_it_says_otherwise(content):
    content["ledger"]["stages"] = {"base": {}, "zero": "Z", "rows": {"label": "R", "against": None}}
    assert [(c.label, c.against) for c in read_recipe(content).ledger.columns] == [("base", None), ("Z", "base"), ("R", None)]


def test_every_stage_of_the_ledger_is_evaluated_right_after_it(content):
    nodes = with_evaluations(read_recipe(content))
    assert list(nodes) == ["base", "base.eval", "zero", "zero.eval", "rows"]
    assert nodes["zero.eval"].set == ("policy.path=@zero/hf", "benchmark=x")


def test_a_node_or_column_that_is_null_is_taken_out(content):
    content["nodes"]["rows"] = content["ledger"]["stages"]["base"] = None
    content["ledger"]["stages"]["zero"] = "Z"
    content["ledger"]["claims"] = []
    recipe = read_recipe(content)
    assert list(recipe.nodes) == ["base", "zero"]
    assert [c.node for c in recipe.ledger.columns] == ["zero"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["nodes"]["base"].update(sets=[]), "recipe.nodes.base has no 'sets'; did you mean 'set'"),
        (lambda c: c.update(node={}), "recipe has no 'node'; did you mean 'nodes'"),
        (lambda c: c["nodes"]["base"].update(run="trian"), "did you mean 'train'"),
        (lambda c: c["nodes"]["base"].update(set="seed=1"), "expected a list of overrides"),
        (lambda c: c["nodes"].update({"two words": {}}), "a name is letters"),
        (lambda c: c["nodes"].update(run={}), "is not 'run'"),
        (lambda c: c.update(nodes={}), "recipe.nodes: expected a mapping"),
        (lambda c: c["ledger"]["stages"].update(zeroo="Z"), "there is no 'zeroo'; did you mean 'zero'"),
        (lambda c: c["ledger"]["stages"]["zero"].update(against="bas"), "did you mean 'base'"),
        (lambda c: c["ledger"]["claims"][0].update({"is": "better"}), "expected higher, lower or at_least"),
        (lambda c: c["ledger"]["claims"][0].pop("figure"), "figure missing"),
        (lambda c: c["ledger"]["claims"][0].update(stage="dev9"), r"claims\[0\].stage: there is no 'dev9'"),
        (lambda c: c["ledger"].update(evals=[]), "recipe.ledger has no 'evals'; did you mean 'eval'"),
    ],
)
def test_what_is_wrong_is_named_with_what_there_is(content, change, said):
    change(content)
    with pytest.raises(ConfigError, match=said):
        read_recipe(content)


def test_nodes_run_after_what_they_need_and_otherwise_as_written():
    assert in_order({"c": ["b"], "a": [], "b": ["a"], "d": []}) == ["a", "b", "c", "d"]


def test_an_unknown_input_and_a_circle_are_refused():
    with pytest.raises(ConfigError, match="node zero: there is no node 'bse'; did you mean 'base'"):
        in_order({"base": [], "zero": ["bse"]})
    with pytest.raises(ConfigError, match="in a circle: .*a"):
        in_order({"a": ["b"], "b": ["a"]})


def test_references_are_values_that_begin_with_a_node():
    config = {
        "policy": {"path": "@base/hf"},
        "files": ["@rows/rows.jsonl", "@base/hf"],
        "run_dir": "@run/x",
        "mail": "a@b.c",
        "n": 1,
    }
    assert references(config) == [("base", "hf"), ("rows", "rows.jsonl")]
    found = resolved(config, {"base": "/s/base-1", "rows": "/s/rows-2", "run": "/s/own"})
    assert found == {
        "policy": {"path": "/s/base-1/hf"}, "files": ["/s/rows-2/rows.jsonl", "/s/base-1/hf"], "run_dir": "/s/own/x", "mail": "a@b.c", "n": 1,
    }  # fmt: skip
