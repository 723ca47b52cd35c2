"""From logits to tokens: the sampling distribution, and one draw of it per row.

A draw is the inverse of the cumulative distribution at a uniform number that belongs to the row (its own key and its own
position), so a completion does not depend on who shares its batch. `torch.multinomial` would hand one generator's numbers
out in the order of rows, and a finished neighbour would change everybody's future.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1.rollout.engine import Sampling


def restrict(logits: Tensor, sampling: Sampling) -> Tensor:
    """[B, V] -> [B, V] float32: logits of the sampling distribution, -inf where top-k or top-p leave a token out.

    Order as in transformers: temperature, then top-k, then top-p of what is left. Tokens tied with the last one kept stay.
    """
    z = logits.float()
    if sampling.greedy:
        return z
    if sampling.temperature != 1:
        z = z / sampling.temperature
    if 0 < sampling.top_k < z.shape[-1]:
        last = z.topk(sampling.top_k, dim=-1).values[:, -1:]
        z = z.masked_fill(z < last, -torch.inf)
    if sampling.top_p < 1:
        ranked = z.sort(dim=-1, descending=True).values
        mass = ranked.softmax(dim=-1)
        before = mass.cumsum(dim=-1) - mass  # probability of everything likelier
        kept = (before < sampling.top_p).sum(dim=-1, keepdim=True).clamp_(min=1)
        z = z.masked_fill(z < ranked.gather(1, kept - 1), -torch.inf)
    return z


def draw(logits: Tensor, u: Tensor | None, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """(token [B] int64, its log-probability [B] float32) for logits [B, V] and u [B] float64 in [0, 1); greedy needs no u.

    The token is the first whose cumulative probability exceeds u. Those of probability 0 add nothing to the sum and are never
    the first. The sum is taken in float64, where u * total stays below total for every u < 1.
    """
    p = restrict(logits, sampling).softmax(dim=-1)
    if sampling.greedy:
        token = logits.argmax(dim=-1, keepdim=True)
    else:
        assert u is not None
        cumulative = p.cumsum(dim=-1, dtype=torch.float64)
        token = torch.searchsorted(cumulative, u[:, None] * cumulative[:, -1:], right=True)
        token.clamp_(max=p.shape[-1] - 1)  # only NaN gets here; the engine reports it by its log-probability
    return token.squeeze(1), p.gather(1, token).squeeze(1).log()
