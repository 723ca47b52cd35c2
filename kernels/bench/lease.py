"""Everything a short GPU lease should answer, in one command: right? how fast? how much memory? which tile?

    python kernels/bench/lease.py --out results.json                 9 minutes at most, needs torch and triton only
    TRITON_INTERPRET=1 python kernels/bench/lease.py --seconds 60     the same script on a CPU, at toy shapes

Sections run in the order of their worth and each has a deadline; results are written after every line, so that a lease that
ends early has still said something. Times are medians of CUDA events; ratios are to the bare cuBLAS products of the same
shape in the same process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from loss import OBJECTIVE, WITHOUT_KL, bare_products, both, dense, make, ours, versions
from r1_kernels import Objective, fused, kernel_rows, linear_logps, linear_loss, logits_loss, set_backend
from r1_kernels.dense import dense_logps, dense_loss
from r1_kernels.launch import run

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
DTYPE = torch.bfloat16 if GPU else torch.float32
CHECKED = [
    {},
    {"kl": "k3", "beta": 0.1, "tis_cap": 1.1, "clip_high": 0.28, "dual_clip": 1.5, "temperature": 0.8},
    {"ratio": "sequence_mean", "kl": "k2", "beta": 0.1},
    {"ratio": "sequence_sum", "entropy_coef": 0.05},
    {"surrogate": "cispo", "clip_high": 0.3, "entropy_coef": 0.05},
    {"surrogate": "sapo", "kl": "k1", "beta": 0.1, "importance_corrected_kl": True},
]


def timed(step: Callable[[], object], repeats: int = 10, warm: int = 3) -> float:
    """Median milliseconds."""
    for _ in range(warm if GPU else 0):
        step()
    times = []
    for _ in range(repeats if GPU else 1):
        if GPU:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            step()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end))
        else:
            began = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - began))
    return sorted(times)[len(times) // 2]


def peak_mib(step: Callable[[], object]) -> float:
    if not GPU:
        return 0.0
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def right() -> Iterator[dict]:
    """Kernels on this device against float64 of the same rounded inputs: log-probability, loss, gradients; then three times the
    same bits."""
    set_backend("triton")
    for V in (1000, 32000) if GPU else (70,):
        for number, switches in enumerate(CHECKED):
            d = make(64 if GPU else 16, V, 64 if GPU else 8, 0.0, DEVICE, DTYPE)
            objective = Objective(**switches)
            columns = [d[k] for k in ("old", "ref", "advantage", "weight")]
            outcomes = []
            for _ in range(3):
                hidden, head = (d[k].detach().clone().requires_grad_() for k in ("hidden", "head"))
                loss, _ = linear_loss(hidden, head, d["targets"], *columns, objective=objective, sampler_logp=d["sampler"])
                loss.backward()
                outcomes.append((loss.detach(), hidden.grad, head.grad))
            wide = [d[k].detach().double().requires_grad_() for k in ("hidden", "head")]
            exact = [c.double() for c in columns]
            truth = dense_loss(wide[0] @ wide[1].T, d["targets"], *exact, objective=objective, sampler_logp=d["sampler"].double())
            truth.backward()
            logp, entropy = linear_logps(d["hidden"], d["head"], d["targets"], objective.temperature)
            expected = dense_logps((wide[0] @ wide[1].T).detach(), d["targets"], objective.temperature)
            error = {"loss": abs(outcomes[0][0].item() - truth.item()) / max(1e-6, abs(truth.item()))}
            for name, got, want in zip(("d_hidden", "d_head"), outcomes[0][1:], (w.grad for w in wide)):
                error[name] = ((got - want).abs().max() / want.abs().max()).item()
            error |= {"logp": (logp - expected[0]).abs().max().item(), "entropy": (entropy - expected[1]).abs().max().item()}
            same = all(torch.equal(a, b) for other in outcomes[1:] for a, b in zip(outcomes[0], other))
            gradient = 2**-6 if torch.bfloat16 == DTYPE else 1e-4
            passed = (
                same and error["logp"] <= 2e-5 and error["loss"] <= 1e-3 and max(error["d_hidden"], error["d_head"]) <= gradient
            )
            yield {"V": V, "case": number, "switches": str(switches), "bitwise_thrice": same, "passed": passed, **error}


def compilations() -> Iterator[dict]:
    """Compiled binaries of the row and token kernels after 20 random shapes and coefficients."""
    from r1_kernels import kernel_tokens

    set_backend("triton")
    g = torch.Generator().manual_seed(0)

    def count() -> int:
        kernels = (kernel_rows.row_kernel, kernel_tokens.token_kernel)
        return sum(len(cache[0]) for k in kernels for cache in getattr(k, "device_caches", {}).values())

    counts = []
    for _ in range(20 if GPU else 2):
        rows = 8 * int(torch.randint(1, 40, (1,), generator=g))
        eps = 0.1 + torch.rand(1, generator=g).item()
        objective = Objective(
            clip_low=min(eps, 1.0), clip_high=eps, kl="k3", beta=eps / 7, temperature=0.5 + eps, tis_cap=1 + eps
        )
        ours(make(rows, 1000 if GPU else 40, 64, 0.0, DEVICE, DTYPE), objective)()
        counts.append(count())
    yield {"after_first": counts[0], "after_all": counts[-1], "passed": counts[0] == counts[-1] and (counts[0] > 0 or not GPU)}


def shapes() -> Iterator[dict]:
    """Level (c): ours against the bare products and plain torch, all rows alive and half of them without gradient; peak memory."""
    grid = [(16384, 151936, 2048), (16384, 151936, 4096), (8192, 151936, 1536), (16384, 32000, 2048), (32768, 151936, 2048)]
    for rows, V, H in grid if GPU else [(64, 500, 16)]:
        for dead in (0.0, 0.5, 0.25):
            d = make(rows, V, H, dead, DEVICE, DTYPE)
            objective = WITHOUT_KL if dead else OBJECTIVE
            products = timed(bare_products(d, objective))

            def clean(step: Callable[[], object], d: dict = d) -> Callable[[], None]:
                def once() -> None:
                    step()
                    d["hidden"].grad = d["head"].grad = None

                return once

            step = clean(both(ours, "triton" if GPU else "torch")(d, objective))
            found = {"N": rows, "V": V, "H": H, "dead": dead, "products_ms": products, "ours_ms": timed(step), "ours_mib": peak_mib(step),
                     "gradients_mib": sum(d[k].numel() * d[k].element_size() for k in ("hidden", "head")) / 2**20}  # fmt: skip
            found["ratio"] = found["ours_ms"] / products
            if dead == 0 and rows * V * 12 < 60 * 2**30:
                plain = clean(dense(d, objective))
                found |= {"dense_ms": timed(plain, 3), "dense_mib": peak_mib(plain)}
            yield found


def bandwidth() -> Iterator[dict]:
    """Level (b): the row pass over existing logits against a copy of the same bytes (two readings and a writing, in place)."""
    rows, V = (8192, 151936) if GPU else (8, 500)
    z = torch.randn(rows, V, device=DEVICE, dtype=DTYPE)
    other = torch.empty_like(z)
    copy = timed(lambda: other.copy_(z))
    moved = 2 * z.numel() * z.element_size()
    y, one = torch.zeros(1, rows, dtype=torch.long, device=DEVICE), torch.ones(1, rows, device=DEVICE)
    set_backend("triton")
    source = z[None].requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            logits_loss(source, y, one, one, one[:, 0], one, objective=OBJECTIVE, sampler_logp=one)

    def both_ways() -> None:
        logits_loss(source * 1, y, one, one, one[:, 0], one, objective=OBJECTIVE, sampler_logp=one, inplace=True)

    multiply = timed(lambda: source.detach() * 1)
    forward_ms, whole_ms = timed(forward), timed(both_ways) - multiply
    rate = moved / copy / 1e6
    yield {"copy_GBps": rate, "forward_ms": forward_ms, "forward_share": moved / 2 / forward_ms / 1e6 / rate,
           "forward_backward_ms": whole_ms, "forward_backward_share_of_3_passes": 1.5 * moved / whole_ms / 1e6 / rate}  # fmt: skip


def no_gradient() -> Iterator[dict]:
    """`linear_logps`: the streaming kernel against cuBLAS chunks with the row kernel, and the bare product."""
    for rows, V, H in [(16384, 151936, 2048), (16384, 151936, 4096)] if GPU else [(64, 500, 16)]:
        d = make(rows, V, H, 0.0, DEVICE, DTYPE)
        set_backend("triton")

        def chunked(d: dict = d) -> None:
            with torch.no_grad():
                linear_loss(d["hidden"], d["head"], d["targets"], None, None, d["advantage"], d["weight"], objective=Objective())

        h, w = d["hidden"].detach().flatten(0, 1), d["head"].detach()
        product = timed(lambda h=h, w=w: [part @ w.T for part in h.split(1024)])
        stream = timed(lambda d=d: linear_logps(d["hidden"], d["head"], d["targets"]))
        yield {
            "N": rows,
            "V": V,
            "H": H,
            "product_ms": product,
            "stream_ratio": stream / product,
            "chunked_ratio": timed(chunked) / product,
        }


def tiles() -> Iterator[dict]:
    """The row kernel alone on one chunk, for each block and number of warps: the second reading wants the L2 cache."""
    rows, V = (1024, 151936) if GPU else (2, 500)
    d = make(rows if GPU else 8, V, 64, 0.0, DEVICE, DTYPE)
    columns = kernel_rows.Columns(None, None, None, d["advantage"][:, None].expand(8, len(d["weight"][0])), d["weight"])
    table = kernel_rows.RowColumns(d["targets"], columns, Objective())
    chunk = fused.Chunk(table.targets.numel(), V, d["head"])
    index = torch.arange(table.targets.numel(), device=DEVICE)
    numbers, formula = kernel_rows.switches(Objective())
    for block in (1024, 2048, 4096, 8192):
        for warps in (4, 8, 16, 32) if GPU else (8,):

            def step(block: int = block, warps: int = warps) -> None:
                run(kernel_rows.row_kernel, index.numel(), index.device, chunk.logits, chunk.logits.stride(0), chunk.d_logits, chunk.d_logits.stride(0),
                    index, 0, table.targets, table.logp, table.entropy, table.top1, None, None, *table.columns, V, 1.0, *numbers, **formula,
                    RULE="objective", GATHER=False, NARROW=chunk.d_logits.dtype != chunk.logits.dtype, BLOCK=block, num_warps=warps, num_stages=1)  # fmt: skip

            chunk.logits.normal_()
            yield {"block": block, "warps": warps, "ms": timed(step)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--out", type=Path, default=Path("lease.json"))
    a = parser.parse_args()
    began = time.monotonic()
    results: dict = {"versions": versions(), "complete": False}
    print(results["versions"], flush=True)
    for section, share in (
        (right, 0.3),
        (compilations, 0.4),
        (shapes, 0.75),
        (bandwidth, 0.82),
        (no_gradient, 0.9),
        (tiles, 1.0),
    ):
        rows = results[section.__name__] = []
        try:
            for row in section():
                rows.append(row | {"at_s": round(time.monotonic() - began, 1)})
                print(section.__name__, row, flush=True)
                a.out.write_text(json.dumps(results, indent=1) + "\n")
                if time.monotonic() - began > share * a.seconds:
                    print(f"{section.__name__}: out of its time, the next section", flush=True)
                    break
        except Exception as error:  # one section that fails must not cost the others; it is in the file and in the exit code
            results[section.__name__ + "_failed"] = f"{type(error).__name__}: {error}"
            print(section.__name__, "failed:", error, flush=True)
    failed = [k for k in results if k.endswith("_failed")]
    wrong = [row for name in ("right", "compilations") for row in results[name] if not row["passed"]]
    results |= {"complete": not failed, "seconds": time.monotonic() - began}
    a.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{len(wrong)} wrong, {len(failed)} sections failed, {results['seconds']:.0f} s")
    sys.exit(1 if wrong or failed else 0)


if __name__ == "__main__":
    main()
