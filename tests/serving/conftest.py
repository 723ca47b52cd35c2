"""Small policies to export: the tiny word-level model, and a tokenizer that writes a beginning of sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from r1.policy import Policy
from r1.policy.tiny import tiny_policy
from r1.tasks.words import vocabulary

WORDS = ["<pad>", "<eos>", "<bos>", "User", ":", "Assistant", "one", "two", "three", "is", "<think>", "</think>"]


@pytest.fixture
def with_bos() -> PreTrainedTokenizerFast:
    """Ids are places in WORDS; texts get <bos> in front and, as some tokenizers do, <eos> behind."""
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Random weights, wide enough apart that it does not say one word for ever."""
    made = tiny_policy(vocabulary(), seed=3, hidden=32, heads=2, inner=48)
    made.model.get_output_embeddings().weight.data.mul_(10)
    return made.requires_grad_(False)


@pytest.fixture(scope="session")
def exported(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from r1.serving.export import Generation, export

    return export(policy, tmp_path_factory.mktemp("exported") / "tiny-r1", generation=Generation(max_new_tokens=24))
