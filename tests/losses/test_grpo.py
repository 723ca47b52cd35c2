"""Token weights: each aggregation by hand, and the ways that averaging goes wrong."""

from __future__ import annotations

import pytest
import torch

from r1.losses import AGGREGATIONS, Normaliser, leave_out, token_weights

MASK = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("grpo", [[1 / 4, 1 / 4, 0, 0], [1 / 8] * 4]),  # 1 / (n_i rows)
        ("bnpo", [[1 / 6, 1 / 6, 0, 0], [1 / 6] * 4]),  # 1 / tokens
        ("dapo", [[1 / 6, 1 / 6, 0, 0], [1 / 6] * 4]),
        ("dr_grpo", [[1 / 20, 1 / 20, 0, 0], [1 / 20] * 4]),  # 1 / (rows * 10)
        ("sequence_sum", [[1 / 2, 1 / 2, 0, 0], [1 / 2] * 4]),  # 1 / rows
    ],
)
def test_by_hand(aggregation, expected):
    weight = token_weights(MASK, aggregation, Normaliser.of(MASK), 10 if aggregation == "dr_grpo" else None)
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, torch.tensor(expected))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_bug_15_16_shares_of_ranks_and_micro_batches_are_slices_of_the_whole(aggregation):
    """bugs 15, 16: with the step's denominators a row weighs the same wherever it is computed."""
    limit = 10 if aggregation == "dr_grpo" else None
    step = Normaliser.of(MASK[:1]) + Normaliser.of(MASK[1:])
    assert step == Normaliser.of(MASK) == Normaliser.of_lengths([2, 4])
    parts = torch.cat([token_weights(MASK[i : i + 1], aggregation, step, limit) for i in range(2)])
    assert torch.equal(parts, token_weights(MASK, aggregation, step, limit))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_bug_8_a_truncated_row_leaves_numerator_and_denominator(aggregation):
    """bug 8: the weights of the others are what they would be without the row."""
    limit = 10 if aggregation == "dr_grpo" else None
    mask = leave_out(torch.cat([MASK, torch.ones(1, 4, dtype=torch.long)]), torch.tensor([False, False, True]))
    weight = token_weights(mask, aggregation, Normaliser.of(mask), limit)
    assert (weight[2] == 0).all()
    assert torch.equal(weight[:2], token_weights(MASK, aggregation, Normaliser.of(MASK), limit))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_nothing_learned_weighs_nothing(aggregation):
    mask = torch.zeros(2, 3)
    assert (token_weights(mask, aggregation, Normaliser.of(mask), 4 if aggregation == "dr_grpo" else None) == 0).all()


def test_inputs_are_checked():
    step = Normaliser.of(MASK)
    with pytest.raises(ValueError, match="aggregation must be one of"):
        token_weights(MASK, "mean", step)
    with pytest.raises(ValueError, match="belongs to 'dr_grpo'"):
        token_weights(MASK, "grpo", step, 10)
    with pytest.raises(ValueError, match="belongs to 'dr_grpo'"):
        token_weights(MASK, "dr_grpo", step)
    with pytest.raises(ValueError, match="whole optimiser step"):
        token_weights(MASK, "grpo", Normaliser(1, 2))
    with pytest.raises(ValueError, match=r"rows must be \[B\]"):
        leave_out(MASK, torch.zeros(3, dtype=torch.bool))
