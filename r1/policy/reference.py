"""The reference policy of the KL term: a frozen copy that can be renewed while training goes on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from r1.policy.policy import Policy
from r1.policy.sharding import reshard
from r1.records import Batch


class Reference(nn.Module):
    """A frozen copy of `policy` as it is now. What is frozen in the policy too (the model under an adapter) is shared, not copied:
    with LoRA the reference is the model with the adapter of now, never the bare model, and costs an adapter's memory.

    refresh_every  copy the policy anew after this many optimiser updates; 0 keeps the first copy for ever. R1 does a hard copy
                   every 400 steps (v2 2.1).
    alpha          how much of the policy goes into the copy at a refresh: 1 is the hard copy, below 1 a moving average.

    `updates` counts optimiser updates and travels in the state dict, so that a resumed run refreshes at the same ones.
    """

    updates: Tensor

    def __init__(self, policy: Policy, refresh_every: int = 0, alpha: float = 1.0) -> None:
        super().__init__()
        if refresh_every < 0 or not 0 < alpha <= 1:
            raise ValueError(f"expected refresh_every >= 0 and 0 < alpha <= 1, got {refresh_every} and {alpha}")
        shared = {id(p): p for p in policy.parameters() if not p.requires_grad}  # deepcopy takes what it finds here for copied
        self.frozen = copy.deepcopy(policy, shared).requires_grad_(False).eval()
        self.refresh_every = refresh_every
        self.alpha = alpha
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Reference:
        """A reference is never in training mode: dropout in it would be noise in the KL term."""
        return super().train(False)

    def logps(self, batch: Batch, temperature: float = 1.0) -> Tensor:
        """[B, T] log-probabilities of the completion ids under the reference."""
        return self.frozen.logps(batch, temperature)[0]

    @torch.no_grad()
    def after_update(self, policy: Policy) -> bool:
        """Count one optimiser update of `policy`; renew the copy if it is time. True when it was renewed."""
        self.updates += 1
        if not self.refresh_every or int(self.updates) % self.refresh_every:
            return False
        reshard(self.frozen)
        reshard(policy)
        for old, new in zip(self.frozen.model.parameters(), policy.model.parameters(), strict=True):
            if old is new:
                continue
            old.lerp_(new.to(old.dtype), self.alpha) if self.alpha < 1 else old.copy_(new)
        return True
