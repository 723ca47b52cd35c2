"""No key, token, password or credential in what a run writes, shows or sends."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from r1 import repro
from r1.build import CONF, ConfigError, compose, finish, plain, save_config
from r1.redact import redact, scrub, secret_overrides

SECRET_VARIABLES = [
    "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "OPENAI_KEY", "OPENAI_API_KEY_2", "PGPASSWORD", "SSH_PASSPHRASE",
    "GITHUB_PAT", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "MY_SERVICE_SECRET",
]  # fmt: skip
SECRET_KEYS = [
    "api_key", "apikey", "api_keys", "X-Api-Key", "private_key", "access_key", "secret_access_key", "storage_key", "openai_key",
    "Authorization", "Proxy-Authorization", "hf_token", "token", "auth_tokens", "password", "db_passwd", "passphrase", "client_secret",
    "secrets", "pat",
]  # fmt: skip
ORDINARY = [
    "max_tokens", "num_tokens", "tokens_per_step", "micro_tokens", "tokens", "pad_token", "eos_token", "mask_token", "loss_per_token",
    "eos_id", "tokenizer", "key_variable", "key", "keys", "sort_key", "answer_key", "path", "pattern", "patience", "pass_k", "author",
]  # fmt: skip


@pytest.mark.parametrize("name", [*SECRET_VARIABLES, *SECRET_KEYS])
@pytest.mark.parametrize("value", ["abc123", 123456, ["abc", "def"]], ids=["text", "number", "list"])
def test_values_under_a_secret_name(name: str, value: object) -> None:
    assert redact({"a": [{name: value}]}) == {"a": [{name: "***"}]}


@pytest.mark.parametrize("value", [None, True, "", []], ids=["null", "switch", "no text", "no list"])
def test_what_cannot_be_a_secret(value: object) -> None:
    assert redact({"token": value}) == {"token": value}


@pytest.mark.parametrize("name", ORDINARY)
def test_names_that_only_look_alike(name: str) -> None:
    assert redact({name: "JUDGE_API_KEY", "n": 3}) == {name: "JUDGE_API_KEY", "n": 3}


CONFIGS = [
    "train",
    "eval",
    "generate",
    "audit",
    *(f"train experiment={e}" for e in ("tiny_all_scenarios", "r1_zero_paper", "distill")),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_composed_config_is_shown_in_full(config: str) -> None:
    name, *overrides = config.split()
    cfg = plain(compose(name, overrides, unfinished=True))
    assert redact(cfg) == cfg


def test_no_file_of_the_configs_has_a_key_that_is_hidden() -> None:
    for file in CONF.rglob("*.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert redact(content) == content, file


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:pass@host/v1", "https://***@host/v1"),
        ("postgres://u:p@db and http://x.org/a@b", "postgres://***@db and http://x.org/a@b"),
        ("key sk-abcdefghijklmnopqrst end", "key *** end"),
        ("hf_ABCDEFGHIJKLMNOPQRSTUVWX", "***"),
        ("git clone with ghp_ABCDEFGHIJKLMNOPQRSTUVWX", "git clone with ***"),
        ("github_pat_11ABCDEFG0abcdefghijkl_ABCDEFGHIJKL", "***"),
        ("id AKIAIOSFODNN7EXAMPLE.", "id ***."),
        ("mask-able task-specific", "mask-able task-specific"),
    ],
)
def test_secrets_inside_a_text(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize("variable", SECRET_VARIABLES)
def test_the_value_of_a_secret_variable_is_hidden_wherever_it_stands(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "correct-horse-battery")
    assert redact({"command": "r1 train url=x?k=correct-horse-battery"}) == {"command": "r1 train url=x?k=***"}


def test_overrides_that_hold_a_secret_and_those_that_name_a_variable() -> None:
    given = [
        "judge.api_key=abc",
        "+x.token=abc",
        "judge.api_key=${oc.env:KEY}",
        "judge.token=null",
        "judge.pad_token=<pad>",
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


def test_a_secret_of_several_lines_is_scrubbed_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "judge:\n  api_keys:\n  - abc\n  - def\n  url: x\npad_token: <pad>\ntoken: null\nprivate_key: abc\n  def\nseed: 1\n"
    )
    scrub(tmp_path)
    assert file.read_text() == "judge:\n  api_keys: ***\n  url: x\npad_token: <pad>\ntoken: null\nprivate_key: ***\nseed: 1\n"


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
