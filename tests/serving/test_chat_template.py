"""A chat template gives the prompt of training token for token, and earlier answers without (or with) their thoughts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerFast

from r1.policy.policy import encode_prompt
from r1.policy.prompts import TEMPLATES, Template, named
from r1.records import Problem
from r1.serving.chat_template import chat_template, opens_thought, response_template

TURNS = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "<think> is </think> two"},
    {"role": "user", "content": "three"},
]
OWN = (
    "{{ bos_token }}{% for m in messages %}{{ ' User : ' if m.role == 'user' else ' : ' }}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %} Assistant :{% endif %}"
)


def ids(tokenizer: PreTrainedTokenizerFast, template: str, turns: list[dict[str, str]]) -> list[int]:
    return list(tokenizer.apply_chat_template(turns, chat_template=template, add_generation_prompt=True, return_dict=False))


def test_golden_ids(with_bos: PreTrainedTokenizerFast) -> None:
    made = chat_template(named("tiny"), with_bos)
    # <bos> User : one Assistant :
    assert ids(with_bos, made, TURNS[:1]) == [2, 3, 4, 6, 5, 4]
    # <bos> User : one Assistant : two <eos> User : three Assistant :
    assert ids(with_bos, made, TURNS) == [2, 3, 4, 6, 5, 4, 7, 1, 3, 4, 8, 5, 4]
    # ... Assistant : <think> is </think> two <eos> ...
    kept = chat_template(named("tiny"), with_bos, "keep")
    assert ids(with_bos, kept, TURNS) == [2, 3, 4, 6, 5, 4, 10, 9, 11, 7, 1, 3, 4, 8, 5, 4]


def test_a_thought_in_its_own_field_is_kept_too(with_bos: PreTrainedTokenizerFast) -> None:
    turns = [TURNS[0], {"role": "assistant", "reasoning_content": "is", "content": "two"}, TURNS[2]]
    assert ids(with_bos, chat_template(named("tiny"), with_bos, "keep"), turns)[6:11] == [10, 9, 11, 7, 1]
    assert ids(with_bos, chat_template(named("tiny"), with_bos), turns)[6:8] == [7, 1]


@pytest.mark.parametrize(
    "thought", ["is </think> two", "<think> is </thinking> two", "<think> a </think> is <think> b </think> two"]
)
def test_only_what_follows_the_last_thought_stays(with_bos: PreTrainedTokenizerFast, thought: str) -> None:
    turns = [TURNS[0], {"role": "assistant", "content": thought}, TURNS[2]]
    assert ids(with_bos, chat_template(named("tiny"), with_bos), turns)[6:8] == [7, 1]


def test_an_answer_that_was_cut_off_inside_its_thought_leaves_nothing(with_bos: PreTrainedTokenizerFast) -> None:
    turns = [TURNS[0], {"role": "assistant", "content": "<think> is is"}, TURNS[2]]
    assert ids(with_bos, chat_template(named("tiny"), with_bos), turns)[6:8] == [1, 3]


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if template.text is not None])
def test_every_template_gives_its_prompt(with_bos: PreTrainedTokenizerFast, name: str) -> None:
    made = chat_template(named(name), with_bos)
    wanted = encode_prompt(Problem("p", "one {is} two", None), named(name), with_bos, frozenset([1]))
    assert ids(with_bos, made, [{"role": "user", "content": "one {is} two"}]) == wanted
    assert wanted.count(2) == 1


def test_a_prompt_that_opens_the_thought(with_bos: PreTrainedTokenizerFast) -> None:
    template = Template("opened", "User : {question} Assistant : <think>\n", opened=True)
    made = chat_template(template, with_bos)
    assert ids(with_bos, made, TURNS) == [2, 3, 4, 6, 5, 4, 7, 1, 3, 4, 8, 5, 4, 10]  # not in front of the earlier answer
    with_bos.chat_template = made
    assert opens_thought(with_bos)
    prompt = with_bos.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    spec = response_template(template, with_bos)
    assert with_bos.parse_response("one two </think> three <eos>", spec, prefix=prompt) == {
        "role": "assistant", "reasoning_content": "one two", "content": "three",
    }  # fmt: skip


def test_the_response_is_taken_apart(with_bos: PreTrainedTokenizerFast) -> None:
    spec, prompt = response_template(named("tiny"), with_bos), "User : <think> one Assistant :"
    whole = with_bos.parse_response("<think> one </think> two <eos>", spec, prefix=prompt)
    assert (whole["reasoning_content"], whole["content"]) == ("one", "two")
    assert with_bos.parse_response("two <eos>", spec, prefix=prompt) == {"role": "assistant", "content": "two"}
    assert "content" not in with_bos.parse_response("<think> one one", spec, prefix=prompt)


def test_an_own_chat_template_gets_the_system_line_and_loses_old_thoughts(with_bos: PreTrainedTokenizerFast) -> None:
    with_bos.chat_template = OWN
    template = replace(named("chat"), system="is")
    made = chat_template(template, with_bos)
    assert ids(with_bos, made, TURNS) == [
        2,
        4,
        9,
        3,
        4,
        6,
        4,
        7,
        3,
        4,
        8,
        5,
        4,
    ]  # <bos> : is User : one : two User : three Assistant :
    own_system = [{"role": "system", "content": "two"}, TURNS[0]]
    assert ids(with_bos, made, own_system)[:3] == [2, 4, 7]
    assert 10 in ids(with_bos, chat_template(template, with_bos, "keep"), TURNS)


def test_what_cannot_be_had_is_refused(with_bos: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="has none|none: name the template"):
        chat_template(named("chat"), with_bos)
    with_bos.chat_template = OWN.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
    with pytest.raises(ValueError, match="strips the thoughts of earlier turns: --thought keep cannot be had"):
        chat_template(named("chat"), with_bos, "keep")
    with pytest.raises(ValueError, match="'keep' or 'strip', got 'drop'"):
        chat_template(named("tiny"), with_bos, "drop")  # type: ignore[arg-type]
    made = chat_template(named("tiny"), with_bos)
    with pytest.raises(Exception, match="roles system, user and assistant, got tool"):
        ids(with_bos, made, [{"role": "tool", "content": "one"}])
