"""A tiny (or small) policy from scratch: a real Qwen3 config and a word-level tokenizer, saved and loaded like any other model.

Words, not bytes: a model this small should spend its 122,560 parameters on the search, not on spelling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import WordPiece as JoinPieces
from tokenizers.models import WordLevel, WordPiece
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.pre_tokenizers import Split, WhitespaceSplit
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from r1.policy.policy import Policy
from r1.policy.prompts import Template
from r1.repro import generator

SPECIAL = ("<pad>", "<eos>", "<unk>")
DIGITS = (*"0123456789", *(f"##{digit}" for digit in "0123456789"))  # that begin a number, and that go on with one


def word_tokenizer(words: Sequence[str], digits: bool = False) -> PreTrainedTokenizerFast:
    """One token per word, words separated by spaces. `<think>` and `<answer>` are ordinary words: decoding keeps them.

    With `digits` every integer can be written, digit by digit (its first digit is another token than the same digit further
    on, so that a text comes back without spaces inside numbers); brackets, commas and full stops are words also where no space
    stands beside them, and come back with one.

    Nothing is added to a text: no beginning-of-sequence token exists, and the end of a document is the trainer's business.
    """
    words = [*words, *DIGITS] if digits else words
    repeated = sorted({word for word in words if list(words).count(word) > 1 or word in SPECIAL})
    if repeated or any(len(word.split()) != 1 for word in words):
        raise ValueError(f"words must be distinct, without spaces, and not among {SPECIAL}; repeated or reserved: {repeated}")
    lookup = {word: i for i, word in enumerate((*SPECIAL, *words))}
    if digits:
        backend = Tokenizer(WordPiece(lookup, unk_token="<unk>", continuing_subword_prefix="##"))
        backend.pre_tokenizer = InTurn([WhitespaceSplit(), Split(Regex("[().,]"), "isolated")])
        backend.decoder = JoinPieces(prefix="##", cleanup=False)
    else:
        backend = Tokenizer(WordLevel(lookup, unk_token="<unk>"))
        backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,  # "9 * 6 ." must come back with its spaces
    )


def tiny_model(
    words: Sequence[str],
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    inner: int = 192,
    max_length: int = 512,
    digits: bool = False,
) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """A randomly initialised fp32 Qwen3 with tied embeddings over these words, and its tokenizer.

    hidden, inner: widths of the residual stream and of the MLP. Weights come from a generator keyed by (seed, "tiny"): they
    are the same whatever ran before, and no global random state moves.
    """
    if hidden % heads or (hidden // heads) % 2:
        raise ValueError(
            f"hidden must be heads times an even head width (rotary embeddings pair channels), got {hidden} and {heads}"
        )
    tokenizer = word_tokenizer(words, digits)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=max_length,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        model = Qwen3ForCausalLM(config)
    _initialise(model, generator(seed, "tiny"))
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model, tokenizer


def tiny_policy(
    words: Sequence[str],
    template: Template | str = "tiny",
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    inner: int = 192,
    max_length: int = 512,
    digits: bool = False,
) -> Policy:
    """`tiny_model` as a policy under the template of the tiny tasks; `digits` as in `word_tokenizer`."""
    return Policy(*tiny_model(words, seed, hidden, layers, heads, inner, max_length, digits), template)


@torch.no_grad()
def _initialise(model: Qwen3ForCausalLM, rng: torch.Generator) -> None:
    """Matrices from N(0, 0.02^2) as in the Qwen3 code, norms one."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0.0, model.config.initializer_range, generator=rng)
        else:
            parameter.fill_(1.0)
