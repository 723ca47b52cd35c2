"""How a rollout becomes optimiser updates: whole groups dealt into minibatches, their tokens weighed, their rows cut into micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from r1 import repro
from r1.losses import Normaliser, token_weights
from r1.losses.grpo import Aggregation
from r1.records import Batch, Group
from r1.rollout.collate import collate, microbatches, narrow

Minibatch = list[Batch]  # the micro-batches of one optimiser update


@dataclass(frozen=True)
class Minibatches:
    """minibatches         how many a rollout is cut into
    aggregation         how token losses become one number (`losses.token_weights`)
    mask_truncated      leave completions that hit the token limit out of the loss and its normalisers
    every_row_counts    a completion of advantage 0 moves the weights too: there is a KL or an entropy term
    micro_tokens        tokens of one forward pass, padding included unless `packed`
    """

    minibatches: int
    aggregation: Aggregation
    mask_truncated: bool
    every_row_counts: bool
    micro_tokens: int
    pad_id: int
    packed: bool

    def deal(self, groups: Sequence[Group], total: int, rank: int, ranks: int, *keys: int | str) -> list[list[Group]]:
        """This rank's groups of each minibatch. The order is drawn over the `total` groups of all ranks, dealt as `Stage.my_share`
        deals problems, so that a minibatch holds the same groups however many ranks there are."""
        order = repro.shuffled(list(range(total)), *keys)
        place = {number: i for i, number in enumerate(order)}
        mine = {place[rank + ranks * i]: group for i, group in enumerate(groups)}
        return [[mine[i] for i in sorted(mine) if i % self.minibatches == k] for k in range(self.minibatches)]

    def batches(self, groups: Sequence[Group], max_length: int, over_ranks: Callable[..., list[float]]) -> Minibatch:
        """Micro-batches of this rank's rows that can move the weights. The others cost no forward pass, yet stand in the normalisers
        (`over_ranks`: values -> their sums over all ranks): the gradient is that of the full batch."""
        traces = [trace for group in groups for trace in group.traces]
        counted = [t for t in traces if t.advantage is not None and not (self.mask_truncated and t.truncated)]
        step = Normaliser.of_lengths([len(t.token_ids) for t in counted])
        step = Normaliser(*map(int, over_ranks(step.rows, step.tokens)))
        live = [t for t in counted if t.advantage != 0 or self.every_row_counts]
        if not live:
            return []
        batch = collate(live, self.pad_id)
        weight = token_weights(batch.mask, self.aggregation, step, max_length if self.aggregation == "dr_grpo" else None)
        batch = replace(batch, weight=weight, old_logp=batch.sampler_logp, sampler_logp=None)
        return [narrow(batch, rows) for rows in self.cut(batch)]

    def cut(self, batch: Batch) -> list[list[int]]:
        """The rows of each micro-batch."""
        return microbatches(batch, range(len(batch)), self.micro_tokens, padded=not self.packed)
