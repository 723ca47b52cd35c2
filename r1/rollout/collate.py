"""Traces -> Batch, and a Batch cut into the pieces that fit an update.

    rollout = collate(traces, pad_id)                                 # every row once
    for rows in microbatches(rollout, range(len(rollout)), tokens=8192):
        loss(narrow(rollout, rows)).backward()

Token ids go through untouched: what is trained on is what was sampled. `mask` comes from the lengths, never from comparing
with the padding id, which is often an end-of-sequence id too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

from r1.records import Batch, Trace


def collate(traces: Sequence[Trace], pad_id: int) -> Batch:
    """B traces -> Batch with S = the longest prompt and T = the longest completion among them.

    The end-of-sequence id is a completion token like the others: it is how the model learns to stop. `weight` is 1 on every
    completion token and 0 on padding, `sampler_logp` holds the traces' own log-probabilities with 0 at padding, and `advantage`
    is [B] when every trace has one, else None.
    """
    if not traces:
        raise ValueError("collate needs at least one trace, got none")
    empty = [t.problem.id for t in traces if not t.prompt_ids or not t.token_ids]
    if empty:
        raise ValueError(f"a trace needs at least one prompt token and one completion token; empty ones belong to {empty[:5]}")
    prompts = torch.tensor([len(t.prompt_ids) for t in traces])
    lengths = torch.tensor([len(t.token_ids) for t in traces])
    S, T = int(prompts.max()), int(lengths.max())
    columns = torch.arange(S + T)
    start = (S - prompts)[:, None]
    real = (columns >= start) & (columns < (S + lengths)[:, None])  # [B, L]; row by row it reads prompt, completion
    mask = real[:, S:]
    tokens = torch.full((len(traces), S + T), pad_id)
    tokens[real] = torch.tensor(list(chain.from_iterable(chain(t.prompt_ids, t.token_ids) for t in traces)))
    sampler_logp = torch.zeros(mask.shape)
    sampler_logp[mask] = torch.tensor(list(chain.from_iterable(t.logps for t in traces)))
    advantages = [t.advantage for t in traces]
    return Batch(
        tokens=tokens,
        attention=real.long(),
        position_ids=(columns - start).clamp_(min=0),
        mask=mask,
        weight=mask.float(),
        advantage=None if None in advantages else torch.tensor(advantages, dtype=torch.float32),
        sampler_logp=sampler_logp,
    )


def narrow(batch: Batch, rows: Sequence[int]) -> Batch:
    """The given rows, with the padding columns that none of them needs cut off on both sides.

    Packed batches (attention None) have no such columns to cut; their rows are only picked.
    """
    index = torch.as_tensor(list(rows), device=batch.tokens.device)
    picked = {name: None if (tensor := getattr(batch, name)) is None else tensor[index] for name in Batch.__dataclass_fields__}
    if batch.attention is None:
        return Batch(**picked)  # type: ignore[arg-type]
    used = batch.attention[index].any(dim=0).nonzero()
    left, right = int(used.min()), int(used.max()) + 1
    S = batch.S
    left, T = min(left, S - 1), right - S  # at least one prompt column stays
    assert T >= 0, "a row without a completion token"
    full, completion = slice(left, right), slice(0, T)
    cut = {}
    for name, tensor in picked.items():
        if tensor is not None and tensor.dim() == 2:
            tensor = tensor[:, full if name in ("tokens", "attention", "position_ids") else completion]
        cut[name] = tensor
    return Batch(**cut)  # type: ignore[arg-type]


def microbatches(batch: Batch, rows: Sequence[int], tokens: int, padded: bool = True) -> list[list[int]]:
    """The rows sorted by length and cut so that no part holds more than `tokens` tokens: padding included, or, with
    `padded=False`, without it (`Policy.with_packing`).

    Sorting puts rows of one length together, so little of a forward pass is padding. The longest come first: what does not fit in
    memory fails in the first part of a step and not in its last. The order within a minibatch does not matter to the gradient,
    which sums over all parts. A single row longer than `tokens` gets a part of its own.
    """
    if tokens < 1:
        raise ValueError(f"a microbatch needs room for at least 1 token, got {tokens}")
    S = batch.S
    if batch.attention is None:
        prompt, reply = [S] * len(batch), [batch.tokens.shape[1] - S] * len(batch)
    else:
        prompt, reply = batch.attention[:, :S].sum(dim=1).tolist(), batch.attention[:, S:].sum(dim=1).tolist()
    parts: list[list[int]] = []
    widest_prompt = widest_reply = held = 0
    for row in sorted(rows, key=lambda r: (-reply[r], -prompt[r], r)):
        widest_prompt, widest_reply = max(widest_prompt, prompt[row]), max(widest_reply, reply[row])
        held += prompt[row] + reply[row]
        if parts and ((len(parts[-1]) + 1) * (widest_prompt + widest_reply) if padded else held) <= tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
            widest_prompt, widest_reply = prompt[row], reply[row]
            held = prompt[row] + reply[row]
    return parts
