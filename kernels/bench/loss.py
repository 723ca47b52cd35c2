"""Policy loss from hidden states: time and peak memory of ours, plain torch, TRL and Liger, against the bare products.

    python kernels/bench/loss.py                                  CPU: small shapes, the torch backend
    python kernels/bench/loss.py --rows 2048 --vocabulary 151936 --hidden 256 --json out.json
    on a GPU the same command takes the GPU shapes and adds torch.compile, Liger and the Triton backend

Each figure comes from a process of its own, so that one implementation's memory is not another's peak. A step is forward and
backward to hidden states and head, the whole objective (clip, k3 KL, importance weights) with its statistics read on the host;
`bare products` are the three matrix products of that step and nothing else. What is not installed is left out and said.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from r1_kernels import Objective, linear_logps, linear_loss, set_backend
from r1_kernels.dense import dense_loss

OBJECTIVE = Objective(clip_low=0.2, clip_high=0.28, kl="k3", beta=0.001, tis_cap=2.0)
WITHOUT_KL = Objective(clip_low=0.2, clip_high=0.28, tis_cap=2.0)  # with a KL term every row has a gradient


def make(rows: int, vocabulary: int, hidden: int, dead: float, device: str, dtype: torch.dtype) -> dict:
    """One batch [8, rows / 8]; the share `dead` of completions has advantage 0."""
    g = torch.Generator().manual_seed(0)
    B = 8
    T = rows // B
    h = torch.randn(B, T, hidden, generator=g).to(device, dtype).requires_grad_()
    w = (torch.randn(vocabulary, hidden, generator=g) / hidden**0.5).to(device, dtype).requires_grad_()
    y = torch.randint(0, vocabulary, (B, T), generator=g).to(device)
    with torch.no_grad():
        logp, _ = linear_logps(h, w, y)
    noise = [0.1 * torch.randn(B, T, generator=g).to(device) for _ in range(3)]
    advantage = torch.randn(B, generator=g)
    advantage[: round(dead * B)] = 0
    return {"hidden": h, "head": w, "targets": y, "old": logp + noise[0], "ref": logp + noise[1], "sampler": logp + noise[2],
            "advantage": advantage.to(device), "weight": torch.full((B, T), 1 / rows, device=device)}  # fmt: skip


def ours(d: dict, objective: Objective) -> Callable[[], torch.Tensor]:
    def step() -> torch.Tensor:
        loss, stats = linear_loss(d["hidden"], d["head"], d["targets"], d["old"], d["ref"], d["advantage"], d["weight"],
                                  objective=objective, sampler_logp=d["sampler"])  # fmt: skip
        loss.backward()
        stats.as_dict()
        return loss

    return step


def dense(d: dict, objective: Objective, compiled: bool = False) -> Callable[[], torch.Tensor]:
    """Full logits, autograd; the seven statistics that TRL logs, read on the host."""

    def forward(hidden, head, targets, old, ref, advantage, weight, sampler):
        return dense_loss(
            (hidden @ head.T).float(), targets, old, ref, advantage, weight, objective=objective, sampler_logp=sampler
        )

    run = torch.compile(forward) if compiled else forward

    def step() -> torch.Tensor:
        loss = run(*(d[k] for k in ("hidden", "head", "targets", "old", "ref", "advantage", "weight", "sampler")))
        loss.backward()
        return loss.detach()

    return step


def trl(d: dict, objective: Objective) -> Callable[[], torch.Tensor]:
    """TRL's chunked log-probabilities under the same loss."""
    from r1_kernels.dense import dense_token_loss
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    def step() -> torch.Tensor:
        flat = d["hidden"].flatten(0, 1)
        logp = ChunkedLogProbFunction.apply(
            flat, d["head"], None, d["targets"].flatten(), objective.temperature, 8192, None, 1.0, ("entropy",)
        )[0]
        loss = dense_token_loss(
            logp.view_as(d["targets"]), d["old"], d["ref"], d["advantage"], d["weight"], objective, d["sampler"]
        )
        loss.backward()
        return loss.detach()

    return step


def liger(d: dict, objective: Objective) -> Callable[[], torch.Tensor]:
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

    lo, hi = objective.bounds
    loss_of = LigerFusedLinearGRPOLoss(
        beta=objective.beta, epsilon_low=1 - lo, epsilon_high=hi - 1, loss_type="bnpo", temperature=objective.temperature
    )

    def step() -> torch.Tensor:
        rho = (d["old"] - d["sampler"]).exp().clamp(max=objective.tis_cap)
        loss, _ = loss_of(
            d["hidden"],
            d["head"],
            d["targets"],
            torch.ones_like(d["targets"]),
            d["advantage"],
            None,
            d["ref"],
            d["old"],
            vllm_is_ratio=rho,
        )
        loss.backward()
        return loss.detach()

    return step


def bare_products(d: dict, objective: Objective) -> Callable[[], torch.Tensor]:
    """logits, d hidden, d head: 6 N V H operations, in chunks whose logits fit the same budget."""
    h, w = d["hidden"].detach().flatten(0, 1), d["head"].detach()
    size = max(1, (5 * 2**27 if h.is_cuda else 2**26) // (4 * w.shape[0]))

    def step() -> torch.Tensor:
        dw = torch.zeros_like(w)
        for part in h.split(size):
            z = part @ w.T
            z @ w
            dw.addmm_(z.T, part)
        return dw[0, 0]

    return step


def both(function: Callable, backend: str) -> Callable:
    def made(d: dict, objective: Objective) -> Callable[[], torch.Tensor]:
        set_backend(backend)
        return function(d, objective)

    return made


CASES: dict[str, Callable] = {
    "ours torch": both(ours, "torch"),
    "ours triton": both(ours, "triton"),
    "dense torch": dense,
    "torch.compile": lambda d, o: dense(d, o, compiled=True),
    "trl chunked": trl,
    "liger": liger,
    "bare products": bare_products,
}
GPU_ONLY = ("ours triton", "torch.compile", "liger")


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (the peak) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def one(case: str, rows: int, vocabulary: int, hidden: int, dead: float, repeats: int) -> dict:
    """Measured in this process: median seconds, peak extra MiB over what the batch and the gradients take."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    d = make(rows, vocabulary, hidden, dead, device, torch.bfloat16 if device == "cuda" else torch.float32)
    step = CASES[case](d, WITHOUT_KL if dead else OBJECTIVE)

    def clear() -> None:
        for name in ("hidden", "head"):
            d[name].grad = None

    held = sum(t.numel() * t.element_size() for t in (d["hidden"], d["head"]))  # the gradients, which every case makes
    if device == "cuda":
        for _ in range(3):
            step()
            clear()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak that making the batch left (Linux)
        before = resident("VmRSS")
    seconds, cpu = [], []
    for _ in range(repeats):
        if device == "cuda":
            torch.cuda.synchronize()
        start, started = time.perf_counter(), time.process_time()
        value = step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - started)
        clear()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident("VmHWM")
    return {"case": case, "rows": rows, "vocabulary": vocabulary, "hidden": hidden, "dead": dead, "seconds": sorted(seconds)[repeats // 2],
            "cpu_seconds": sorted(cpu)[repeats // 2], "extra_mib": (peak - before - held) / 2**20, "loss": float(value)}  # fmt: skip


def measured(case: str, shape: tuple[int, int, int, float], repeats: int) -> dict | None:
    """`one` in a process of its own; None (and the reason on the screen) where it cannot run."""
    command = [sys.executable, __file__, "--one", case, *map(str, shape), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"  {case}: not measured: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def versions() -> dict:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found = {"torch": torch.__version__, "device": gpu or f"CPU, {torch.get_num_threads()} threads of {os.cpu_count()}"}
    for name in ("triton", "trl", "liger_kernel"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def table(results: list[dict]) -> None:
    base = next((r for r in results if r["case"] == "bare products"), None)
    for r in results:
        ratio = f"{r['seconds'] / base['seconds']:6.2f}x" if base else ""
        print(
            f"  {r['case']:16}{r['seconds'] * 1e3:10.1f} ms {ratio} cpu {r['cpu_seconds'] * 1e3:10.1f} ms {r['extra_mib']:10.0f} MiB   loss {r['loss']:.6f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--one", nargs=6, metavar=("CASE", "ROWS", "VOCABULARY", "HIDDEN", "DEAD", "REPEATS"), help="measure one in this process"
    )
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--vocabulary", type=int, nargs="+")
    parser.add_argument("--hidden", type=int, nargs="+")
    parser.add_argument("--dead", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    if a.one:
        case, rows, vocabulary, hidden, dead, repeats = a.one
        print(json.dumps(one(case, int(rows), int(vocabulary), int(hidden), float(dead), int(repeats))))
        return
    gpu = torch.cuda.is_available()
    everything = []
    print(versions())
    for n in a.rows or ([16384] if gpu else [2048]):
        for v in a.vocabulary or ([151936] if gpu else [245, 32000]):
            for h in a.hidden or ([2048] if gpu else [256]):
                for dead in a.dead:
                    print(f"N = {n}, V = {v}, H = {h}, rows without gradient {dead:.0%}")
                    cases = a.cases or [c for c in CASES if gpu or c not in GPU_ONLY]
                    results = [r for c in cases if (r := measured(c, (n, v, h, dead), a.repeats))]
                    table(results)
                    everything += results
                    if a.json:  # after every shape: a lease may end
                        a.json.write_text(json.dumps({"versions": versions(), "results": everything}, indent=1) + "\n")


if __name__ == "__main__":
    main()
