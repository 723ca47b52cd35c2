"""Every shipped kernel compiles for GPUs that are not here, without spills, with wide loads, and only once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "kernels" / "bench"
triton = pytest.importorskip("triton", reason="the Triton kernels need the triton package, which this machine lacks")
SHARED = {"80": 163, "90": 227, "100": 227, "gfx942": 64}  # KiB a program may have


def python(code: list[str]) -> str:
    """A fresh process without the interpreter: kernels defined under it cannot be compiled."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", list(SHARED))
def test_cubins_without_spills(target, tmp_path):
    """Zero spilled bytes, shared memory and registers within the device's, 16-byte loads and stores of logits rows (also
    where V = 50,257 is no multiple of anything), no double precision."""
    if target != "gfx942" and not list(Path(triton.__file__).parent.glob("backends/nvidia/bin/cuobjdump*")):
        pytest.skip("this triton build ships no cuobjdump to read a cubin with")
    out = tmp_path / "table.json"
    python([str(BENCH / "compile.py"), "--targets", target, "--json", str(out)])
    table = json.loads(out.read_text())["rows"]
    assert {row["kernel"].split("/")[1] for row in table} == {
        "token_kernel", "completion_kernel", "row_kernel", "kl_kernel", "stream_kernel", "merge_kernel"}  # fmt: skip
    for row in table:
        assert row["spilled"] == 0, row
        assert row["shared"] <= SHARED[target] * 1024, row
        assert row["registers"] <= 255 if target != "gfx942" else row["registers"] <= 512, row
        if target == "gfx942":
            continue
        assert row["f64"] == 0, row
        if row["kernel"].endswith(("row_kernel", "kl_kernel")):
            assert row["wide_loads"] >= 8, row
        if row["kernel"].endswith("kl_kernel") or (row["kernel"].endswith("row_kernel") and "completion" not in row["kernel"]):
            assert row["wide_stores"] >= 1, row


def test_a_new_batch_length_or_coefficient_is_no_new_compilation():
    """20 random shapes, offsets into larger tensors, coefficients and temperatures: one cache key for each kernel and formula.
    Triton's own key maker runs on the recorded launches; nothing is compiled."""
    code = f"""
import random, sys
sys.path.insert(0, {str(BENCH)!r})
import torch
from compile import GPUTarget, Objective, linear_logps, linear_loss, record, specialised
random.seed(0)
head = torch.zeros(1000, 32, dtype=torch.bfloat16, requires_grad=True)
keys = {{}}
for trial in range(20):
    B, T, skip = random.randint(1, 40), random.randint(1, 70), random.randint(0, 3)
    def column(): return torch.zeros(B + skip, T)[skip:]          # starts anywhere
    hidden = torch.zeros(B, T, 32, dtype=torch.bfloat16, requires_grad=True)
    eps, beta, temperature = random.uniform(0.1, 0.9), random.choice([0.001, 0.5, 1.0]), random.choice([0.6, 1.0, 2.0])
    for ratio in ("token", "sequence_mean"):
        objective = Objective(ratio=ratio, clip_low=eps, clip_high=2 * eps, kl="k3", beta=beta, temperature=temperature)
        weight = column() + 1
        launches = record(ratio, lambda: linear_loss(hidden, head, column().long(), column(), column(), weight[:, 0], weight, objective=objective))
        launches += record("logps", lambda: linear_logps(hidden, head, column().long(), temperature))
        for launch in launches:
            key = str(specialised(launch, GPUTarget("cuda", 90, 32))[2])
            keys.setdefault((launch.name, launch.options.get("RULE")), set()).add(key)
for name, found in keys.items():
    print(name, len(found))
assert len(keys) >= 7, keys.keys()
assert all(len(found) == 1 for found in keys.values()), {{n: f for n, f in keys.items() if len(f) > 1}}
"""
    python(["-c", code])


def test_without_triton_the_package_imports_and_computes():
    """A machine without triton: the torch backend, and a clear error where Triton is asked for."""
    code = """
import sys, importlib.util
sys.modules["triton"] = None
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else find(name, *rest)
import torch
from r1_kernels import Objective, linear_loss, linear_logps, set_backend
hidden, head, y = torch.randn(2, 3, 4, requires_grad=True), torch.randn(7, 4), torch.zeros(2, 3, dtype=torch.long)
loss, stats = linear_loss(hidden, head, y, None, None, torch.ones(2), torch.ones(2, 3), objective=Objective())
loss.backward()
assert stats.as_dict()["n_tokens"] == 6
linear_logps(hidden, head, y)
try:
    set_backend("triton")
except ValueError as error:
    print(error)
"""
    assert "needs the triton package" in python(["-c", code])


def test_the_backend_is_chosen_by_name_and_by_device():
    code = """
import torch, logging, io
stream = io.StringIO()
logging.basicConfig(stream=stream, level=logging.INFO)
from r1_kernels import Objective, set_backend, token_loss
def call(dtype=torch.float32):
    z = torch.zeros(1, 2, dtype=dtype)
    return token_loss(z, None, None, z[:, 0], z, objective=Objective())
call(), call()
assert stream.getvalue().count("torch backend on cpu") == 1, stream.getvalue()      # said once
for wrong in ("cuda", "triton"):
    try:
        set_backend(wrong); call()
    except ValueError as error:
        print(error)
"""
    out = python(["-c", code])
    assert "the backend must be auto, torch or triton, got 'cuda'" in out
    assert "backend 'triton' needs CUDA tensors, got cpu" in out
