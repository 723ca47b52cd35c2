"""No key, token, password or credential in what a run writes, shows or sends."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from r1 import repro
from r1.build import ConfigError, compose, finish, save_config
from r1.redact import redact, scrub, secret_overrides


@pytest.mark.parametrize("name", ["api_key", "apikey", "hf_token", "token", "password", "client_secret", "WANDB_API_KEY"])
def test_values_under_a_secret_name(name: str) -> None:
    assert redact({"a": [{name: "abc123"}]}) == {"a": [{name: "***"}]}


@pytest.mark.parametrize("name", ["max_tokens", "tokens_per_step", "key_variable", "micro_tokens", "eos_id", "tokenizer", "keys"])
def test_names_that_only_look_alike(name: str) -> None:
    assert redact({name: "JUDGE_API_KEY", "n": 3}) == {name: "JUDGE_API_KEY", "n": 3}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:pass@host/v1", "https://***@host/v1"),
        ("postgres://u:p@db and http://x.org/a@b", "postgres://***@db and http://x.org/a@b"),
        ("key sk-abcdefghijklmnopqrst end", "key *** end"),
        ("hf_ABCDEFGHIJKLMNOPQRSTUVWX", "***"),
        ("mask-able task-specific", "mask-able task-specific"),
    ],
)
def test_secrets_inside_a_text(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_the_value_of_a_secret_variable_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", "correct-horse-battery")
    assert redact({"command": "r1 train url=x?k=correct-horse-battery"}) == {"command": "r1 train url=x?k=***"}


def test_overrides_that_hold_a_secret_and_those_that_name_a_variable() -> None:
    given = [
        "judge.api_key=abc",
        "+x.token=abc",
        "judge.api_key=${oc.env:KEY}",
        "stage.micro_tokens=8",
        "u=http://a:b@c",
        "seed=1",
    ]
    assert secret_overrides(given) == ["judge.api_key=abc", "+x.token=abc", "u=http://a:b@c"]


def test_what_hydra_wrote_is_scrubbed(tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text("- judge.api_key=abc\n- seed=1\n")
    (tmp_path / "config.yaml").write_text("judge:\n  api_key: abc\n  url: http://a:b@c\n  other: ${oc.env:KEY}\nseed: 1\n")
    scrub(tmp_path)
    assert (tmp_path / "overrides.yaml").read_text() == "- judge.api_key=***\n- seed=1\n"
    assert (
        tmp_path / "config.yaml"
    ).read_text() == "judge:\n  api_key: ***\n  url: http://***@c\n  other: ${oc.env:KEY}\nseed: 1\n"


def test_config_and_manifest_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "correct-horse-battery")
    cfg = compose("train", ["tags=['${oc.env:JUDGE_API_KEY}']"], run_dir=tmp_path)
    assert cfg.tags == ["correct-horse-battery"]  # the run itself has it
    save_config(cfg, tmp_path)
    monkeypatch.setattr("sys.argv", ["r1", "train", "tags=[correct-horse-battery]"])
    (tmp_path / "manifest.json").write_text(str(redact(repro.manifest({"seed": 0}))))
    for file in tmp_path.iterdir():
        assert "correct-horse" not in file.read_text(), file.name


@pytest.mark.parametrize("name", ["../outside", "/etc/run", "a/../../b"])
def test_a_name_stays_inside_the_runs(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must stay inside"):
        finish(OmegaConf.create({"name": name, "paths": {"run_dir": "x"}}), tmp_path)
