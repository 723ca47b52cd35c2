"""A trained policy as a folder that other programs can use: transformers, vLLM, `r1 serve`, `r1 chat`, the hub.

    export(policy, "out/tiny-r1", run=read_stage("runs/tiny_r1_zero/..."))

The folder holds safetensors, config, tokenizer with chat template, generation config, model card (README.md) and LICENSE.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from r1.analysis.reading import Run
from r1.policy import Policy
from r1.serving.card import model_card
from r1.serving.chat_template import Thought, chat_template, response_template
from r1.serving.licence import Licence, find_licence


@dataclass(frozen=True)
class Generation:
    """How the model samples unless a client says otherwise: the paper's evaluation (v2 D.1). max_new_tokens: None, as many as fit."""

    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or (self.max_new_tokens is not None and self.max_new_tokens < 1):
            raise ValueError(
                f"expected temperature >= 0, 0 < top_p <= 1 and max_new_tokens >= 1, got {self.temperature}, {self.top_p} and {self.max_new_tokens}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Top-k 0: transformers would keep the 50 likeliest tokens where nothing is said, which no paper's figures did."""
        sampling = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        found = sampling if self.temperature else {"do_sample": False}
        return found | ({"max_new_tokens": self.max_new_tokens} if self.max_new_tokens else {})


def export(
    policy: Policy,
    out: str | Path,
    run: Run | None = None,
    thought: Thought = "strip",
    generation: Generation | None = None,
    name: str | None = None,
    licence: Licence | None = None,
    checkpoint: str | None = None,
    evaluations: Sequence[str | Path] = (),
) -> Path:
    """Write the folder and give its path; it appears whole or not at all.

    run          where card and licence get their facts; None says less
    thought      what the chat template does with the thoughts of earlier turns (see `chat_template`)
    generation   default sampling; None: the paper's, with the token limit that the run sampled with
    name         of the model, in its card (default: the folder's)
    checkpoint   what these weights are called, where they are not the end of the run; the run's figures are then left out
    evaluations  folders of `r1 eval` on these weights, for the card
    Raises ValueError where `out` holds something already, and whatever `chat_template` and `find_licence` refuse.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; choose another --out, or remove it")
    config = run.config if run else {}
    generation = generation or Generation(max_new_tokens=sampled_tokens(config))
    licence = licence or find_licence(config)
    made = chat_template(policy.template, policy.tokenizer, thought)
    facts = {
        "template": policy.template.name,
        "thought": thought,
        "generation": generation.settings,
        "checkpoint": checkpoint,
    }
    told = Run(run.folder, run.config, run.manifest, {}, {}) if run and checkpoint else run
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        policy.save(part)
        shutil.rmtree(part / "adapter", ignore_errors=True)  # merged into the weights; alone it is for training on
        card = model_card(name or out.resolve().name, told, licence, facts | {"parameters": _parameters(part)}, evaluations)
        _write_tokenizer(policy, part, made)
        _generation_config(policy, generation).save_pretrained(part)
        card.save(part / "README.md")
        (part / "LICENSE").write_text(licence.text, encoding="utf-8")
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def sampled_tokens(config: Mapping[str, Any]) -> int | None:
    """The token limit that a run sampled with, in training or else in its evaluations: longer answers it never gave."""
    stages = [config.get("stage") or {}], (config.get("benchmark") or {}).values()
    for nodes in stages:
        limits = [limit for node in nodes if (limit := ((node or {}).get("sampling") or {}).get("max_new_tokens"))]
        if limits:
            return max(limits)
    return None


def _parameters(folder: Path) -> int:
    """As they were written: an adapter is merged, tied weights are there once."""
    from safetensors import safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def _write_tokenizer(policy: Policy, folder: Path, made: str) -> None:
    """Saved again, from a fresh copy, with the templates: the policy's own tokenizer is not touched."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = made
    tokenizer.response_template = response_template(policy.template, policy.tokenizer)
    tokenizer.save_pretrained(folder)


def _generation_config(policy: Policy, generation: Generation) -> GenerationConfig:
    """Every id that ends a sequence stays in it: models list several, and without one they never stop."""
    ends = sorted(policy.eos_ids)
    return GenerationConfig(
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        bos_token_id=policy.tokenizer.bos_token_id,
        pad_token_id=policy.pad_id,
        **generation.settings,
    )
