"""The fast path computes what the module computes, and steps aside where it would not."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from r1.rollout import decoder
from r1.rollout.decoder import StaticDecoder, why_not
from r1.rollout.engine import Sampling
from r1.rollout.generic import ModuleDecoder
from r1.rollout.hf import HFEngine, left_pad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("prompts", [[[5, 6, 7], [9, 8, 7]], [[5, 6, 7, 8], [9, 8], [4]]], ids=["one length", "padded"])
@pytest.mark.parametrize("name", ["qwen3", "qwen2", "llama"])
@torch.inference_mode()
def test_step_by_step_the_logits_are_the_modules(lab, name, prompts, dtype, monkeypatch):
    """Grouped heads, biases, q/k norm, llama3 frequencies; rows leaving in the middle; a cache that grows twice; bug 3."""
    monkeypatch.setattr(decoder, "ROOM", 2)  # 3 + 2 columns, then 10, then all 15 (4 + 2, 12, 16 for the padded prompts)
    model = lab.policy(name).model.to(dtype)
    tokens, attention = left_pad(prompts, 0)
    error = 1e-5 if dtype == torch.float32 else 0.15  # logits of a few units, 8 bits of mantissa
    draws = torch.Generator().manual_seed(0)

    def compare(a, b):
        assert float((a.float() - b.float()).abs().max()) < error * max(1.0, float(b.abs().max()))

    fast, first = StaticDecoder(model).start(tokens, attention, 3, 12)
    module, expected = ModuleDecoder(model).start(tokens, attention, 3, 12)
    compare(first, expected)
    rows = 3 * len(prompts)
    for t in range(12):
        if t in (4, 9):  # rows 1 and 2 leave, the last takes the place of row 1
            slots = torch.tensor([0, rows - 1, *range(3, rows - 1)])
            fast.keep(slots)
            module.keep(slots)
            rows -= 2
        token = torch.randint(lab.V, (rows,), generator=draws)
        compare(fast.step(token), module.step(token))


def test_it_is_taken_where_it_fits(lab):
    for name in ("qwen3", "qwen2", "llama"):
        assert why_not(lab.policy(name).model) is None


def test_it_steps_aside(lab):
    assert "GPT2LMHeadModel is not one of" in why_not(GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1)))
    shape = dict(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1
    )
    sliding = Qwen2Config(**shape, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    assert "sliding" in why_not(Qwen2ForCausalLM(sliding))
    assert "gelu" in why_not(Qwen2ForCausalLM(Qwen2Config(**shape, hidden_act="gelu")))
    dynamic = Qwen2Config(**shape, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    assert "dynamic" in why_not(Qwen2ForCausalLM(dynamic))
    policy = lab.policy("qwen2")
    hook = policy.model.model.layers[0].register_forward_hook(lambda *a: None)
    assert "hooks" in why_not(policy.model)
    hook.remove()
    assert why_not(policy.model) is None

    class Adapter(torch.nn.Linear):
        pass

    policy.model.model.layers[1].self_attn.q_proj.__class__ = Adapter
    assert "Adapter" in why_not(policy.model)
    with pytest.raises(ValueError, match="does not fit this model: it holds Adapter"):
        HFEngine(policy, decoder="static").generate([[5]], 1, Sampling(max_new_tokens=2), [[0]])
    assert len(HFEngine(policy).generate([[5]], 1, Sampling(max_new_tokens=2), [[0]])[0]) == 1
