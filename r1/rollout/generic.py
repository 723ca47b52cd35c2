"""Decoding with the Hugging Face module and its own cache: works for every causal LM, and is the reference for the fast path."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import torch
from torch import Tensor


class Rows(Protocol):
    """Rows being decoded: their cache, and how far they are."""

    idle: float
    """Share of finished rows from which dropping them pays for itself."""

    def step(self, token: Tensor) -> Tensor:
        """Append token [B] to the rows and return the logits [B, V] of the next."""

    def keep(self, slots: Tensor) -> None:
        """Row i becomes the former row slots[i], [K] int64; the others are forgotten."""


class Decoder(Protocol):
    """A model's weights, ready to open rows. It has no state of its own, so several chunks may be decoded side by side."""

    def start(self, tokens: Tensor, attention: Tensor, n: int, room: int) -> tuple[Rows, Tensor]:
        """Read P left-padded prompts [P, S] once and open n rows for each. Returns the rows and the logits [P * n, V] of their
        first new token; `room` tokens may follow."""


def positions(attention: Tensor) -> Tensor:
    """[B, L] -> [B, L]: 0 at the first real token of each row, whatever its padding on the left."""
    return (attention.cumsum(dim=-1) - 1).clamp_(min=0)


class ModuleDecoder:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.accepts = _arguments(model)

    def start(self, tokens: Tensor, attention: Tensor, n: int, room: int) -> tuple[ModuleRows, Tensor]:
        output = self.forward(tokens, attention, positions(attention), None, logits_to_keep=1)
        output.past_key_values.batch_repeat_interleave(n)
        rows = ModuleRows(self, output.past_key_values, attention.repeat_interleave(n, dim=0), room)
        return rows, output.logits[:, -1].repeat_interleave(n, dim=0)

    def forward(self, tokens: Tensor, attention: Tensor, position_ids: Tensor, cache: Any, **more: Any) -> Any:
        wanted = {"position_ids": position_ids, **more}
        wanted = {name: value for name, value in wanted.items() if name in self.accepts}
        return self.model(input_ids=tokens, attention_mask=attention, past_key_values=cache, use_cache=True, **wanted)


class ModuleRows:
    idle = 0.25  # the cache is copied whole when rows leave

    def __init__(self, decoder: ModuleDecoder, cache: Any, attention: Tensor, room: int) -> None:
        self.decoder, self.cache = decoder, cache
        self.attention = torch.cat([attention, attention.new_ones(attention.shape[0], room)], dim=1)  # new tokens are real
        self.length = attention.shape[1]
        self.position = attention.sum(dim=1)

    def step(self, token: Tensor) -> Tensor:
        self.length += 1
        output = self.decoder.forward(token[:, None], self.attention[:, : self.length], self.position[:, None], self.cache)
        self.cache = output.past_key_values
        self.position = self.position + 1
        return output.logits[:, -1]

    def keep(self, slots: Tensor) -> None:
        self.cache.batch_select_indices(slots)
        self.attention = self.attention[slots]
        self.position = self.position[slots]


def _arguments(model: Any) -> frozenset[str]:
    """Names that the innermost model's forward takes: adapters and torch.compile wrap it in `**kwargs`."""
    inner = getattr(model, "_orig_mod", model)
    if hasattr(inner, "get_base_model"):
        inner = inner.get_base_model()
    return frozenset(inspect.signature(inner.forward).parameters)
