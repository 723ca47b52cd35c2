"""Prefixes are the sampled ids themselves, cut in the right place, continued with fresh draws, and graded as whole completions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from r1.analysis.resampling import Prefix, Resampler, forced, spans, tokens_within
from r1.rollout.engine import Sampling

SAMPLING = Sampling(max_new_tokens=60)


def text_of(aha, one, tokens):
    return aha.policy.decode(one.token_ids[:tokens])


def test_a_span_goes_from_the_cue_to_the_end_of_its_sentence(aha):
    one = aha.trace(f"{aha.FIRST} {aha.AGAIN} wait , try 9 minus 2 is 7 want 54 no . </think> {aha.RIGHT}")
    first, second = spans(one, aha.policy)
    assert first.text == aha.AGAIN
    assert text_of(aha, one, first.before) == aha.FIRST
    assert text_of(aha, one, first.after) == f"{aha.FIRST} {aha.AGAIN}"
    assert second.before == first.after
    assert [span.text for span in spans(one, aha.policy, until="cue")] == ["wait", "wait"]


def test_the_last_sentence_ends_where_the_thought_does(aha):
    one = aha.trace(f"{aha.FIRST} wait , try 9 times 6 </think> {aha.RIGHT}")
    (span,) = spans(one, aha.policy)
    assert text_of(aha, one, span.after).endswith("try 9 times 6")


def test_reflections_after_the_thought_do_not_count(aha):
    assert spans(aha.trace(f"{aha.FIRST} </think> wait , {aha.RIGHT}"), aha.policy) == []


def test_another_tokenizer_is_refused(aha):
    one = aha.trace(f"{aha.FIRST} {aha.AGAIN}")
    stranger = SimpleNamespace(decode=lambda ids: "something else")
    with pytest.raises(ValueError, match="decodes to another text"):
        spans(one, stranger)


@pytest.mark.parametrize("characters", range(12))
def test_tokens_of_several_bytes_and_pieces_of_words(characters):
    """A byte a token: Chinese characters span three. Compared with counting up from nothing."""
    text = "so 等等, no."
    ids = list(text.encode())
    policy = SimpleNamespace(decode=lambda ids: bytes(ids).decode(errors="replace"))
    expected = max(t for t in range(len(ids) + 1) if len(policy.decode(ids[:t]).rstrip()) <= characters)
    assert tokens_within(policy, ids, characters) == expected


def test_prompts_are_the_ids_that_were_sampled(aha):
    one = aha.trace(f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}")
    engine = aha.KnownChances(lambda text: 1.0)
    Resampler(aha.policy, engine, SAMPLING)([Prefix(one, 5), Prefix(one, 5, (7, 8))], n=2)
    prompts, n, sampling, seeds = engine.requests[0]
    assert prompts == [[*one.prompt_ids, *one.token_ids[:5]], [*one.prompt_ids, *one.token_ids[:5], 7, 8]]
    assert n == 2
    assert sampling.max_new_tokens == 60 - 5  # the longest room of the batch
    assert len({seed for row in seeds for seed in row}) == 4


def test_asked_again_a_prefix_draws_new_samples_and_another_run_the_same(aha):
    one = aha.trace(f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}")
    seeds = []
    for _ in range(2):
        engine = aha.KnownChances(lambda text: 0.5)
        sampler = Resampler(aha.policy, engine, SAMPLING)
        sampler([Prefix(one, 5)], n=3)
        sampler([Prefix(one, 9), Prefix(one, 5)], n=3)
        seeds.append([engine.requests[0][3][0], engine.requests[1][3][1]])
    assert seeds[0] == seeds[1]
    assert not set(seeds[0][0]) & set(seeds[0][1])


def test_rollouts_are_graded_as_whole_completions(aha):
    one = aha.trace(f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}")
    kept = len(aha.encode(aha.FIRST))
    engine = aha.KnownChances(lambda text: 1.0, opening=lambda text: "</think>")
    (((rollout,)),) = Resampler(aha.policy, engine, SAMPLING)([Prefix(one, kept)], n=1)
    assert (rollout.right, rollout.answer) == (True, "(6*9)")
    assert rollout.text.strip() == "</think> <answer> 9 * 6 </answer>"
    (((cut,)),) = Resampler(aha.policy, engine, SAMPLING)([Prefix(one, kept, room=4)], n=1)
    assert (cut.right, cut.answer) == (False, None)  # "</think> <answer> 9 *" has no answer
    judged = Resampler(aha.policy, engine, SAMPLING, judge=lambda trace: trace.token_ids[:kept] != one.token_ids[:kept])
    assert not judged([Prefix(one, kept)], n=1)[0][0].right


def test_a_forced_answer_closes_an_open_thought_only(aha):
    thinking = aha.trace(f"{aha.FIRST} {aha.AGAIN}")
    assert aha.policy.decode(forced(aha.policy, thinking, 3).completion) == "<think> try 9 </think> <answer>"
    untagged = aha.trace("try 9 plus 6 is 15 .")
    assert aha.policy.decode(forced(aha.policy, untagged, 2).completion) == "try 9 <answer>"


def test_greedy_resampling_is_refused(aha):
    with pytest.raises(ValueError, match="above 0"):
        Resampler(aha.policy, aha.KnownChances(lambda text: 1.0), Sampling(temperature=0))
