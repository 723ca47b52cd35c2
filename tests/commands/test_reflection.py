"""`r1 reflection`: what it trains, what it leaves alone, and, slowly, both arms for real."""

from __future__ import annotations

import json

import pytest

from r1.commands import reflection

SMALL = [
    "benchmark.pair_countdown.problems.limit=4",
    "logger=csv",
    "print_config=false",
    "callbacks.checkpoint=null",
]


def test_both_arms_get_the_same_rl_and_finished_runs_are_kept(tmp_path, monkeypatch):
    trained = []

    def train(cfg):
        trained.append((cfg.name, cfg.seed, cfg.task.get("restate"), cfg.policy.get("path"), cfg.paths.run_dir))

    monkeypatch.setattr("r1.run.train", train)
    done = tmp_path / "informative" / "seed_3" / "base"
    done.mkdir(parents=True)
    (done / "summary.json").write_text("{}")
    half = tmp_path / "useless" / "seed_3" / "base"
    half.mkdir(parents=True)
    (half / "metrics.csv").write_text("step\n")
    with pytest.raises(SystemExit, match="no finished runs"):  # `train` is a dummy
        reflection.main(["--out", str(tmp_path), "--seeds", "3"])
    assert [(name, seed, restate) for name, seed, restate, *_ in trained] == [
        ("tiny_r1_zero", 3, None),
        ("reflection_useless", 3, False),
        ("tiny_r1_zero", 3, None),
    ]
    assert [path for _, _, _, path, _ in trained] == [str(done / "hf"), None, str(half / "hf")]
    assert not (half / "metrics.csv").exists()  # half a run is begun anew


def test_reading_alone_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("r1.run.train", lambda cfg: pytest.fail("trained"))
    with pytest.raises(SystemExit, match="no finished runs"):
        reflection.main(["--out", str(tmp_path), "--read"])


def test_a_wrong_override_is_answered_without_a_traceback(tmp_path):
    with pytest.raises(SystemExit, match="did you mean 'steps'"):
        reflection.main(["--out", str(tmp_path), "--set", "stage.stepps=3"])


@pytest.mark.slow
def test_a_few_steps_of_everything(tmp_path, capsys):
    options = [*SMALL, "stage.steps=3"]
    assert reflection.main(["--out", str(tmp_path), "--seeds", "0", "--set", *options]) == 0
    assert "Cannot tell" in capsys.readouterr().out  # nothing was learned in three steps
    facts = json.loads((tmp_path / "answer.json").read_text())
    assert {name: list(seeds) for name, seeds in facts["arms"].items()} == {"informative": ["seed_0"], "useless": ["seed_0"]}
    assert (tmp_path / "answer.html").is_file()
    assert (tmp_path / "answer.md").is_file()
