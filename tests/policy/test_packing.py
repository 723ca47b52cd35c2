"""Packed sequences are alone in their row: the same states as padded ones, and nothing of a neighbour."""

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

from r1.policy import Policy
from r1.policy.packing import pack, why_not_packed
from r1.records import Problem, Trace
from r1.rollout.collate import collate

SHAPE = dict(
    vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, eos_token_id=1, bos_token_id=None,
)  # fmt: skip
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config),
}
ROWS = [([5, 6, 7], [8, 9]), ([4], [3, 2, 1, 5, 6]), ([9, 9], [7]), ([3, 4, 5, 6], [7, 8, 9, 10])]


def trace(prompt: list[int], completion: list[int]) -> Trace:
    return Trace(Problem("p", "?"), prompt, completion, [-1.0] * len(completion), "", "stop")


def batch():
    return collate([trace(*row) for row in ROWS], pad_id=0)


def new_policy(family: str, attention: str = "sdpa") -> Policy:
    torch.manual_seed(0)
    model_class, config = FAMILIES[family]
    model = model_class._from_config(config(**SHAPE), attn_implementation=attention)
    for p in model.parameters():
        torch.nn.init.normal_(p, mean=1.0 if p.dim() == 1 else 0.0, std=0.25)
    return Policy(model, SimpleNamespace(eos_token_id=1, pad_token_id=0), "tiny")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_states_are_the_padded_ones(family: str, attention: str) -> None:
    policy, rows = new_policy(family, attention), batch()
    padded = policy.hidden(rows)
    seen = []
    policy.model.base_model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    packed = policy.with_packing().hidden(rows)
    assert packed.shape == padded.shape
    assert torch.allclose(packed[rows.mask], padded[rows.mask], atol=1e-5)
    assert seen[0]["input_ids"].shape == (3, 8)  # 5 + 6 + 3 + 8 = 22 tokens in 24 places; padded it was [4, 9] = 36
    assert seen[0]["attention_mask"] is None


def test_one_row_holds_everything_for_variable_length_kernels() -> None:
    packed = pack(batch(), one_row=True, pad_id=0)
    assert packed.tokens.tolist() == [[3, 4, 5, 6, 7, 8, 9, 10, 4, 3, 2, 1, 5, 6, 5, 6, 7, 8, 9, 9, 9, 7]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 0, 1, 2]]
    # the first row begins at 14; its last prompt token, at 16, predicts its first completion token
    assert packed.where[0, :2].tolist() == [16, 17]
    assert packed.where[1].tolist() == [8, 9, 10, 11, 12]


def test_a_neighbour_changes_nothing() -> None:
    policy = new_policy("qwen3").with_packing()
    with torch.no_grad():
        alone = [policy.hidden(collate([trace(*row)], 0)) for row in ROWS]
        together = policy.hidden(batch())
    for i, own in enumerate(alone):
        assert torch.allclose(together[i, : own.shape[1]], own[0], atol=1e-5)


def test_models_that_would_mix_sequences_are_refused() -> None:
    policy = new_policy("qwen3")
    policy.model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="'flex_attention' is none of sdpa, eager"):
        policy.with_packing()
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=40, n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=1)
    )
    assert "no rotary positions" in str(why_not_packed(gpt2))
