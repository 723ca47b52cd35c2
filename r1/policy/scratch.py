"""Real shapes with random weights: what a run on a real model costs, seen before anything is downloaded.

The tokenizer is one token a byte, so any text goes in; the vocabulary is as wide as the real one, since the head is what the
loss and the sampler spend their memory on.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config

from r1 import repro
from r1.policy.policy import Policy
from r1.policy.prompts import Template

# From the models' public config.json files.
SHAPES: dict[str, tuple[type, dict[str, Any]]] = {
    "qwen2_5_0_5b": (Qwen2Config, dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                                       num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True, rope_theta=1e6)),
    "qwen2_5_1_5b": (Qwen2Config, dict(hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12,
                                       num_key_value_heads=2, vocab_size=151936, tie_word_embeddings=True, rope_theta=1e6)),
    "qwen3_0_6b": (Qwen3Config, dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
                                     num_key_value_heads=8, head_dim=128, vocab_size=151936, tie_word_embeddings=True, rope_theta=1e6)),
    "llama3_2_1b": (LlamaConfig, dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
                                      num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=True, rope_theta=5e5)),
}  # fmt: skip


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """<pad>, <eos> and one token for each of the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate(["<pad>", "<eos>", *alphabet])}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")


def random_policy(
    shape: str = "qwen2_5_0_5b",
    template: Template | str = "r1_zero",
    dtype: Literal["float32", "bfloat16"] = "float32",
    gradient_checkpointing: bool = True,
    max_length: int = 32768,
    layers: int | None = None,
    seed: int = 0,
) -> Policy:
    """A policy of a real model's shape with random weights. `layers` cuts its depth for a quick try."""
    if shape not in SHAPES:
        raise ValueError(f"no shape {shape!r}; there are {', '.join(SHAPES)}")
    kind, sizes = SHAPES[shape]
    if layers is not None:
        sizes = {**sizes, "num_hidden_layers": layers}
    config = kind(**sizes, max_position_embeddings=max_length, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(repro.key(seed, "random policy"))
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Policy(model, byte_tokenizer(), template)
