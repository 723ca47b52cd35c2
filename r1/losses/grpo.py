"""How tokens are averaged: one weight a token, so that the loss is a plain sum whatever the objective.

The denominators are those of the whole optimiser step, over all its micro-batches and ranks, and are given explicitly. Then
the loss of a step is the sum of its micro-batches' losses, and splitting it differently changes nothing. (Averaging averages
instead is the most repeated bug of RL trainers.)

    mask = leave_out(batch.mask, truncated)                        # overlong masking, optional
    step = Normaliser.of(mask1) + Normaliser.of(mask2) + ...       # micro-batches; all-reduce the two numbers over ranks
    weight = token_weights(mask, "grpo", step)
    loss, stats = linear_loss(..., weight=weight, ...)             # sum over micro-batches, backward each
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["grpo", "bnpo", "dapo", "dr_grpo", "sequence_sum"]
AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo", "sequence_sum")


@dataclass(frozen=True)
class Normaliser:
    """Denominators of one optimiser step: completions with at least one learned token, and learned tokens."""

    rows: int
    tokens: int

    @classmethod
    def of(cls, mask: Tensor) -> Normaliser:
        """From a mask [B, T] of learned tokens."""
        return cls(rows=int((mask != 0).any(1).sum()), tokens=int((mask != 0).sum()))

    @classmethod
    def of_lengths(cls, lengths: list[int]) -> Normaliser:
        """From the completions' numbers of learned tokens, before any of them is collated."""
        return cls(rows=sum(n > 0 for n in lengths), tokens=sum(lengths))

    def __add__(self, other: Normaliser) -> Normaliser:
        return Normaliser(self.rows + other.rows, self.tokens + other.tokens)


def leave_out(mask: Tensor, rows: Tensor) -> Tensor:
    """The mask [B, T] without `rows` [B] bool: overlong masking (DAPO 3.4) for truncated completions.

    Take the normaliser from the mask that comes out: a row left out of the sum must be out of the denominator too.
    """
    if mask.dim() != 2 or rows.shape != mask.shape[:1]:
        raise ValueError(f"rows must be [B] for a mask [B, T], got {list(rows.shape)} for {list(mask.shape)}")
    return (mask != 0) & ~rows.bool()[:, None]


def token_weights(mask: Tensor, aggregation: Aggregation, step: Normaliser, max_length: int | None = None) -> Tensor:
    """Weights [B, T] float32 of the tokens of a (micro-)batch with mask m [B, T]; n_i learned tokens in row i.

    grpo          m / (n_i rows)                 each completion counts the same (R1 v1 eq. 1, DeepSeekMath eq. 3)
    bnpo, dapo    m / tokens                     each token counts the same (DAPO eq. 8). In TRL bnpo divides by the tokens of
                                                 the micro-batch and dapo by the step's; with the step's they are one formula
    dr_grpo       m / (rows max_length)          no length bias: a constant divides (Dr. GRPO 3.1); max_length is the budget
    sequence_sum  m / rows                       a completion's terms are summed

    `step` holds the denominators of the whole optimiser step. A step without learned tokens has weights 0.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation must be one of {', '.join(AGGREGATIONS)}, got {aggregation!r}")
    if (aggregation == "dr_grpo") != (max_length is not None):
        raise ValueError(
            f"max_length (the token budget of a completion) belongs to 'dr_grpo', got {max_length} with {aggregation!r}"
        )
    if max_length is not None and not max_length >= 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    m = (mask != 0).to(torch.float32)
    own = Normaliser.of(mask)
    if own.rows > step.rows or own.tokens > step.tokens:
        raise ValueError(f"step must count the whole optimiser step, but {step} is less than this micro-batch's own {own}")
    rows, tokens = max(step.rows, 1), max(step.tokens, 1)
    if aggregation == "grpo":
        return m / (m.sum(1, keepdim=True).clamp(min=1) * rows)
    if aggregation in ("bnpo", "dapo"):
        return m / tokens
    if max_length is not None:
        return m / (rows * max_length)
    return m / rows
