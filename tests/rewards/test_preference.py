"""Preference models: a tiny random one, saved and loaded as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForSequenceClassification

from r1.records import Problem, Trace
from r1.rewards import Preference

WORDS = ["<unk>", "<eos>", "<pad>", "User", "Assistant", ":", "hi", "good", "bad", "rude", "<think>", "</think>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tokenizer of twelve words and a random two-layer model, fixed by a seed."""
    path = tmp_path_factory.mktemp("preference")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>").save_pretrained(
        path
    )
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, head_dim=8, num_labels=1, pad_token_id=2)  # fmt: skip
    model = Qwen3ForSequenceClassification(config)
    torch.nn.init.normal_(model.score.weight, std=3.0)
    model.save_pretrained(path)
    return path


def trace(text: str, domain: str = "general") -> Trace:
    return Trace(Problem("g/1", "hi", None, domain=domain), [1], [2], [-0.1], text, "stop")


GOOD, RUDE_THOUGHT = "<think> good </think> good good", "<think> rude bad </think> good good"


def test_helpfulness_reads_the_summary_only_and_harmlessness_everything(folder) -> None:
    """v2 3.1: a rude thought changes the verdict on harm, never the one on help."""
    helpful = Preference(str(folder), "summary", template="tiny")([trace(GOOD), trace(RUDE_THOUGHT)])
    harmless = Preference(str(folder), "whole", template="tiny")([trace(GOOD), trace(RUDE_THOUGHT)])
    assert helpful[0] == pytest.approx(helpful[1], abs=1e-6)
    assert abs(harmless[0] - harmless[1]) > 1e-4


def test_range_domains_and_missing_summaries(folder) -> None:
    part = Preference(str(folder), "summary", template="tiny")
    values = part([trace(GOOD), trace(GOOD, "math"), trace("<think> cut off"), trace("<think> good </think>")])
    assert 0 < values[0] < 1
    assert values[1:] == [None, 0.0, 0.0]
    (logit,) = Preference(str(folder), "summary", template="tiny", squash=False)([trace(GOOD)])
    assert values[0] == pytest.approx(1 / (1 + torch.exp(torch.tensor(-logit)).item()), abs=1e-6)
    assert Preference(str(folder), "summary", template="tiny", domains=None)([trace(GOOD, "math")])[0] is not None


def test_a_batch_changes_nothing(folder) -> None:
    rows = [trace("<think> a </think> " + "good " * n) for n in (1, 7, 3)]
    alone = [Preference(str(folder), "summary", template="tiny")([row])[0] for row in rows]
    assert Preference(str(folder), "summary", template="tiny", batch_size=3)(rows) == pytest.approx(alone, abs=1e-6)
    assert Preference(str(folder), "summary", template="tiny", batch_size=2)(rows) == pytest.approx(alone, abs=1e-6)


def test_bad_arguments(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match="'summary' or the 'whole' response, got 'thought'"):
        Preference(str(folder), "thought")
    model = Qwen3ForSequenceClassification.from_pretrained(folder, num_labels=2, ignore_mismatched_sizes=True)
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has one output"):
        Preference(str(tmp_path), "summary", template="tiny")([trace(GOOD)])
