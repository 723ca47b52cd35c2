"""Low-rank adapters (LoRA, Hu et al. 2022) by peft, inside the model: W x becomes W x + alpha / r * B (A x), and only A and B learn.

The adapter is injected into the model's own layers instead of wrapped around it, so hidden states, head, sampler and stages see
the model they know. What reads weights rather than calling the model (an export, another engine) asks `merged_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1 import repro

NAME = "default"
PREFIX = "base_model.model."  # what peft writes before every name, since it saves from inside its wrapper
# What a peft config may set for the adapter to be W + scale * B A (and trained biases of the base), which `merged_state` merges.
# Whatever else is set (use_dora, lora_bias, modules_to_save, ...) makes another function of the same weights.
MERGEABLE = {
    "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "fan_in_fan_out", "target_modules",
    "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights", "eva_config", "corda_config", "loftq_config",
    "lora_ga_config",
}  # fmt: skip


@dataclass(frozen=True)
class Lora:
    """r        rank of the update
    alpha    its scale, alpha / r
    dropout  on the adapter's input, for supervised stages (reinforcement learning switches every dropout off)
    targets  names of the linear layers that are adapted; "all-linear" is all but the head
    """

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | Sequence[str] = "all-linear"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.r < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"expected r >= 1, alpha > 0 and 0 <= dropout < 1, got {self.r}, {self.alpha} and {self.dropout}")

    def attach(self, model: PreTrainedModel) -> None:
        """Freeze the model and give it a fresh adapter: B is 0, so it computes what it did before."""
        from peft import LoraConfig

        targets = self.targets if isinstance(self.targets, str) else list(self.targets)
        config = LoraConfig(r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets)  # type: ignore[arg-type]
        inject(model, config, self.seed)


def inject(model: PreTrainedModel, config: Any, seed: int = 0) -> None:
    """Freeze the model and put an adapter of this peft config into it, A drawn by (seed, "lora"), in float32: an update of 1e-6
    would vanish in bfloat16."""
    from peft import inject_adapter_in_model

    if adapter_of(model) is not None:
        raise ValueError("the model has an adapter already; save it merged (Policy.save does) and start from that folder")
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(repro.key(seed, "lora"))
        inject_adapter_in_model(config, model, NAME)
    if hasattr(model.get_output_embeddings(), "lora_A"):
        raise ValueError(
            "an adapter on the head is not supported: losses read the head's weight (Policy.head), which would lack the adapter; "
            "leave it out of the targets"
        )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def adapter_of(model: Any) -> Any:
    """The peft config of the model's adapter, or None."""
    return (getattr(model, "peft_config", None) or {}).get(NAME)


def is_adapter(folder: str | Path) -> bool:
    return (Path(folder) / "adapter_config.json").is_file()


def base_of(folder: str | Path) -> str:
    """The model that a saved adapter belongs to."""
    from peft import PeftConfig

    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    if not base:
        raise ValueError(f"the adapter at {str(folder)!r} does not say which model it belongs to (base_model_name_or_path)")
    return str(base)


def load_adapter(model: PreTrainedModel, folder: str | Path) -> None:
    """Put a saved adapter into the model it was trained on, ready to learn on. Raises ValueError for one that could not be merged
    exactly, and so neither exported nor sampled from by another engine."""
    from peft import PeftConfig, set_peft_model_state_dict
    from peft.utils import load_peft_weights

    config = PeftConfig.from_pretrained(str(folder))
    if strange := list(_not_mergeable(config)):
        raise ValueError(
            f"the adapter at {str(folder)!r} sets {', '.join(strange)}; supported is plain LoRA (use_rslora, rank_pattern, "
            f"alpha_pattern and bias included). Merge it into its model with peft (merge_and_unload) and start from that"
        )
    config.inference_mode = False
    inject(model, config)
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in load_peft_weights(str(folder), device="cpu").items()}
    outcome: Any = set_peft_model_state_dict(model, weights, NAME)
    absent = [name for name in outcome.missing_keys if ".lora_" in name]
    if absent or outcome.unexpected_keys:
        raise ValueError(
            f"the adapter at {str(folder)!r} does not fit the model: it lacks {absent[:3] or 'nothing'} and has "
            f"{list(outcome.unexpected_keys)[:3] or 'nothing'} that the model has no place for"
        )


def _not_mergeable(config: Any) -> Iterator[str]:
    """The settings of a peft config that make it something else than plain LoRA."""
    from peft import LoraConfig, PeftConfig

    plain, known = LoraConfig(), MERGEABLE | {field.name for field in fields(PeftConfig)} - {"peft_type"}
    for name, value in vars(config).items():
        if name not in known and value != getattr(plain, name, None):
            yield f"{name}={getattr(value, 'value', value)}"


def save_adapter(model: PreTrainedModel, folder: str | Path) -> None:
    """The adapter alone, as peft writes it: `PeftModel.from_pretrained` and `Policy.load` read it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name=NAME)
    save_file({PREFIX + name: tensor.contiguous() for name, tensor in state.items()}, folder / "adapter_model.safetensors")
    config = adapter_of(model)
    base = Path(str(model.config._name_or_path))
    config.base_model_name_or_path = str(base.resolve()) if base.is_dir() else str(base)
    config.save_pretrained(str(folder))


@torch.no_grad()
def merged_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """The state dict of the same model without an adapter, whose weights give the same outputs: W + alpha / r * B A.

    Names and shapes are those of the plain model, the model itself is left as it is. Without an adapter it is `state_dict()`.
    """
    if adapter_of(model) is None:
        return model.state_dict()
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        owner, base, leaf = name.partition(".base_layer.")
        if ".lora_" in name:
            continue
        if base and leaf == "weight":
            delta = model.get_submodule(owner).get_delta_weight(NAME)  # type: ignore[operator]
            tensor = (tensor.to(torch.promote_types(tensor.dtype, delta.dtype)) + delta).to(tensor.dtype)
        state[f"{owner}.{leaf}" if base else name] = tensor
    return state
