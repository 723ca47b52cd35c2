"""Rows without their padding: several sequences in a row, each with positions from 0 again, for the layers of a model only.

    [B, L] padded ──pack──▶ [R, W] tokens, positions ──layers──▶ [R, W, H] ──unpack──▶ [B, T, H]

What comes out is shaped as if nothing had been packed, so the losses, whole-completion ratios included, need not know.
transformers reads the restarts of the positions and lets no sequence see another; with flash attention it needs one row for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r1.records import Batch

ONE_ROW = ("flash_attention_2", "flash_attention_3")  # variable-length kernels: the cost is that of the sequences
ROWS = ("sdpa", "eager")  # a mask over the row: rows as wide as the longest sequence cost no more than padded ones


def why_not_packed(model: Any) -> str | None:
    """The reason why this model's sequences cannot be packed, or None if they can."""
    attention = model.config._attn_implementation
    if attention not in ONE_ROW + ROWS:
        return f"attention {attention!r} is none of {', '.join(ROWS + ONE_ROW)}"
    if not hasattr(model.config, "rope_parameters"):
        return f"{type(model).__name__} has no rotary positions: its masks do not read position ids"
    return None


@dataclass(frozen=True)
class Packed:
    """tokens, position_ids  [R, W]; where  [B, T] the place in R * W of the state that predicts each completion token."""

    tokens: Tensor
    position_ids: Tensor
    where: Tensor

    def unpack(self, states: Tensor) -> Tensor:
        """[R, W, H] -> [B, T, H]; at padding, some other token's state."""
        return states.flatten(0, 1)[self.where]


def pack(batch: Batch, one_row: bool, pad_id: int) -> Packed:
    """A padded batch (prompts to the left, completions to the right) without its padding.

    The longest sequence is the width of a row; the others fill the gaps, longest first. What is left of a row is a sequence of
    padding that nobody sees.
    """
    assert batch.attention is not None
    lengths = batch.attention.sum(dim=1).tolist()
    starts = batch.attention.argmax(dim=1)
    W = max(2, sum(lengths) if one_row else max(lengths))
    filled: list[int] = []  # tokens in each row so far
    place = [0] * len(lengths)  # of each sequence's first token in R * W
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((r for r, used in enumerate(filled) if used + lengths[i] <= W), len(filled))
        if row == len(filled):
            filled.append(0)
        place[i] = row * W + filled[row]
        filled[row] += lengths[i]
    device = batch.tokens.device
    first = torch.tensor(place, device=device)
    columns = torch.arange(batch.tokens.shape[1], device=device)
    real = batch.attention.bool()
    position = columns - starts[:, None]  # [B, L]
    target = (first[:, None] + position)[real]
    tokens = torch.full((len(filled) * W,), pad_id, device=device)
    positions = torch.cat([torch.arange(W, device=device) - used for used in filled])  # from 0 where a row's padding begins
    tokens[target], positions[target] = batch.tokens[real], position[real]
    S = batch.S
    where = torch.where(real, first[:, None] + position, 0)[:, S - 1 : -1]
    return Packed(tokens.view(-1, W), positions.view(-1, W), where)
