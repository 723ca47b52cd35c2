"""The policy's log-probabilities, prompts and reference, against loops a reader can check."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM as Auto
from transformers import Gemma2Config, GPT2Config, PreTrainedTokenizerFast, Qwen2Config

from r1.policy import Policy, Reference, Template
from r1.records import Batch, Problem

WORDS = ["<pad>", "<eos>", "<bos>", "User", ":", "Assistant", "one", "two", "three", "is", "<think>", "</think>"]


def tokenizer(bos: bool = False) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>" if bos else None)


def qwen() -> Qwen2Config:
    return Qwen2Config(vocab_size=12, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                       num_key_value_heads=1, attention_dropout=0.5)  # fmt: skip


def gpt2() -> GPT2Config:
    return GPT2Config(vocab_size=12, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=None, eos_token_id=1)


def policy(config=None, **kwargs) -> Policy:
    torch.manual_seed(0)
    model = Auto.from_config(config or qwen())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Policy(model.eval(), tokenizer(**kwargs), "tiny")


def batch(prompts: list[list[int]], completions: list[list[int]]) -> Batch:
    """Left-padded prompts, right-padded completions, position 0 at the first real token."""
    S, T = max(map(len, prompts)), max(map(len, completions))
    tokens = torch.tensor([[0] * (S - len(p)) + p + c + [0] * (T - len(c)) for p, c in zip(prompts, completions)])
    attention = torch.tensor(
        [[0] * (S - len(p)) + [1] * (len(p) + len(c)) + [0] * (T - len(c)) for p, c in zip(prompts, completions)]
    )
    mask = torch.tensor([[1] * len(c) + [0] * (T - len(c)) for c in completions]).bool()
    return Batch(tokens, attention, (attention.cumsum(1) - 1).clamp(min=0), mask, mask.float())


PROMPTS, COMPLETIONS = [[3, 4, 6, 5, 4], [3, 4]], [[7, 8], [9, 6, 6, 1]]


@pytest.mark.parametrize("config", [qwen, gpt2], ids=["rope", "absolute positions"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logps_are_those_of_a_loop_over_tokens(config, temperature):
    """Bugs 1 (shifted by one), 3 (left padding without position ids) and 21 (temperature)."""
    p = policy(config())
    logp, entropy = p.logps(batch(PROMPTS, COMPLETIONS), temperature)
    for row, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS)):
        ids = list(prompt)
        for t, token in enumerate(completion):
            with torch.no_grad():
                expected = torch.log_softmax(p.model(torch.tensor([ids])).logits[0, -1] / temperature, -1)
            assert float(logp[row, t]) == pytest.approx(float(expected[token]), abs=1e-5)
            assert float(entropy[row, t]) == pytest.approx(float(-(expected.exp() * expected).sum()), abs=1e-5)
            ids.append(token)


def test_tokens_after_the_end_change_nothing():
    """Bug 4: attention to what stands after the end of sequence."""
    p, b = policy(), batch(PROMPTS, COMPLETIONS)
    garbage = b.tokens.clone()
    garbage[0, -2:] = 11
    before, after = p.logps(b)[0], p.logps(replace(b, tokens=garbage))[0]
    assert torch.equal(before[0, :2], after[0, :2])
    assert torch.equal(before[1], after[1])


def test_dropout_is_off_for_reinforcement_learning():
    """Bug 19: with dropout on, the first ratio is not 1."""
    p = policy()
    p.train()
    b = batch(PROMPTS, COMPLETIONS)
    assert not torch.equal(p.logps(b)[0], p.logps(b)[0])  # the model really has dropout
    p.without_dropout()
    assert torch.equal(p.logps(b)[0], p.logps(b)[0])
    assert p.model.training


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [("User : one", [2, 3, 4, 6]), ("<bos> User : one", [2, 3, 4, 6])],
    ids=["the tokenizer adds it", "the text has one too"],
)
def test_one_bos_and_no_eos(prompt, ids):
    """Bugs 29 (BOS twice) and 30 (no BOS where needed); a tokenizer that ends prompts with EOS is undone."""
    p = policy(bos=True)
    p.template = Template("test", "{question}")
    assert p.encode(Problem("p", prompt)) == ids


def test_chat_template_brings_its_own_bos():
    p = policy(bos=True)
    p.tokenizer.chat_template = "<bos> {% for m in messages %}User : {{ m.content }} {% endfor %}Assistant :"
    p.template = Template("chat", None)
    assert p.encode(Problem("p", "one")) == [2, 3, 4, 6, 5, 4]


def test_a_template_that_opens_the_thought_must_be_declared():
    """Bug 32: the format reward would be 0 for ever."""
    p = policy()
    p.tokenizer.chat_template = "User : {{ messages[0].content }} Assistant : <think>"
    p.template = Template("chat", None)
    with pytest.raises(ValueError, match="opened=True"):
        p.encode(Problem("p", "one"))
    p.template = Template("chat", None, opened=True)
    assert p.encode(Problem("p", "one"))[-1] == 10
    assert p.decode([7, 11, 1]) == "<think>two </think>"


def test_every_eos_id_counts():
    """Bug 5: the generation config lists more than the tokenizer knows."""
    p = policy()
    p.model.generation_config.eos_token_id = [1, 9]
    assert Policy(p.model, p.tokenizer, "tiny").eos_ids == {1, 9}


def test_braces_in_a_question_are_text():
    assert Template("t", "Q: {question}").render(Problem("p", "\\frac{1}{2} {question}")) == "Q: \\frac{1}{2} {question}"


def test_models_that_change_their_logits_are_refused_by_name():
    config = Gemma2Config(vocab_size=12, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=1, head_dim=8)  # fmt: skip
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        Policy(Auto.from_config(config), tokenizer(), "tiny")


def test_save_and_load_give_the_same_policy(tmp_path):
    p = policy()
    again = Policy.load(p.save(tmp_path / "hf"), template="tiny")
    b = batch(PROMPTS, COMPLETIONS)
    assert torch.equal(p.logps(b)[0], again.eval().logps(b)[0])
    assert (tmp_path / "hf" / "model.safetensors").is_file()


def test_a_missing_folder_says_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="config.json, weights and tokenizer"):
        Policy.load(tmp_path / "nothing")


class TestReference:
    def test_it_is_a_copy_that_training_does_not_touch(self):
        """Bug 26: a reference that aliases the policy, or is trained with it."""
        p = policy()
        reference = Reference(p)
        before = [q.clone() for q in reference.parameters()]
        optimizer = torch.optim.SGD([q for q in p.parameters() if q.requires_grad], lr=0.1)
        p.hidden(batch(PROMPTS, COMPLETIONS)).sum().backward()
        optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(before, reference.parameters()))
        assert not any(q.requires_grad for q in reference.parameters())
        assert not torch.equal(next(p.parameters()), next(reference.frozen.parameters()))

    def test_a_hard_refresh_comes_at_its_updates_also_after_resuming(self):
        p = policy()
        reference = Reference(p, refresh_every=3)
        with torch.no_grad():
            next(p.parameters()).add_(1.0)
        assert [reference.after_update(p) for _ in range(2)] == [False, False]
        resumed = Reference(policy(), refresh_every=3)
        resumed.load_state_dict(reference.state_dict())
        assert [resumed.after_update(p), resumed.after_update(p)] == [True, False]
        assert torch.equal(next(resumed.frozen.parameters()), next(p.parameters()))

    def test_a_soft_refresh_moves_part_of_the_way(self):
        p = policy()
        reference = Reference(p, refresh_every=1, alpha=0.25)
        start = next(p.parameters()).detach().clone()
        with torch.no_grad():
            next(p.parameters()).add_(4.0)
        reference.after_update(p)
        assert torch.allclose(next(reference.frozen.parameters()), start + 1.0)

    def test_it_stays_out_of_training_mode(self):
        reference = Reference(policy())
        reference.train()
        assert not reference.frozen.model.training
