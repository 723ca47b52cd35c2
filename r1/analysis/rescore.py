"""Traces seen by another policy: for each token its ratio to the sampling policy, and the entropy of the distribution it came from.

    policy = Policy.load("runs/demo/r1_zero/hf")
    for found in rescore(policy, traces): found["ratio"], found["entropy"]      # [T] each

The ratio of the run's last policy to the one that sampled says which tokens training made more likely, and which it gave up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1 import metrics
from r1.analysis.reading import Run

if TYPE_CHECKING:
    from r1.policy import Policy
    from r1.records import Trace

CHUNK = 256  # traces collated at once


def rescore(
    policy: Policy, traces: Sequence[Trace], temperature: float = 1.0, tokens: int = 16384
) -> list[dict[str, list[float]]]:
    """One {"entropy": [T], "ratio": [T]} a trace, in nats and as policy / sampler at this temperature.

    With top-p or top-k below 1 the stored log-probabilities are of the cut distribution, and a ratio of 1 is then below 1.
    tokens  tokens of a forward pass, padding included
    """
    import torch

    from r1.rollout.collate import collate, microbatches, narrow

    policy.eval()
    found: list[dict[str, list[float]]] = []
    for start in range(0, len(traces), CHUNK):
        chunk = traces[start : start + CHUNK]
        batch = collate(chunk, policy.pad_id)
        rows: dict[int, dict[str, list[float]]] = {}
        for part in microbatches(batch, range(len(batch)), tokens):
            piece = narrow(batch, part).to(policy.device)
            with torch.no_grad():
                logps, entropies = policy.logps(piece, temperature)
            assert piece.sampler_logp is not None
            ratios = (logps - piece.sampler_logp).exp()
            for row, ratio, entropy in zip(part, ratios.tolist(), entropies.tolist()):
                length = len(chunk[row].token_ids)
                rows[row] = {"entropy": entropy[:length], "ratio": ratio[:length]}
        found += [rows[i] for i in range(len(chunk))]
    return found


def policy_folder(run: Run) -> Path:
    """Where the run's last policy lies; of a run with parts, that of the part that was reinforced. ValueError where it has none."""
    reinforced = [part for part in run.parts if part.curve(metrics.REWARD)]
    for folder in (run.folder, *(part.folder for part in reversed(reinforced)), *(part.folder for part in reversed(run.parts))):
        if (folder / "hf" / "config.json").is_file():
            return folder / "hf"
    raise ValueError(f"{run.folder} holds no policy (hf/config.json), which `r1 train` writes at its end")


def temperature_of(config: dict[str, Any], phase: str) -> float:
    """The temperature that samples of a phase were drawn at; 1 where the config does not say, and for greedy decoding."""
    phase = phase.partition(" (")[0]  # of another part: its samples are of the same benchmarks
    node = (config.get("benchmark") or {}).get(phase.removeprefix("eval/")) if phase.startswith("eval/") else config.get("stage")
    value = ((node or {}).get("sampling") or {}).get("temperature")
    return float(value) if value else 1.0
