"""Pairs as rows, and several pairs as one row."""

from __future__ import annotations

import pytest
import torch

from r1.rollout.supervised import collate_pairs, pack_pairs

PAIRS = [([7, 8], [5, 1]), ([9], [1]), ([], [4, 5, 1])]


def test_layout_and_what_is_learned():
    batch = collate_pairs(PAIRS, pad_id=0)
    assert batch.tokens.tolist() == [[7, 8, 5, 1], [9, 1, 0, 0], [4, 5, 1, 0]]
    assert (batch.S, batch.mask.int().tolist()) == (1, [[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    assert batch.weight.tolist() == [[0, 1, 1], [1, 0, 0], [1, 1, 0]]  # the end is learned (bug 7), the prompt is not
    assert batch.attention.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3]] * 3
    assert collate_pairs(PAIRS, 0, learn_prompt=True).weight.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_packed_layout():
    batch = pack_pairs(PAIRS, pad_id=0, length=6)
    assert batch.tokens.tolist() == [[7, 8, 5, 1, 9, 1], [4, 5, 1, 0, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 1, 2]]
    assert batch.attention is None
    # column of a document's first token is masked: 9 is not predicted by the 1 before it
    assert batch.mask.int().tolist() == [[1, 1, 1, 0, 1], [1, 1, 0, 0, 0]]
    assert batch.weight.tolist() == [[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]]


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
@torch.no_grad()
def test_packed_documents_do_not_see_each_other(lab, name):
    model = lab.policy(name).model
    pairs = [([7, 8], [5, 1]), ([9], [6, 3]), ([11, 12, 13], [4, 5, 1]), ([20], [21])]

    def learned(batch) -> torch.Tensor:
        logits = model(
            input_ids=batch.tokens, attention_mask=batch.attention, position_ids=batch.position_ids, use_cache=False
        ).logits
        logp = logits[:, :-1].log_softmax(-1).gather(2, batch.targets[..., None]).squeeze(2)
        return logp[batch.weight > 0]

    assert torch.allclose(learned(pack_pairs(pairs, 0, length=9)), learned(collate_pairs(pairs, 0)), atol=1e-5)


def test_what_cannot_be_learned():
    with pytest.raises(ValueError, match="at least one"):
        collate_pairs([], 0)
    with pytest.raises(ValueError, match=r"pairs \[1\]"):
        collate_pairs([([7], [1]), ([7, 8], [])], 0)
    with pytest.raises(ValueError, match=r"pairs \[0\]"):
        pack_pairs([([], [1])], 0, length=8)
    with pytest.raises(ValueError, match="4 tokens does not fit a packed row of 3"):
        pack_pairs(PAIRS, 0, length=3)
