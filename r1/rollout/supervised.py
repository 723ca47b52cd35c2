"""(prompt ids, completion ids) pairs -> Batch, for imitation: S = 1, every later token is a completion token.

With S = 1 one layout serves training on completions only, on whole documents, and on several documents in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

from r1.records import Batch

Pair = tuple[Sequence[int], Sequence[int]]


def collate_pairs(pairs: Sequence[Pair], pad_id: int, learn_prompt: bool = False) -> Batch:
    """One row a pair, padded on the right. `weight` is 1 where a token is learned and 0 elsewhere: completions, and with
    `learn_prompt` prompts too, except a row's first token, which nothing predicts. The end-of-sequence id must be in the pair."""
    _check(pairs)
    lengths = torch.tensor([len(p) + len(c) for p, c in pairs])
    unlearned = torch.tensor([1 if learn_prompt else max(1, len(p)) for p, _ in pairs])
    L = max(2, int(lengths.max()))
    columns = torch.arange(L)
    real = columns < lengths[:, None]
    tokens = torch.full(real.shape, pad_id)
    tokens[real] = torch.tensor(list(chain.from_iterable(chain(p, c) for p, c in pairs)))
    learned = real & (columns >= unlearned[:, None])
    return Batch(
        tokens=tokens, attention=real.long(), position_ids=columns.repeat(len(pairs), 1),
        mask=real[:, 1:], weight=learned[:, 1:].float(),
    )  # fmt: skip


def pack_pairs(pairs: Sequence[Pair], pad_id: int, length: int, learn_prompt: bool = False) -> Batch:
    """Several pairs a row of at most `length` tokens, in their order, each with positions from 0 again and attention None:
    transformers reads the restarts and lets no document see another.

    A document's first token has mask False and weight 0 (the document before it does not predict it); padding at a row's end
    counts as a document of its own that is neither. Raises ValueError for a pair longer than `length`.
    """
    _check(pairs)
    longest = max(len(p) + len(c) for p, c in pairs)
    if longest > length:
        raise ValueError(f"a document of {longest} tokens does not fit a packed row of {length}; raise the length or cut it")
    rows: list[list[Pair]] = [[]]
    used = 0
    for pair in pairs:
        size = len(pair[0]) + len(pair[1])
        if used + size > length:
            rows.append([])
            used = 0
        rows[-1].append(pair)
        used += size
    L = max(2, *(sum(len(p) + len(c) for p, c in row) for row in rows))
    tokens, positions, mask, weight = (torch.zeros(len(rows), L, dtype=torch.int64) for _ in range(4))
    for r, row in enumerate(rows):
        ids: list[int] = []
        places: list[int] = []
        real: list[int] = []
        learned: list[int] = []
        for prompt, completion in row:
            size = len(prompt) + len(completion)
            first = 1 if learn_prompt else max(1, len(prompt))
            ids += [*prompt, *completion]
            places += range(size)
            real += [0] + [1] * (size - 1)
            learned += [0] * first + [1] * (size - first)
        rest = L - len(ids)
        tokens[r] = torch.tensor(ids + [pad_id] * rest)
        positions[r] = torch.tensor(places + list(range(rest)))
        mask[r] = torch.tensor(real + [0] * rest)
        weight[r] = torch.tensor(learned + [0] * rest)
    return Batch(tokens=tokens, attention=None, position_ids=positions, mask=mask[:, 1:].bool(), weight=weight[:, 1:].float())


def _check(pairs: Sequence[Pair]) -> None:
    if not pairs:
        raise ValueError("collating needs at least one (prompt, completion) pair, got none")
    short = [i for i, (p, c) in enumerate(pairs) if not c or len(p) + len(c) < 2]
    if short:
        raise ValueError(
            f"a pair needs a completion, and two tokens in all, to learn anything; pairs {short[:5]} have too little"
        )
