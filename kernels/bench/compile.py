"""Compile every shipped kernel for GPUs that are not here, and read what the assembler says: registers, spills, load width.

    python kernels/bench/compile.py                  sm_80, sm_90, sm_100 and gfx942
    python kernels/bench/compile.py --targets 90     one of them
    python kernels/bench/compile.py --json out.json

The launches are the real ones, recorded from small calls of the public functions on a CPU with nothing run, so that what is
compiled here has the argument types and alignments that a GPU run has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.pop("TRITON_INTERPRET", None)  # kernels must be defined as compilable ones

import torch
import triton
from r1_kernels import (
    Objective,
    kernel_rows,
    kernel_stream,
    kernel_tokens,
    linear_kl,
    linear_logps,
    linear_loss,
    set_backend,
    token_loss,
)

from r1_kernels import fused, logits_loss  # isort: skip
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

TARGETS = {"80": ("cuda", 80, 32), "90": ("cuda", 90, 32), "100": ("cuda", 100, 32), "gfx942": ("hip", "gfx942", 64)}


class Launch(NamedTuple):
    name: str
    kernel: Any
    args: tuple
    options: dict


def record(name: str, call) -> list[Launch]:
    """The launches of one public call; nothing runs."""
    seen: list[Launch] = []

    def run(kernel, programs, device, *args, **options):
        if programs:
            options = {"num_warps": 4, "enable_fp_fusion": True} | options
            seen.append(
                Launch(f"{name}/{kernel.__name__}", kernel, args, options | ({"WIDEN": False} if "WIDEN" in options else {}))
            )

    modules = (kernel_tokens, kernel_rows, kernel_stream, fused)
    before = [module.run for module in modules]
    os.environ["TRITON_INTERPRET"] = "1"  # so that CPU tensors are let through to the launch
    try:
        for module in modules:
            module.run = run
        set_backend("triton")
        call()
    finally:
        for module, old in zip(modules, before):
            module.run = old
        del os.environ["TRITON_INTERPRET"]
        set_backend("auto")
    return seen


def rows(B: int = 2, T: int = 3, H: int = 64, V: int = 151936, dtype=torch.bfloat16) -> dict:
    z = torch.zeros(B, T)
    return {"hidden": torch.zeros(B, T, H, dtype=dtype, requires_grad=True), "head": torch.zeros(V, H, dtype=dtype, requires_grad=True),
            "targets": z.long(), "old": z, "ref": z, "sampler": z, "advantage": torch.ones(B), "weight": torch.ones(B, T)}  # fmt: skip


def policy(switches: dict, V: int = 151936, dtype=torch.bfloat16, **sizes: int) -> None:
    d = rows(V=V, dtype=dtype, **sizes)
    linear_loss(d["hidden"], d["head"], d["targets"], d["old"], d["ref"], d["advantage"], d["weight"],
                objective=Objective(**switches), sampler_logp=d["sampler"])  # fmt: skip


R1 = {"clip_high": 0.28, "dual_clip": 3.0, "kl": "k3", "beta": 0.001, "tis_cap": 2.0}


def shipped() -> list[Launch]:
    """Everything that a training run launches, at V = 151,936 with bf16 weights, and the ragged V = 50,257."""
    d = rows()
    columns = [d[k] for k in ("old", "ref", "advantage", "weight")]
    logits = torch.zeros(2, 3, 151936, dtype=torch.bfloat16, requires_grad=True)
    return [
        *record(
            "token",
            lambda: token_loss(d["old"].clone().requires_grad_(), *columns, objective=Objective(**R1), sampler_logp=d["sampler"]),
        ),
        *record("linear", lambda: policy(R1)),
        *record("linear entropy", lambda: policy(R1 | {"entropy_coef": 0.01})),
        *record("linear fp32", lambda: policy(R1, dtype=torch.float32)),
        *record("linear ragged", lambda: policy(R1, V=50257)),
        *record("completion", lambda: policy({"ratio": "sequence_mean", "kl": "k3", "beta": 0.001})),
        *record(
            "logits", lambda: logits_loss(logits, d["targets"], *columns, objective=Objective(**R1), sampler_logp=d["sampler"])
        ),
        *record("logps", lambda: linear_logps(d["hidden"], d["head"], d["targets"])),
        *record("logps fp32", lambda: linear_logps(d["hidden"].float(), d["head"].float(), d["targets"])),
        *record("kl forward", lambda: linear_kl(d["hidden"], d["head"], d["hidden"].detach(), d["head"].detach(), d["weight"])),
        *record(
            "kl jsd",
            lambda: linear_kl(d["hidden"], d["head"], d["hidden"].detach(), d["head"].detach(), d["weight"], divergence="jsd"),
        ),
    ]


def specialised(launch: Launch, target: GPUTarget) -> tuple[Any, Any, Any]:
    """(backend, bound arguments, specialisation): what Triton's cache key is made of."""
    backend = make_backend(target)
    kernel = launch.kernel
    bound, special, _ = create_function_from_signature(kernel.signature, kernel.params, backend)(*launch.args, **launch.options)
    return backend, bound, special


def compiled(launch: Launch, target: GPUTarget) -> Any:
    if target.backend == "hip" and "num_stages" in launch.options:
        launch = launch._replace(options=launch.options | {"num_stages": min(launch.options["num_stages"], 2)})
    backend, bound, special = specialised(launch, target)
    options, signature, constants, attributes = launch.kernel._pack_args(backend, dict(launch.options), bound, special, None)
    return triton.compile(ASTSource(launch.kernel, signature, constants, attributes), target=target, options=options.__dict__)


def resources(binary: Any, target: GPUTarget) -> dict[str, int]:
    """Registers a thread, spilled bytes a thread (CUDA: the stack frame; AMD: spilled registers x 4), shared bytes."""
    if target.backend == "hip":
        text = binary.asm["amdgcn"]
        number = lambda key: int(re.search(rf"\.{key}:\s+(\d+)", text).group(1))  # noqa: E731  # type: ignore[union-attr]
        return {"registers": number("vgpr_count"), "spilled": 4 * number("vgpr_spill_count"), "shared": binary.metadata.shared}
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        usage = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(REG|STACK):(\d+)", usage))
    return {"registers": int(found["REG"]), "spilled": int(found["STACK"]), "shared": binary.metadata.shared}


def widths(binary: Any) -> dict[str, int]:
    """Global loads and stores by width in the PTX: wide = 16 bytes at once; f64 = uses of double precision."""
    ptx = binary.asm.get("ptx", "")
    loads = re.findall(r"\b(ld|st)\.(?:weak\.)?global(?:\.[a-zA-Z0-9:_]+)*?((?:\.v[248])?)\.(b|f|u|s)(\d+)", ptx)
    wide = [kind for kind, vector, _, bits in loads if int(vector[2:] or 1) * int(bits) >= 128]
    return {"wide_loads": wide.count("ld"), "wide_stores": wide.count("st"), "f64": ptx.count(".f64")}


def report(targets: list[str]) -> list[dict]:
    found = []
    for name in targets:
        target = GPUTarget(*TARGETS[name])
        seen: set[str] = set()
        for launch in shipped():
            if launch.name in seen:
                continue
            seen.add(launch.name)
            binary = compiled(launch, target)
            found.append(
                {
                    "target": name,
                    "kernel": launch.name,
                    **resources(binary, target),
                    **(widths(binary) if target.backend == "cuda" else {}),
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = report(arguments.targets)
    print(
        f"triton {triton.__version__}\n{'target':8}{'kernel':32}{'registers':>10}{'spilled':>9}{'shared':>9}{'wide ld':>9}{'wide st':>9}{'f64':>5}"
    )
    for row in table:
        numbers = [row.get(k, "-") for k in ("registers", "spilled", "shared", "wide_loads", "wide_stores", "f64")]
        print(
            f"{row['target']:8}{row['kernel']:32}{numbers[0]:>10}{numbers[1]:>9}{numbers[2]:>9}{numbers[3]:>9}{numbers[4]:>9}{numbers[5]:>5}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"triton": triton.__version__, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
