"""Problem -> Trace with a real policy: prompt ids, seeds, text, versions."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from r1 import repro
from r1.policy.policy import Policy
from r1.records import Problem
from r1.rollout.collate import collate
from r1.rollout.engine import Completion, Sampling
from r1.rollout.hf import HFEngine
from r1.rollout.sampler import sample

WORDS = ["<pad>", "<eos>", "<bos>", "User", ":", "Assistant", "one", "two", "he", "llo", "hello"]
PROBLEMS = [Problem("a", "one two"), Problem("b", "two"), Problem("a", "one two")]


def make_policy() -> Policy:
    """Seven-token prompts with a beginning-of-sequence id that the tokenizer adds by itself, as Llama's does."""
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")
    from transformers import Qwen3Config

    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=2, head_dim=8, max_position_embeddings=64)  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return Policy(model, tokenizer, "plain")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return make_policy()


class Fixed:
    """Answers every prompt with the same ids and remembers what it was asked."""

    weight_version = 3

    def __init__(self, *token_ids: int) -> None:
        self.token_ids = list(token_ids)

    def generate(self, prompts, n, sampling, seeds):
        self.prompts, self.seeds = prompts, seeds
        return [[Completion(self.token_ids, [-1.0] * len(self.token_ids), "stop") for _ in row] for row in seeds]

    def sync(self, policy, version):
        raise AssertionError("sampling is not the place to move weights")


def test_traces_say_where_they_come_from(policy):
    engine = Fixed(6, 7, 1)
    groups = sample(engine, policy, PROBLEMS, 2, Sampling(), (0, "grpo", 5))
    assert [g.problem.id for g in groups] == ["a", "b", "a"]
    trace = groups[1].traces[1]
    assert trace.prompt_ids == policy.encode(PROBLEMS[1]) == engine.prompts[1]
    assert (trace.token_ids, trace.text, trace.finish_reason, trace.weight_version) == ([6, 7, 1], "one two", "stop", 3)
    assert trace.seed == repro.key(0, "grpo", 5, "b", 1)


def test_a_problem_that_comes_twice_continues_its_numbering(policy):
    engine = Fixed(1)
    sample(engine, policy, PROBLEMS, 2, Sampling(), (0, "grpo", 5))
    assert engine.seeds[0] + engine.seeds[2] == [repro.key(0, "grpo", 5, "a", i) for i in range(4)]


def test_special_tokens_do_not_reach_the_text(policy):
    """Bug 38: the reward must not see `<eos>`."""
    groups = sample(Fixed(6, 1), policy, PROBLEMS[:1], 1, Sampling(), (0,))
    assert groups[0].traces[0].text == "one"


def test_one_beginning_of_sequence(policy):
    """Bug 29: template and tokenizer both add it. It is 2 here, and the tokenizer adds it to every text."""
    traces = sample(Fixed(6, 1), policy, PROBLEMS[:2], 1, Sampling(), (0,))
    for group in traces:
        assert group.traces[0].prompt_ids.count(2) == 1
        assert group.traces[0].prompt_ids[0] == 2


def test_ids_are_trained_as_they_were_sampled(policy):
    """Bug 31: "he llo" may encode to another id than was sampled; collating never asks the tokenizer."""
    sampled = [8, 9, 2, 10, 1]  # he llo <bos> hello <eos>: decoding and encoding loses the <bos>
    (group,) = sample(Fixed(*sampled), policy, PROBLEMS[:1], 1, Sampling(), (0,))
    assert policy.tokenizer(group.traces[0].text)["input_ids"] != sampled
    batch = collate(group.traces, policy.pad_id)
    assert batch.targets[0].tolist() == sampled


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_policy_gives_the_samplers_log_probabilities_back(policy, temperature):
    """Bugs 3, 21 and 22 along the whole line: prompts of different length, sampled, collated, scored by the policy."""
    sampling = Sampling(temperature, max_new_tokens=12)
    groups = sample(HFEngine(policy), policy, PROBLEMS, 4, sampling, (0, "grpo", 0))
    batch = collate([t for g in groups for t in g.traces], policy.pad_id)
    logp, _ = policy.logps(batch, temperature)
    assert float((logp - batch.sampler_logp)[batch.mask].abs().max()) <= 1e-4
    assert len({t.finish_reason for g in groups for t in g.traces}) == 2
