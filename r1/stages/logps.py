"""Log-probabilities that a rollout is given before its first update moves the policy: the policy's own, and the reference's.

How far the two are apart is a term of the loss (`objective.kl`), or a penalty taken off the reward (`kl_in_reward`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from r1.policy import Policy, Reference
from r1.records import Batch, Group
from r1.rollout.collate import collate, narrow
from r1.stages.minibatches import Minibatches


@dataclass(frozen=True)
class LogProbs:
    """recompute   the policy's own are computed (old_logp=policy), else the sampler's are trusted
    kl_in_loss  the loss asks for the reference's
    """

    policy: Policy
    reference: Reference | None
    temperature: float
    recompute: bool
    kl_in_loss: bool

    def before_update(self, batch: Batch) -> Batch:
        """The batch with what the loss compares the policy with."""
        batch = batch.to(self.policy.device)
        if self.recompute:
            batch = replace(batch, sampler_logp=batch.old_logp, old_logp=self.policy.logps(batch, self.temperature)[0])
        if self.kl_in_loss:
            batch = replace(batch, ref_logp=self.reference.logps(batch, self.temperature))
        return batch

    def kl(self, batch: Batch) -> Tensor:
        """[B] the summed k1 estimate, sum_t log pi(o_t) - log pi_ref(o_t)."""
        batch = batch.to(self.policy.device)
        own = self.policy.logps(batch, self.temperature)[0] if self.recompute else batch.sampler_logp
        theirs = self.reference.logps(batch, self.temperature)
        return (own - theirs if own is not None else theirs).where(batch.mask, 0.0).sum(1).cpu()  # an idle batch was not sampled


def with_kl(
    groups: Sequence[Group], weight: float, cutting: Minibatches, kl_of: Callable[[list[Batch]], list[Tensor]]
) -> list[Group]:
    """The groups with a part "kl" in every score that has a total, at weight -`weight`. `kl_of`: micro-batches -> [B] each."""
    fresh = [t for group in groups for t in group.traces if t.score.total is not None and "kl" not in t.score.parts]
    batch = collate(fresh, cutting.pad_id) if fresh else None
    parts = cutting.cut(batch) if batch is not None else []
    kl = torch.zeros(len(fresh))
    for rows, values in zip(parts, kl_of([narrow(batch, rows) for rows in parts]), strict=True):
        kl[rows] = values
    scored = {id(t): replace(t, score=t.score.plus("kl", value, -weight)) for t, value in zip(fresh, kl.tolist(), strict=True)}
    return [group.with_traces([scored.get(id(t), t) for t in group.traces]) for group in groups]
