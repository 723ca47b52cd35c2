from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1.policy.prompts import named
from r1.policy.tiny import tiny_model, tiny_policy, word_tokenizer
from r1.tasks.corpus import Corpus
from r1.tasks.pair_countdown import PairCountdown
from r1.tasks.words import vocabulary


def test_size_of_the_default_model() -> None:
    model, tokenizer = tiny_model(vocabulary())
    # V = 242 words + pad, eos, unk; 245 * 64 + 2 layers * (4 * 64^2 + 3 * 64 * 192 + 2 * 16 + 2 * 64) + 64 = 122,560
    assert len(tokenizer) == 245
    assert sum(p.numel() for p in model.parameters()) == 122_560
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_text_comes_back_word_for_word() -> None:
    tokenizer = word_tokenizer(vocabulary())
    text = "<think> try 9 plus 6 is 15 want 54 no . wait , 试 9 乘 6 得 54 要 54 对 。 </think> <answer> 9 * 6 </answer>"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.split())  # nothing added, nothing split
    assert tokenizer.decode([*ids, tokenizer.eos_token_id, tokenizer.pad_token_id], skip_special_tokens=True) == text
    assert tokenizer("nine")["input_ids"] == [tokenizer.unk_token_id]


def test_with_digits_every_integer_is_written_and_comes_back(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(["Calculate", "(", ")", ".", "+", "-", "is"], digits=True)
    assert tokenizer.tokenize("Calculate 1234 + (50 - 7).") == [
        "Calculate", "1", "##2", "##3", "##4", "+", "(", "5", "##0", "-", "7", ")", ".",
    ]  # fmt: skip
    text = "Calculate ( 1234 + 50 ) - 7 is -1017 ."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("seven")["input_ids"] == [tokenizer.unk_token_id]
    policy = tiny_policy(["is"], hidden=16, layers=1, heads=2, inner=8, digits=True)
    again = AutoTokenizer.from_pretrained(policy.save(tmp_path))
    assert again("is -90")["input_ids"] == policy.tokenizer("is -90")["input_ids"]
    ids = again("is 905 is 12")["input_ids"]
    assert policy.decode(ids) == again.decode(ids) == "is 905 is 12"


def test_the_whole_family_is_in_the_vocabulary() -> None:
    """Every prompt and document encodes without an unknown word, and the corpus prompt is the policy's template."""
    policy = tiny_policy(vocabulary())
    for task in (PairCountdown(test_limit=None), PairCountdown(count=4, highest=10)):
        for problem in task.train + task.validation + task.test:
            assert policy.tokenizer.unk_token_id not in policy.encode(problem)
    assert Corpus(PairCountdown()).template == named("tiny").text


def test_saved_folder_loads_with_auto_classes(tmp_path: Path) -> None:
    """A complete folder: same logits, same tokenizer behaviour, end-of-sequence and padding ids in the generation config."""
    model, tokenizer = tiny_model(vocabulary(), seed=3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "User : use two of 9 6 2 to make 54 Assistant :"
    ids = words(text, return_tensors="pt").input_ids
    assert ids.tolist() == tokenizer(text, return_tensors="pt").input_ids.tolist()
    assert words.decode(ids[0]) == text
    assert (words.eos_token_id, words.pad_token_id, words.padding_side) == (1, 0, "left")
    assert (again.generation_config.eos_token_id, again.generation_config.pad_token_id) == (1, 0)
    assert again.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=0)


def test_weights_are_a_function_of_the_seed() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (tiny_model(vocabulary(), seed=s)[0] for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)  # no global random state moves
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.get_input_embeddings().weight, other.get_input_embeddings().weight)
    # log-uniform guesses at the start: every word about as likely as any other
    logits = first(torch.arange(10)[None]).logits
    assert torch.distributions.Categorical(logits=logits).entropy().min() > 0.95 * torch.log(torch.tensor(245.0))


@pytest.mark.parametrize("words", [["a", "b", "a"], ["a b"], ["<eos>"]])
def test_words_that_cannot_be_tokens_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="words must be distinct"):
        word_tokenizer(words)


def test_head_width_must_be_even() -> None:
    with pytest.raises(ValueError, match="even head width"):
        tiny_model(vocabulary(), hidden=60, heads=4)
