"""The papers' facts: every preset conforms or departs where it says so, and public copies' values are called by their name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from r1.analysis import papers
from r1.build import compose, plain
from r1.commands import paper_diff

PRESETS = {
    "r1_zero_paper": {"objective.ratio"},
    "r1_reasoning_rl": {"objective.ratio"},
    "r1_all_scenarios": {"objective.ratio", "derived.updates"},  # 1,700 updates are no whole number of rollouts
    "zero_qwen_32b": {"objective.ratio"},
    "r1_zero": {"objective.ratio", "derived.outputs_per_rollout", "stage.minibatches", "derived.updates", "stage.sampling.max_new_tokens",
                "derived.longest", "derived.longer_from"},
    "r1_cold_start": set(), "r1_sft": set(), "reward_model": set(), "harmlessness_model": set(), "distill": set(),
    "distill_qwen_1_5b": set(), "distill_qwen_7b": set(), "distill_qwen_14b": set(), "distill_qwen_32b": set(),
    "distill_llama_8b": set(), "distill_llama_70b": set(),
}  # fmt: skip


def config(*overrides: str) -> dict:
    return plain(compose("train", overrides, unfinished=True))


def beside(paper: str, *overrides: str, against: str | None = None) -> papers.Comparison:
    return next(c for c in papers.compare(config(*overrides), against) if c.paper == paper)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_departs_from_v2_only_where_it_says(name):
    comparison = beside("R1 v2", f"experiment={name}")
    if name in papers.facts()[next(s for s in papers.facts() if comparison.recipe in papers.facts()[s]["R1 v2"])]["R1 v2"]:
        assert comparison.recipe == name  # the recipe of its own name, where the paper has one
    assert {departure.key for departure in comparison.departures} == PRESETS[name]


@pytest.mark.parametrize("clip", [0.1, 0.2])
def test_the_clips_of_public_copies_are_named(clip):
    found = {
        d.key: d
        for d in beside(
            "R1 v2", "experiment=r1_zero_paper", f"objective.clip_low={clip}", f"objective.clip_high={clip}"
        ).departures
    }
    for key in ("objective.clip_low", "objective.clip_high"):
        assert "public copies" in found[key].copied
        assert found[key].here == clip
    assert found["objective.clip_high"].stated == "10"
    odd = beside("R1 v2", "experiment=r1_zero_paper", "objective.clip_high=5").departures
    assert next(d for d in odd if d.key == "objective.clip_high").copied is None


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["objective.surrogate=cispo", "objective.entropy_coef=0.1", "objective.dual_clip=3"],
         {"objective.surrogate", "objective.entropy_coef", "objective.dual_clip"}),
        (["stage.dynamic_sampling=3", "stage.mask_truncated=true", "stage.aggregation=dapo", "stage.sampling.top_p=0.9"],
         {"stage.dynamic_sampling", "stage.mask_truncated", "stage.aggregation", "stage.sampling.top_p"}),
        (["policy/lora=default"], {"policy.lora"}),
        (["task.starts.general=0", "reward.weights.helpfulness=0"], {"derived.general_updates", "reward.weights.helpfulness"}),
    ],
)  # fmt: skip
def test_what_the_equation_has_not_is_told(overrides, keys):
    assert {d.key for d in beside("R1 v2", "experiment=r1_all_scenarios", *overrides).departures} == PRESETS[
        "r1_all_scenarios"
    ] | keys


def test_papers_differ_among_themselves():
    ours = {d.key for d in beside("DeepSeekMath", "experiment=r1_zero_paper").departures}
    assert {"objective.beta", "stage.group_size", "stage.minibatches"} <= ours
    assert "objective.ratio" not in ours  # one a token there, one an output in R1
    whole = beside("R1 v1", "experiment=r1_zero", "objective.ratio=sequence_sum")
    assert not whole.departures


def test_the_recipe_can_be_chosen():
    departures = beside("R1 v2", "experiment=r1_zero_paper", against="r1_all_scenarios").departures
    assert next(d for d in departures if d.key == "stage.sampling.temperature").stated == "0.7"
    assert next(d for d in departures if d.key == "derived.preference_updates").here == papers.ABSENT
    with pytest.raises(ValueError, match="no paper describes 'r1_zer' for GRPO; there are grpo, r1_all_scenarios"):
        papers.compare(config("experiment=r1_zero"), "r1_zer")
    with pytest.raises(ValueError, match="describe the stages GRPO, SFT, Distill, RewardModel; this config has none"):
        papers.compare({})


def test_every_key_of_the_facts_is_a_key_of_a_config():
    """A misspelt key would be a departure of every config; a renamed argument would leave its fact behind."""
    of_stage = {"GRPO": "r1_all_scenarios", "SFT": "r1_sft", "Distill": "distill_qwen_7b", "RewardModel": "reward_model"}
    assert of_stage.keys() == papers.facts().keys()
    for stage, experiment in of_stage.items():
        known = config(f"experiment={experiment}")
        figures = papers.flat(known) | papers.derived(known)
        for recipes in papers.facts()[stage].values():
            for recipe in recipes.values():
                assert recipe.keys() <= figures.keys()
                for fact in recipe.values():
                    assert {"source", "why"} <= fact.keys() and ("value" in fact) != ("between" in fact)


def test_figures_of_several_keys():
    stage = {"prompts_per_step": 4, "group_size": 2, "minibatches": 2, "epochs": 3, "steps": 5, "sampling": {"max_new_tokens": 8},
             "length_schedule": {3: 16}, "schedule": {"decay": "linear", "final": 0.5}}  # fmt: skip
    figures = papers.derived({"stage": stage, "optimizer": {"lr": 0.2}, "reward": {"starts": {"helpfulness": 20, "x": 1}}})
    assert figures["derived.outputs_per_rollout"] == 8
    assert figures["derived.outputs_per_update"] == 4
    assert figures["derived.updates"] == 30
    assert figures["derived.longest"] == 16
    assert figures["derived.last_lr"] == pytest.approx(0.1)
    assert figures["derived.preference_updates"] == 10


def test_the_command_reads_overrides_and_run_folders(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert paper_diff.main(["experiment=r1_zero_paper", "objective.clip_high=0.2"]) == 0
    said = capsys.readouterr().out
    assert "33 of 35 stated settings agree" in said
    assert "public copies" in " ".join(said.replace("│", " ").split())
    monkeypatch.setenv("COLUMNS", "80")
    paper_diff.main(["experiment=r1_zero_gpu"])
    assert "stage.sampling.max_new_tokens " in capsys.readouterr().out  # a key is there to be typed
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config("experiment=reward_model", "optimizer.lr=1e-3")))
    paper_diff.main([str(tmp_path), "--json"])
    assert '"key": "optimizer.lr"' in capsys.readouterr().out
    for wrong, message in (("experiment=r1_zer", "did you mean 'r1_zero'"), (str(tmp_path / "no"), "expected overrides")):
        with pytest.raises(SystemExit, match=message):
            paper_diff.main([wrong])
