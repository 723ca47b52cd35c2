"""New words: one token each behind the old ones, which keep their ids, their rows and their texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from r1.policy import Policy
from r1.policy.scorer import Scorer
from r1.policy.scratch import byte_tokenizer
from r1.policy.tiny import tiny_policy
from r1.policy.words import add_words
from r1.records import Problem
from r1.tasks.words import vocabulary

OLD = "<think> try 9 plus 6 is 15 want 54 no . wait , 试 9 乘 6 得 54 。 </think> <answer> 9 * 6 </answer>"


def test_old_texts_and_rows_stay_as_they_were() -> None:
    policy = tiny_policy(vocabulary())
    rows, ids = policy.head.detach().clone(), policy.tokenizer(OLD)["input_ids"]
    assert add_words(policy.model, policy.tokenizer, ["answer", "try", "a", "我"]) == ["answer", "a", "我"]
    assert policy.tokenizer(OLD)["input_ids"] == ids  # "answer" is not cut out of "<answer>"
    assert policy.tokenizer("a answer 我 try")["input_ids"] == [246, 245, 247, policy.tokenizer("try")["input_ids"][0]]
    assert policy.tokenizer.decode([245, 246, 247]) == "answer a 我"
    assert (len(policy.tokenizer), policy.model.config.vocab_size) == (248, 248)
    assert torch.equal(policy.head[:245], rows)
    assert policy.model.get_input_embeddings().weight is policy.head  # still tied


def test_a_new_row_is_the_mean_and_a_little_of_its_own() -> None:
    policy, other = tiny_policy(vocabulary()), tiny_policy(vocabulary())
    mean, deviation = policy.head.detach().mean(0), policy.head.detach().std(0)
    add_words(policy.model, policy.tokenizer, ["one", "other"])
    add_words(other.model, other.tokenizer, ["other", "more", "one"])
    first, second = policy.head[245].detach(), policy.head[246].detach()
    assert torch.equal(first, other.head[247])  # keyed by the word, not by its place
    assert not torch.allclose(first, second)
    # 64 draws of N(0, 1): their mean square lies within 0.5 and 1.7 but for one word in ten thousand
    assert 0.5 < float((((first - mean) / (0.1 * deviation)) ** 2).mean()) < 1.7
    add_words(other.model, other.tokenizer, ["exact"], noise=0.0)
    assert torch.allclose(other.head[248], other.head[:248].mean(0))


def test_a_saved_folder_is_complete_and_asking_again_adds_nothing(tmp_path: Path) -> None:
    tiny_policy(vocabulary()).save(tmp_path / "base")
    grown = Policy.load(tmp_path / "base", "tiny", add_words=["hello", "model"])
    grown.save(tmp_path / "grown")
    again = Policy.load(tmp_path / "grown", "tiny", add_words=["hello", "model"])
    assert torch.equal(again.head, grown.head)
    assert again.encode(Problem("p", "hello model")) == grown.encode(Problem("p", "hello model"))
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "grown").get_output_embeddings().weight.shape == (247, 64)
    assert AutoTokenizer.from_pretrained(tmp_path / "grown")("hello")["input_ids"] == [245]


def test_the_preference_model_of_a_grown_policy_knows_the_words() -> None:
    policy = tiny_policy(vocabulary())
    add_words(policy.model, policy.tokenizer, ["hello"])
    scorer = Scorer.from_policy(policy)
    assert scorer.encode(Problem("p", "hello"), "hello")[-2:] == [245, scorer.eos_id]
    assert scorer([scorer.encode(Problem("p", "hello"), "hello")]).tolist() == [0.0]


def untied(rows: int) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(
        vocab_size=rows, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=8, tie_word_embeddings=False, eos_token_id=1, pad_token_id=0,
    ))  # fmt: skip


def test_other_tokenizers_spare_rows_and_an_untied_head() -> None:
    model, tokenizer = untied(300), byte_tokenizer()  # 258 tokens, 42 rows that no token uses
    tables = [t.weight.detach().clone() for t in (model.get_input_embeddings(), model.get_output_embeddings())]
    add_words(model, tokenizer, ["wombat"])
    assert tokenizer("a wombat")["input_ids"].count(258) == 1
    assert 258 not in tokenizer("wombats")["input_ids"]  # words are matched whole
    for old, table in zip(tables, (model.get_input_embeddings(), model.get_output_embeddings())):
        assert table.weight.shape[0] == 300  # the spare row was enough
        assert torch.equal(table.weight[:258], old[:258])
        assert not torch.equal(table.weight[258], old[258])
        assert float((table.weight[258].detach() - old[:258].mean(0)).norm()) < 0.5 * float(old[258].norm())
    assert not torch.equal(model.get_input_embeddings().weight[258], model.get_output_embeddings().weight[258])


@pytest.mark.parametrize("words", [["two words"], ["twice", "twice"], [" padded"]])
def test_what_is_no_word_is_refused(words: list[str]) -> None:
    policy = tiny_policy(["a", "b"], hidden=16, heads=2, inner=16, layers=1)
    with pytest.raises(ValueError, match="distinct and without spaces"):
        add_words(policy.model, policy.tokenizer, words)
    assert len(policy.tokenizer) == 5
