"""The script for a short GPU lease is run whole, at toy shapes: a lease is no place to find a typo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "kernels" / "bench"


@pytest.mark.slow
def test_the_lease_script_runs_every_section_and_says_what_is_wrong(tmp_path):
    pytest.importorskip("triton")
    env = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    out = tmp_path / "lease.json"
    done = subprocess.run(
        [sys.executable, str(BENCH / "lease.py"), "--seconds", "40", "--out", str(out)], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    results = json.loads(out.read_text())
    assert results["complete"]
    for section in ("right", "compilations", "shapes", "bandwidth", "no_gradient", "tiles"):
        assert results[section], section
    assert all(row["passed"] for row in results["right"])


@pytest.mark.slow
def test_the_loss_benchmark_measures_equal_losses(tmp_path):
    """Ours, dense and (where installed) TRL in processes of their own: the same loss to 1e-5, a time and a peak each."""
    out = tmp_path / "loss.json"
    command = [
        sys.executable,
        str(BENCH / "loss.py"),
        "--rows",
        "64",
        "--vocabulary",
        "300",
        "--hidden",
        "16",
        "--repeats",
        "1",
        "--json",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    results = [r for r in json.loads(out.read_text())["results"] if r["dead"] == 0]
    losses = {r["case"]: r["loss"] for r in results if r["case"] != "bare products"}
    assert {"ours torch", "dense torch"} <= set(losses)
    assert all(v == pytest.approx(losses["dense torch"], abs=1e-5) for v in losses.values()), losses
    assert all(r["seconds"] > 0 for r in results)
