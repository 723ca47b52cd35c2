"""Tiny random models with strong preferences, and the slow obvious computation that samplers are held to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from r1 import repro
from r1.records import Problem, Trace

V = 48
SHAPE = dict(
    vocab_size=V, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64
)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip


def build(name: str):
    """Random models whose logits spread over several units, in eval mode."""
    torch.manual_seed(0)
    model = {
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=4)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=1, rope_parameters=LLAMA3, attention_bias=True, mlp_bias=True)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=1)),
    }[name]()  # fmt: skip
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.25)
    return model.eval()


PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3], [11], [12, 13, 14]]


def seeds(prompts=PROMPTS, n: int = 4, *keys) -> list[list[int]]:
    return [[repro.key(*keys, repr(prompt), i) for i in range(n)] for prompt in prompts]


@torch.no_grad()
def alone(model, prompt, token_ids, temperature: float = 1.0) -> torch.Tensor:
    """[T, V] float32 log-probabilities of every next token, the row by itself, no padding and no cache."""
    logits = model(input_ids=torch.tensor([[*prompt, *token_ids]]), use_cache=False).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 : -1].float() / temperature, dim=-1)


def trace(prompt, completion, problem_id: str = "p", **fields) -> Trace:
    known = dict(logps=[-0.5] * len(completion), text="", finish_reason="stop", problem=Problem(problem_id, "?", "1"))
    return Trace(prompt_ids=list(prompt), token_ids=list(completion), **{**known, **fields})


def policy(name: str = "qwen3", eos_ids=(1, 2)) -> SimpleNamespace:
    """What an engine needs of a policy."""
    return SimpleNamespace(model=build(name), eos_ids=frozenset(eos_ids), pad_id=1, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    return SimpleNamespace(policy=policy, PROMPTS=PROMPTS, seeds=seeds, alone=alone, trace=trace, V=V)
