"""New words for a policy that is already trained: one token each, appended to its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerBase

from r1.repro import generator

if TYPE_CHECKING:
    from torch import nn


@torch.no_grad()
def add_words(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, words: Sequence[str], noise: float = 0.1, seed: int = 0
) -> list[str]:
    """Append the words that the tokenizer lacks, in their order; returns those. The old tokens keep their ids and their rows.

    A new row is the mean of the rows that were there plus normal noise of `noise` times their deviation, from a stream keyed by
    (seed, word): a row far from all others would draw probability from every old token at once (Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models"). The head's rows are made alike where it is not tied.

    A word-level tokenizer simply gets to know them. Others match them whole ("a" is no part of "make") and before anything else,
    so that old texts which hold such a word are tokenised anew.
    """
    repeated = sorted({word for word in words if list(words).count(word) > 1})
    if repeated or any(len(word.split()) != 1 or word != word.strip() for word in words):
        raise ValueError(f"added words must be distinct and without spaces, got {[*words]}; repeated: {repeated}")
    known = tokenizer.get_vocab()
    new = [word for word in words if word not in known]
    before = len(tokenizer)
    _extend(tokenizer, new)
    tables = {id(table.weight): table for table in (model.get_input_embeddings(), model.get_output_embeddings())}
    rows = {key: table.weight[:before].clone() for key, table in tables.items()}
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:  # real models keep spare rows
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    resized = {id(table.weight): table for table in (model.get_input_embeddings(), model.get_output_embeddings())}
    for side, (old, table) in enumerate(zip(rows.values(), resized.values(), strict=True)):
        _fill(table, old, new, noise, (seed, side))
    return new


def _extend(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not isinstance(backend.model, WordLevel):
        tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in words])
        return
    # As added tokens they would be cut out of words that hold them between other signs: "answer" out of "<answer>".
    start = len(tokenizer)
    vocab = {**tokenizer.get_vocab(), **{word: start + i for i, word in enumerate(words)}}
    backend.model = WordLevel(vocab, unk_token=tokenizer.unk_token)


def _fill(table: nn.Module, old: Tensor, words: Sequence[str], noise: float, keys: tuple[int, int]) -> None:
    """Rows behind `old` [V, H] of an embedding or head, one a word."""
    weight: Tensor = table.weight  # type: ignore[assignment]
    mean, deviation = old.float().mean(dim=0), old.float().std(dim=0)
    for row, word in enumerate(words, start=old.shape[0]):
        drawn = torch.randn(old.shape[1], generator=generator(*keys, "word", word))
        weight[row] = (mean + noise * deviation * drawn.to(mean.device)).to(weight.dtype)
