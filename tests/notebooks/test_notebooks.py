"""The notebooks run from the data beside them, on another folder too, and what is shipped executed is their present source."""

from __future__ import annotations

import json
import os
import re
import runpy
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SHIPPED = NOTEBOOKS / "data"
OURS = ("read_a_run", "compare_two_policies", "reward_ablation")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """name, environment -> what the notebook's cells print."""
    pytest.importorskip("matplotlib", reason="the notebooks' pictures come with the extra `viz`").use("agg")
    monkeypatch.chdir(NOTEBOOKS)
    for name in ("R1_RUN", "R1_FIRST", "R1_SECOND", "R1_SWEEP"):
        monkeypatch.delenv(name, raising=False)

    def running(name: str, **environment: Path) -> str:
        for key, folder in environment.items():
            monkeypatch.setenv(key, str(folder))
        runpy.run_path(str(NOTEBOOKS / f"{name}.py"))
        import matplotlib.pyplot as plt

        assert plt.get_fignums(), "a notebook without a picture"
        plt.close("all")
        return capsys.readouterr().out

    return running


def test_read_a_run(run) -> None:
    said = run("read_a_run")
    assert "pass@1 went from 16% to 93%" in said
    assert re.search(r"The change of reflection began at step \d+ \(95 %: \d+ to \d+\)", said)
    assert re.search(r"Shares of the signal, mean over the steps: accuracy \d+%, format \d+%", said)
    assert "pass@1 went from 14% to 89%" in run("read_a_run", R1_RUN=SHIPPED / "r1_zero_seed3")  # another folder, another answer


def test_compare_two_policies(run) -> None:
    assert re.search(
        r"r1_zero 93\.3%, r1_zero_seed3 89\.0%; difference -6\.8 to -1\.7 points .* p = 0\.\d+: they differ",
        run("compare_two_policies"),
    )
    same = run("compare_two_policies", R1_FIRST=SHIPPED / "r1_zero", R1_SECOND=SHIPPED / "r1_zero")
    assert "these problems cannot tell them apart" in same


def test_reward_ablation(run) -> None:
    said = run("reward_ablation")
    assert "9 runs; swept: `reward.weights.format` = 0, 0.1, 1" in said
    assert re.search(r"\*\*format 1\*\* against format 0: pass@1 -4\.1 points \(-9 to \+1\): cannot tell", said)
    assert re.search(
        r"- format 1: .* standard deviation 2\.0 between seeds: about 4 seeds", said
    )  # 3.18 * 2.0 / 2 < 4.1 < 4.30 * 2.0 / 1.73


@pytest.mark.parametrize("name", OURS)
def test_what_is_shipped_executed_is_the_present_source(name: str) -> None:
    """`python notebooks/execute.py notebooks/<name>.py` after a change."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = (NOTEBOOKS / f"{name}.py").read_text(encoding="utf-8")
    code = re.split(r"^# %%.*\n", source, flags=re.MULTILINE)[1:]
    assert len(cells) == len(code)
    for cell, text in zip(cells, code):
        if cell["cell_type"] == "code":
            assert "".join(cell["source"]).strip() == text.strip()
            assert cell["execution_count"]
            assert not any(output["output_type"] == "error" for output in cell["outputs"])
    assert any(output.get("data", {}).get("image/png") for cell in cells for output in cell.get("outputs", ()))
    assert "/tmp" not in json.dumps(cells)


def test_shipped_data_are_small() -> None:
    own = [path for folder in ("r1_zero", "r1_zero_seed3", "sweep_reward_weights") for path in (SHIPPED / folder).rglob("*")]
    assert sum(path.stat().st_size for path in own if path.is_file()) < 2**20
    assert os.listdir(SHIPPED)
