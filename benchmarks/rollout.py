"""Rollout tokens per second: `model.generate` with its growing cache against our engine, alternated in one process.

    python benchmarks/rollout.py --threads 2 --json benchmarks/results/rollout.json
    python benchmarks/rollout.py --device cuda --models qwen2_5_0_5b qwen2_5_1_5b --prompts 16 --group 16 --new 1024    on a GPU, in bf16

full: no end-of-sequence id, every completion has --new tokens. ragged (tiny models): three of 245 ids end a completion, so lengths are
geometric with a mean of about 75, as they come in training. Random weights: speed does not depend on what was learned.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from r1.policy.scratch import SHAPES, random_policy
from r1.repro import key
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine

VOCABULARY = 245  # of the tiny models
ENDS = {"full": frozenset(), "ragged": frozenset({1, 2, 3})}
SIZES = {"d=64 L=2": (64, 2, 4, 192), "d=128 L=4": (128, 4, 4, 384)}


def model(name: str, device: torch.device) -> PreTrainedModel:
    """A tiny Qwen3, or a real shape by its name in `r1.policy.scratch`, in bfloat16."""
    if name not in SIZES:
        return random_policy(name, gradient_checkpointing=False, max_length=8192).model.to(device).eval()
    width, layers, heads, inner = SIZES[name]
    torch.manual_seed(0)
    shape = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, head_dim=width // heads, tie_word_embeddings=True, max_position_embeddings=1024,
    )  # fmt: skip
    return Qwen3ForCausalLM(shape).to(device).eval()


def by_generate(net: PreTrainedModel, prompts: list[list[int]], n: int, new: int, ends: frozenset[int]) -> int:
    """Sampled tokens, the padding after an end left out."""
    inputs = torch.tensor(prompts, device=net.device)
    with torch.inference_mode():
        out = net.generate(
            inputs, attention_mask=torch.ones_like(inputs), do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=new,
            num_return_sequences=n, eos_token_id=sorted(ends) or None, pad_token_id=0, use_cache=True,
        )[:, inputs.shape[1] :]  # fmt: skip
    if not ends:
        return out.numel()
    ended = torch.isin(out, torch.tensor(sorted(ends), device=out.device)).int()
    return int((ended.cumsum(1) - ended == 0).sum())  # up to and including the first end


def by_engine(engine: HFEngine, prompts: list[list[int]], n: int, new: int, run: int) -> int:
    seeds = [[key(run, i, j) for j in range(n)] for i in range(len(prompts))]
    groups = engine.generate(prompts, n, Sampling(max_new_tokens=new), seeds)
    return sum(len(c.token_ids) for group in groups for c in group)


def measure(contestants: dict[str, Callable[[int], int]], repeats: int) -> dict[str, float]:
    """Median tokens per second of each, taking turns so that a busy machine is busy for all."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(-1, repeats):  # the first round warms up
        for name, work in contestants.items():
            start = time.perf_counter()
            tokens = work(run)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if run >= 0:
                rates[name].append(tokens / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def race(name: str, lengths: str, a: argparse.Namespace) -> dict[str, Any]:
    """One row of the table: median tokens per second of `generate` and of each of our decoders."""
    device, ends = torch.device(a.device), ENDS[lengths]
    net = model(name, device)
    draw = torch.Generator().manual_seed(0)
    prompts = torch.randint(5, VOCABULARY, (a.prompts, 14), generator=draw).tolist()
    policy = SimpleNamespace(model=net, eos_ids=ends, pad_id=0, device=device)

    def run_generate(run: int) -> int:
        torch.manual_seed(run + 1)
        return by_generate(net, prompts, a.group, a.new, ends)

    contestants: dict[str, Callable[[int], int]] = {"generate": run_generate}
    for kind in decoders(device):
        engine = HFEngine(policy, a.max_rows, kind)
        contestants[kind] = lambda run, engine=engine: by_engine(engine, prompts, a.group, a.new, run)
    rates = measure(contestants, a.repeats)
    best = max(rate for kind, rate in rates.items() if kind != "generate")
    return {"model": name, "lengths": lengths, **{k: round(v) for k, v in rates.items()}, "ratio": best / rates["generate"]}


def decoders(device: torch.device) -> tuple[str, ...]:
    return ("module", "static", "graph") if device.type == "cuda" else ("module", "static")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*SIZES, *SHAPES], default=list(SIZES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--new", type=int, default=192, help="token limit of a completion")
    parser.add_argument("--max-rows", type=int, help="rows the engine decodes together (default: the engine's own)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    names = ("generate", *decoders(torch.device(a.device)))
    print(
        f"{'model':<13} {'lengths':<7} "
        + " ".join(f"{name:>9}" for name in names)
        + f"  ratio   tokens/s, median of {a.repeats}; ratio: our best / generate"
    )
    rows = []
    for name in a.models:
        for lengths in ENDS if name in SIZES else ("full",):
            row = race(name, lengths, a)
            rows.append(row)
            print(
                f"{name:<13} {lengths:<7} " + " ".join(f"{row[k]:>9,.0f}" for k in names) + f" {row['ratio']:>6.2f}", flush=True
            )
    if a.json:
        setting = {k: v for k, v in vars(a).items() if k != "json"}
        hardware = torch.cuda.get_device_name() if a.device.startswith("cuda") else platform.processor() or platform.machine()
        versions = {
            "date": date.today().isoformat(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "hardware": hardware,
        }
        a.json.parent.mkdir(parents=True, exist_ok=True)
        a.json.write_text(json.dumps({**setting, **versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
