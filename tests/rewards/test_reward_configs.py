"""conf/reward: every reward and every part builds, weights are swept in one flat map, and a typo names the choices."""

from __future__ import annotations

import subprocess
import sys

import pytest

from r1.build import CONF, ConfigError, build
from r1.rewards import Reward

NEEDS = {
    "guarded": ["reward.parts.{name}.part={{_target_:r1.rewards.Format}}"],
    "trl": ["reward.parts.{name}.function=builtins.print"],
    "judge": ["reward.parts.{name}.backend.url=http://localhost:1/v1", "reward.parts.{name}.backend.model=judge"],
    "code": ["reward.parts.{name}.sandbox=unsafe_subprocess"],  # builds where bubblewrap is missing, too
    "judge_local": ["reward.parts.{name}.backend.path=some/folder"],
    "helpfulness": ["reward.parts.{name}.model=some/folder"],
    "harmlessness": ["reward.parts.{name}.model=some/folder"],
}
PARTS = sorted(path.stem for path in (CONF / "reward" / "part").glob("*.yaml"))


def composed(*overrides: str):
    """The reward group alone, as it stands in a whole config."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[*overrides])


def test_r1_zero() -> None:
    reward = build(composed("+reward=r1_zero").reward)
    assert isinstance(reward, Reward)
    assert reward.weights == {"accuracy": 1.0, "format": 1.0, "language": 0.0}


def test_tiny_departs_in_the_format_weight_only() -> None:
    assert build(composed("+reward=tiny").reward).weights == {"accuracy": 1.0, "format": 0.1, "language": 0.0}


def test_all_scenarios() -> None:
    models = [f"reward.parts.{name}.model=some/folder" for name in ("helpfulness", "harmlessness")]
    reward = build(composed("+reward=all_scenarios", *models).reward)
    assert reward.parts["helpfulness"].judged == "summary"
    assert reward.parts["harmlessness"].judged == "whole"
    assert reward.parts["format"].structure == "r1"
    assert reward.weights["language"] == 1.0


def test_weights_are_one_flat_map() -> None:
    assert build(composed("+reward=r1_zero", "reward.weights.language=0.3").reward).weights["language"] == 0.3


@pytest.mark.parametrize("name", PARTS)
def test_every_part_builds(name: str) -> None:
    added = [f"+reward/part@reward.parts.extra={name}", "+reward.weights.extra=0.1"]
    needed = [o.format(name="extra") for o in NEEDS.get(name, [])]
    assert "extra" in build(composed("+reward=r1_zero", *added, *needed).reward).parts


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "reward" / "extra").glob("*.yaml")))
def test_every_part_is_one_override_away(name: str) -> None:
    reward = build(
        composed("+reward=r1_zero", f"+reward/extra={name}", *(o.format(name=name) for o in NEEDS.get(name, []))).reward
    )
    assert list(reward.parts) == ["accuracy", "format", "language", name]
    assert reward.weights[name] != 0


def test_extras_add_up_and_their_weights_can_be_swept() -> None:
    config = composed("+reward=tiny", "+reward/extra=[overlong,repetition]", "reward.weights.overlong=0.3")
    assert build(config.reward).weights == {"accuracy": 1, "format": 0.1, "language": 0, "overlong": 0.3, "repetition": 0.5}


def test_every_part_has_an_extra() -> None:
    """A part that is in no reward and no extra could not be switched on in one override."""
    assert set(PARTS) - {"accuracy", "format", "language"} <= {path.stem for path in (CONF / "reward" / "extra").glob("*.yaml")}


def test_misspelt_weight() -> None:
    with pytest.raises(ConfigError, match=r"parts that do not exist: langage; there are: accuracy, format, language"):
        build(composed("+reward=r1_zero", "+reward.weights.langage=0.3").reward)


def test_rewards_and_grading_import_neither_torch_nor_hydra() -> None:
    code = "import sys, r1.rewards, r1.grading, r1.commands.score; print(*(m for m in ('torch', 'hydra', 'sympy', 'omegaconf') if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
