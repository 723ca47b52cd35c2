"""Who writes: the policy through its engine, and models behind an endpoint."""

from __future__ import annotations

import pytest

from r1 import repro
from r1.pipeline.samplers import EndpointSampler, PolicySampler, messages
from r1.policy.prompts import Template
from r1.policy.tiny import tiny_policy
from r1.records import Problem
from r1.rewards.endpoint import Unavailable
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine

ONE, TWO = Problem("q/1", "1 + 1?", "2"), Problem("q/2", "2 + 2?", "4")
KEYS = (0, "generate/x", 0)


def test_a_policy_writes_under_the_template_of_the_sampler_and_keeps_its_own() -> None:
    policy = tiny_policy(["User", ":", "Assistant", "1", "+", "1?", "hm"], hidden=16, layers=1, heads=2, inner=16)
    sampler = PolicySampler(policy, HFEngine(), Sampling(max_new_tokens=3), Template("other", "hm {question}"))
    ((first, second),) = [group.traces for group in sampler([ONE], 2, KEYS)]
    assert policy.tokenizer.decode(first.prompt_ids) == "hm 1 + 1?"
    assert policy.template.name == "tiny"
    assert (first.seed, second.seed) == (repro.key(*KEYS, "q/1", 0), repro.key(*KEYS, "q/1", 1))
    plain = PolicySampler(policy, HFEngine(), Sampling(max_new_tokens=3))
    assert policy.tokenizer.decode(plain([ONE], 1, KEYS)[0].traces[0].prompt_ids) == "User : 1 + 1? Assistant :"


def test_an_endpoint_is_asked_once_a_sample_each_with_its_seed(serve) -> None:
    server = serve(lambda body: f"<think> {body['messages'][-1]['content']} </think> {body['seed'] % 7}")
    sampler = EndpointSampler(
        server.url, "writer", temperature=0.7, top_p=0.9, max_tokens=50, template=Template("c", None, "Think."), workers=3
    )
    groups = sampler([ONE, TWO], 2, KEYS)
    assert [group.problem.id for group in groups] == ["q/1", "q/2"]
    assert len(server.requests) == 4
    assert {(r["model"], r["temperature"], r["top_p"], r["max_tokens"]) for r in server.requests} == {("writer", 0.7, 0.9, 50)}
    assert {r["messages"][0]["content"] for r in server.requests} == {"Think."}
    seeds = [[repro.key(*KEYS, problem.id, i) for i in range(2)] for problem in (ONE, TWO)]
    assert [[t.seed for t in g.traces] for g in groups] == seeds  # threads do not change who got what
    assert [[t.text for t in g.traces] for g in groups] == [
        [f"<think> {p.question} </think> {s % 2**31 % 7}" for s in row] for p, row in zip((ONE, TWO), seeds)
    ]


@pytest.mark.parametrize(
    ("said", "text", "reason"),
    [
        ("2", "2", "stop"),
        (("2", "length"), "2", "length"),
        ({"content": "It is 2.", "reasoning_content": "so"}, "<think>so</think>It is 2.", "stop"),
        (({"content": None, "reasoning_content": "so"}, "length"), "<think>so", "length"),  # cut inside the thought
    ],
)
def test_what_a_reply_becomes(serve, said, text: str, reason: str) -> None:
    (group,) = EndpointSampler(serve(lambda body: said).url, "w")([ONE], 1, KEYS)
    assert (group.traces[0].text, group.traces[0].finish_reason, group.traces[0].token_ids) == (text, reason, [])


def test_an_outage_stops_and_a_refusal_says_so(serve) -> None:
    with pytest.raises(Unavailable):
        EndpointSampler(serve(lambda body: 503).url, "w", retries=0)([ONE], 1, KEYS)
    with pytest.raises(ValueError, match="refused the request: 401"):
        EndpointSampler(serve(lambda body: 401).url, "w")([ONE], 1, KEYS)
    with pytest.raises(ValueError, match="must begin with http"):
        EndpointSampler("localhost:8000", "w")


def test_templates_as_messages() -> None:
    assert messages(ONE, None) == [{"role": "user", "content": "1 + 1?"}]
    assert messages(ONE, Template("t", "Q: {question} A:")) == [{"role": "user", "content": "Q: 1 + 1? A:"}]
    assert messages(ONE, Template("t", None, "Be kind.")) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "1 + 1?"},
    ]
