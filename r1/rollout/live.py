"""The rows of a batch that are still being decoded: their draws, which of them may leave, and in the end their completions."""

from __future__ import annotations

import torch
from torch import Tensor

from r1 import repro
from r1.rollout.draw import draw
from r1.rollout.engine import Completion, Sampling

AT_ONCE = 32  # steps whose random numbers are made together


class LiveRows:
    """The rows still being decoded, each in a slot, and what all rows have got so far.

    keys, row, ended  [slots] random stream, place in the chunk, whether an end-of-sequence id was drawn
    uniforms          [AT_ONCE, slots] the random numbers of these steps: a dozen small operations once instead of at every step
    drawn             per step: (row, token, logp) of the slots of that step
    is_end            [V] bool: several ids may end a sequence
    """

    def __init__(self, keys: Tensor, eos_ids: frozenset[int], vocabulary: int) -> None:
        self.keys = keys
        self.row = torch.arange(keys.shape[0], device=keys.device)
        self.ended = torch.zeros_like(keys, dtype=torch.bool)
        self.uniforms = torch.empty(0, len(keys), dtype=torch.float64, device=keys.device)
        self.drawn: list[tuple[Tensor, Tensor, Tensor]] = []
        self.is_end = torch.zeros(vocabulary, dtype=torch.bool, device=keys.device)
        self.is_end[[i for i in sorted(eos_ids) if i < vocabulary]] = True

    def take(self, logits: Tensor, sampling: Sampling) -> Tensor:
        """Draw the next token of every live row; [slots]."""
        token, logp = draw(logits, None if sampling.greedy else self._uniform(len(self.drawn)), sampling)
        self.drawn.append((self.row, token, logp))
        self.ended |= self.is_end[token]
        return token

    def _uniform(self, t: int) -> Tensor:
        if t % AT_ONCE == 0:
            self.uniforms = repro.uniform(self.keys, torch.arange(t, t + AT_ONCE, device=self.keys.device)[:, None])
        return self.uniforms[t % AT_ONCE]

    def survivors(self, idle: float) -> Tensor | None:
        """The slots to keep once enough rows have ended, else None. Survivors stay where they are, except that those from the
        end of the batch move into the holes: few rows of the cache are copied."""
        alive = ~self.ended
        K, slots = int(alive.sum()), alive.shape[0]
        if K and slots - K < max(1, idle * slots):
            return None
        order = torch.arange(K, device=alive.device)
        order[~alive[:K]] = alive[K:].nonzero().squeeze(1) + K
        return order

    def keep(self, slots: Tensor) -> None:
        self.keys, self.row, self.ended = self.keys[slots], self.row[slots], self.ended[slots]
        self.uniforms = self.uniforms[:, slots]

    def completions(self) -> list[Completion]:
        """Every row's tokens, cut after its first end-of-sequence id."""
        T, B = len(self.drawn), self.drawn[0][0].shape[0]
        rows, drawn_tokens, drawn_logps = (torch.cat(column) for column in zip(*self.drawn, strict=True))
        if not bool(torch.isfinite(drawn_logps).all()):
            raise FloatingPointError(
                "the model gave NaN or infinite logits while sampling: its weights are damaged, or its dtype overflows"
            )
        steps = torch.repeat_interleave(torch.tensor([len(row) for row, _, _ in self.drawn], device=rows.device))
        tokens, logps = rows.new_zeros(T, B), drawn_logps.new_zeros(T, B)
        tokens[steps, rows], logps[steps, rows] = drawn_tokens, drawn_logps
        ends = torch.zeros(T, B, dtype=torch.bool, device=rows.device)
        ends[steps, rows] = self.is_end[drawn_tokens]
        stopped = ends.any(dim=0)
        lengths = torch.where(stopped, ends.int().argmax(dim=0) + 1, T).tolist()
        columns = zip(tokens.T.tolist(), logps.T.tolist(), lengths, stopped.tolist(), strict=True)
        return [Completion(ids[:length], lps[:length], "stop" if stop else "length") for ids, lps, length, stop in columns]
