"""Real shapes with random weights."""

from __future__ import annotations

import pytest

from r1.policy.scratch import SHAPES, byte_tokenizer, random_policy
from r1.records import Problem


def test_bytes_come_back_as_the_text_they_were():
    tokenizer = byte_tokenizer()
    text = "Lösung: \\boxed{42} 答案 <think>"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_shape_builds_and_reads_any_text():
    policy = random_policy("qwen2_5_0_5b", layers=0, gradient_checkpointing=False)
    assert policy.head.shape == (151936, 896)
    assert policy.encode(Problem("p", "1+1"))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_valid_config(shape):
    kind, sizes = SHAPES[shape]
    config = kind(**sizes)
    assert config.vocab_size in (151936, 128256)
    assert config.num_attention_heads % config.num_key_value_heads == 0


def test_an_unknown_shape_lists_the_known():
    with pytest.raises(ValueError, match="qwen2_5_0_5b"):
        random_policy("qwen9")
