"""The ledger: which columns stand, what they are compared with, and when a claim counts as shown."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from r1.analysis.ledger_view import html, markdown, picture
from r1.pipeline.ledger import collect, held_against, write
from r1.pipeline.recipe import Claim, Column, LedgerPlan, Recipe
from r1.pipeline.store import Record


def figures(value: float, low: float, high: float, length: float) -> dict:
    side = {"pass@1": value, "pass@1_low": low, "pass@1_high": high, "mean_length": length, "language_mixing": 0.25}
    return {"toy": side | {"benchmark": "toy", "setting": {"problems": 10}}}


SIDES = {
    "base": figures(0.13, 0.10, 0.16, 18.0),
    "zero": figures(0.90, 0.88, 0.92, 72.0),
    "dev1": figures(0.80, 0.77, 0.83, 60.0),
    "dev2": figures(0.82, 0.79, 0.85, 50.0),
}


@pytest.fixture
def lab(tmp_path):
    """States of a recipe of four stages, all done but those that are named."""

    def states(*missing):
        found = {}
        for name, side in SIDES.items():
            made, evaluated = tmp_path / name, tmp_path / f"{name}.eval"
            for folder in (made, evaluated):
                folder.mkdir(exist_ok=True)
            (made / "summary.json").write_text(json.dumps({"steps": 80, "metrics": {"train/num_tokens": 1000.0}}))
            (evaluated / "evaluations.json").write_text(json.dumps(side))
            for key, folder in ((name, made), (f"{name}.eval", evaluated)):
                record = Record(key, "id", {}, {}, seconds=12.3, cpu_seconds=20.0, folder=folder)
                found[key] = SimpleNamespace(record=None if key in missing else record)
        return found

    claims = (
        Claim("RL helps", "pass@1", "zero", "base", "higher"),
        Claim("the cold start costs accuracy", "pass@1", "dev1", "zero", "lower"),
        Claim("RL mends it", "pass@1", "dev2", "dev1", "higher"),
        Claim("it is as good as R1-Zero", "pass@1", "dev2", "zero", "at_least"),
    )
    columns = (
        Column("base", "base"),
        Column("zero", "R1-Zero", "base"),
        Column("dev1", "Dev1", "zero"),
        Column("dev2", "Dev2", "dev1"),
    )
    return SimpleNamespace(states=states, recipe=Recipe("toy", {}, "a toy", LedgerPlan(("x",), columns, claims)), root=tmp_path)


def test_claims_are_decided_by_intervals(lab):
    claims = collect(lab.recipe, lab.states())["claims"]
    # .88 > .16; .83 < .88; .79 lies below .83: they overlap; .79 < .90 - .05
    assert [claim["holds"] for claim in claims] == [True, True, False, False]
    assert (
        claims[2]["reads"]
        == "pass@1: dev2 82\u00a0% (79\u00a0% to 85\u00a0%), dev1 80\u00a0% (77\u00a0% to 83\u00a0%); the intervals overlap"
    )
    assert "overlap" not in claims[1]["reads"]


def test_at_least_allows_the_interval_to_reach_five_points_below_and_no_more(lab):
    def holds(low: float) -> dict:
        columns = {"a": {"evaluations": figures(0.80, low, 0.90, 50.0)}, "b": {"evaluations": SIDES["dev2"]}}
        return held_against(Claim("", "pass@1", "a", "b", "at_least"), columns)

    assert holds(0.78)["holds"]  # .82 - .05 = .77
    wide = holds(0.76)
    assert not wide["holds"] and wide["reads"].endswith("the interval reaches more than 5 points below")


def test_of_a_figure_without_an_interval_nothing_is_claimed(lab):
    columns = {name: {"evaluations": side} for name, side in SIDES.items()}
    claim = held_against(Claim("", "language_mixing", "zero", "base", "lower"), columns)
    assert claim["holds"] is None
    assert claim["reads"] == "language_mixing of zero and of base is missing, or has no interval"


def test_a_stage_that_is_not_done_leaves_a_gap_and_no_claim(lab):
    ledger = collect(lab.recipe, lab.states("dev1"))
    assert [(c["node"], c["against"]) for c in ledger["columns"]] == [("base", None), ("zero", "base"), ("dev2", None)]
    assert [claim["holds"] for claim in ledger["claims"]] == [True, None, None, False]
    assert [c["node"] for c in collect(lab.recipe, lab.states("zero.eval"))["columns"]] == ["base", "dev1", "dev2"]


def test_the_table_has_figures_by_stages_with_intervals_and_deltas(lab):
    lines = markdown(collect(lab.recipe, lab.states())).splitlines()
    assert "| | base | R1-Zero | Dev1 | Dev2 |" in lines
    row = next(line for line in lines if line.startswith("| pass@1 "))
    assert (
        row.replace("\u00a0", " ")
        == "| pass@1 | 13 % (10–16) | 90 % (88–92), +77 points | 80 % (77–83), -10 points | 82 % (79–85), +2 points |"
    )
    assert next(line for line in lines if line.startswith("| mean length")).endswith("| 18 | 72, × 4.0 | 60, × 0.8 | 50, × 0.8 |")
    assert "| tokens trained on or sampled | 1,000 | 1,000 | 1,000 | 1,000 |" in lines
    assert (
        "- **shown**: the cold start costs accuracy (pass@1: dev1 80\u00a0% (77\u00a0% to 83\u00a0%), zero 90\u00a0% (88\u00a0% to 92\u00a0%))"
        in lines
    )
    assert any(line.startswith("- **not shown**: RL mends it") for line in lines)


def test_files_are_written_and_hold_together(lab):
    ledger = write(lab.root, lab.recipe, lab.states())
    assert json.loads((lab.root / "ledger.json").read_text()) == ledger
    assert (lab.root / "ledger.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert picture(ledger) in (lab.root / "ledger.html").read_text()
    assert write(lab.root, lab.recipe, lab.states(*SIDES)) is None


def test_names_from_a_recipe_are_text(lab):
    evil = "<script>x</script>"
    recipe = Recipe(
        evil, {}, evil, LedgerPlan(("x",), (Column("base", evil),), (Claim(evil, "pass@1", "base", "base", "higher"),))
    )
    write(lab.root, recipe, lab.states())
    assert evil not in (lab.root / "ledger.html").read_text() + (lab.root / "ledger.svg").read_text()


def test_a_resumed_stage_says_that_its_time_is_a_lower_bound(lab):
    ledger = collect(lab.recipe, lab.states())
    ledger["columns"][0]["resumed"] = True
    assert "| seconds | ≥ 12 | 12 | 12 | 12 |" in markdown(ledger)
    assert "<td>≥ 12</td>" in html(ledger)
