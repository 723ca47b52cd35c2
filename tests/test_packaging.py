"""The configs are found wherever r1 is installed, and the folder kernels/ is never a package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from r1.build import CONF

REPO = Path(__file__).resolve().parent.parent
WHERE = "from importlib.util import find_spec; from r1.build import CONF; print(CONF); print(find_spec('r1_kernels').origin)"


def python(code: str, cwd: Path, path: Path | None = None) -> list[str]:
    """Lines that a fresh interpreter prints, started in `cwd`; with `path`, that folder alone stands for the installation."""
    isolate = f"import sys; sys.path.insert(0, {str(path)!r}); " if path else ""
    command = [sys.executable, "-c", isolate + code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_configs_of_a_checkout_lie_beside_the_package() -> None:
    assert CONF == REPO / "conf"
    assert (CONF / "train.yaml").is_file()


def test_an_installed_r1_finds_its_configs_from_any_folder(tmp_path: Path) -> None:
    conf, kernels = python(WHERE, cwd=tmp_path)
    assert Path(conf) == CONF
    assert Path(kernels).parent == REPO / "kernels/r1_kernels"


def test_kernels_is_a_folder_and_not_a_package(tmp_path: Path) -> None:
    # transformers imports Hugging Face's `kernels` where it finds one; ours would be taken for it, even from the checkout.
    assert not (REPO / "kernels/__init__.py").exists()
    code = "from transformers.utils import import_utils as u; print(u.is_kernels_available())"
    expected = any(dist.metadata["Name"] == "kernels" for dist in metadata.distributions())
    assert python(code, cwd=REPO) == [str(expected)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=REPO, check=True, capture_output=True, timeout=120)
    return next(out.glob("*.whl"))


def test_a_wheel_carries_the_configs_and_the_kernels(wheel: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("r1/conf/") for name in names if name.startswith("r1/conf/")}
    assert shipped == {str(file.relative_to(CONF)) for file in CONF.rglob("*.yaml")}
    assert not [name for name in names if name.startswith(("tests/", "kernels/", "conf/"))]
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")  # what an installer does with a wheel of pure Python
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    conf, kernels = python(WHERE, cwd=elsewhere, path=tmp_path / "site")
    assert Path(conf) == tmp_path / "site/r1/conf"
    assert Path(kernels).parent == tmp_path / "site/r1_kernels"
    # Composed and not validated: that would import all of Lightning, and is tested elsewhere.
    config = (
        "from r1.build import CONF; from r1.config_help import read_config; print(read_config(CONF, 'train', ['seed=5']).seed)"
    )
    assert python(config, cwd=elsewhere, path=tmp_path / "site") == ["5"]


def test_the_tested_set_answers_the_ranges() -> None:
    """constraints.txt pins one version of every core dependency, torch without a local version and the Triton it asks for."""
    pins = dict(line.split("==") for line in (REPO / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pins["torch"] == "2.13.0"
    assert pins["triton"] == "3.7.1"
    assert not [pin for pin in pins.values() if "+" in pin]
    from packaging.requirements import Requirement

    canonical = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for text in metadata.requires("r1-lab") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert requirement.specifier.contains(canonical[requirement.name.lower()]), text
