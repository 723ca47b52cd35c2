"""The demo's folder and its summary, without the minutes of training."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from r1 import demo
from r1.pipeline.recipe import Column, LedgerPlan, Recipe
from r1.pipeline.store import Record


def side(value: float) -> dict:
    figures = {"pass@1": value, "pass@1_low": value - 0.05, "pass@1_high": value + 0.05, "pass@16": 0.8, "setting": {}}
    return {"pair_countdown_test": figures, "pair_countdown_greedy": {"greedy": value, "greedy_low": 0.0, "mean_length": 9.0}}


@pytest.fixture
def states(tmp_path):
    found = {}
    for name, value in (("base", 0.1), ("r1_zero", 0.9)):
        for node, seconds in ((name, 10.0), (f"{name}.eval", 1.5)):
            folder = tmp_path / node
            folder.mkdir()
            (folder / "evaluations.json").write_text(json.dumps(side(value)))
            found[node] = SimpleNamespace(record=Record(node, "id", {}, {}, seconds=seconds, folder=folder))
    return found | {"dev1": SimpleNamespace(record=None)}


def test_the_summary_keeps_its_keys_and_gains_the_ledger(states):
    plan = LedgerPlan(("x",), (Column("base", "base"), Column("r1_zero", "R1-Zero", "base")))
    result = demo._summary(SimpleNamespace(recipe=Recipe("toy", {}, "", plan)), states, seed=3)
    assert set(result) == {"seed", "before", "after", "seconds", "notes", "ledger"}
    assert result["seconds"] == {"base": 10.0, "r1_zero": 10.0, "evaluation": 3.0}
    assert "greedy" not in result["before"]
    assert (result["after"]["greedy"], result["after"]["greedy_low"]) == (0.9, 0.0)
    assert "mean_length" not in result["after"]  # of the greedy samples: another figure than the one of that name
    assert [column["node"] for column in result["ledger"]["columns"]] == ["base", "r1_zero"]
    assert "pass@16 of the base is 80%" in result["notes"][1]


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(SystemExit, match="not an earlier demo"):
        demo._place(tmp_path, fresh=True)
    assert (tmp_path / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize(("store", "fresh", "kept"), [(True, False, True), (True, True, False), (False, False, False)])
def test_an_earlier_demo_goes_on_unless_asked_or_unable_to(tmp_path, store, fresh, kept):
    out = tmp_path / "demo"
    demo._place(out, fresh=False)
    (out / ("store" if store else "base")).mkdir()
    assert demo._place(out, fresh) == out
    assert ((out / "store").exists() or (out / "base").exists()) is kept


def test_nothing_learned_is_a_failure(capsys):
    low, high = side(0.10)["pair_countdown_test"], side(0.12)["pair_countdown_test"]
    assert demo._verdict(low, side(0.9)["pair_countdown_test"]) == 0
    assert demo._verdict(low, high) == 1
    assert "nothing was learned" in capsys.readouterr().err
