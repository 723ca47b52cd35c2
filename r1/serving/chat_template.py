"""The policy's prompt template as a chat template, and how a response is taken apart: what other programs need to talk to it.

A training template knows one question. As a chat template it must give that prompt token for token, beginning-of-sequence id
included, and say what earlier turns look like. As in DeepSeek's template an earlier answer stands there without its thought
(`strip`), which keeps a long conversation short and is what R1 was served with; `keep` leaves it.

    <bos>User : 1 + 1 ? Assistant : <answer> 2 </answer><eos>User : and 2 + 2 ? Assistant :
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from r1.grading.parse import CLOSE_TAGS, OPEN_TAGS
from r1.policy.policy import encode_prompt
from r1.policy.prompts import Template
from r1.records import Problem

Thought = Literal["keep", "strip"]
_PROBE = "R1-PROBE"

# What an earlier answer of the assistant becomes. An unclosed thought was cut off and holds no answer.
_STRIP = """
{%- set r1 = namespace(text=message.content or '') %}
{%- for tag in CLOSE %}{%- set r1.text = (r1.text.split(tag) | last) %}{%- endfor %}
{%- for tag in OPEN %}{%- set r1.text = (r1.text.split(tag) | first) %}{%- endfor %}
{%- set r1.text = r1.text | trim %}""".replace("OPEN", json.dumps(OPEN_TAGS)).replace("CLOSE", json.dumps(CLOSE_TAGS))

# Clients send the thought back in a field of its own, as they were given it.
_KEEP = """
{%- set r1 = namespace(text=message.content or '') %}
{%- if message.reasoning_content and '</think>' not in r1.text %}
{%- set r1.text = '<think>\\n' ~ message.reasoning_content ~ '\\n</think>\\n\\n' ~ r1.text %}
{%- endif %}"""

_TEXT = """
{{- BOS }}
{%- for message in messages %}
{%- if message.role == 'system' %}
{{- message.content ~ '\\n\\n' }}
{%- elif message.role == 'user' %}
{{- BEFORE ~ message.content ~ AFTER }}
{%- elif message.role == 'assistant' %}ANSWER
{{- SPACE ~ r1.text ~ eos_token }}
{%- else %}
{{- raise_exception("messages are of the roles system, user and assistant, got " ~ message.role) }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- OPENED }}
{%- endif %}"""

# In front of a tokenizer's own template: the same messages, with the system line of training and without old thoughts.
_MESSAGES = """
{%- set changed = namespace(messages=[]) %}
{%- if SYSTEM and messages[0].role != 'system' %}
{%- set changed.messages = [{'role': 'system', 'content': SYSTEM}] %}
{%- endif %}
{%- for message in messages %}
{%- if STRIP and message.role == 'assistant' and message.content is string %}ANSWER
{%- set message = dict(message, content=r1.text) %}
{%- endif %}
{%- set changed.messages = changed.messages + [message] %}
{%- endfor %}
{%- set messages = changed.messages %}"""


def chat_template(template: Template, tokenizer: PreTrainedTokenizerBase, thought: Thought = "strip") -> str:
    """The Jinja chat template of a policy that was trained with `template`.

    Raises ValueError where the result does not give exactly the ids that the policy was trained on, or where the tokenizer's own
    chat template, which a `text=None` template builds on, does not do with earlier thoughts what was asked.
    """
    if thought not in ("keep", "strip"):
        raise ValueError(f"thought must be 'keep' or 'strip', got {thought!r}")
    made = _of_text(template, tokenizer, thought) if template.text is not None else _of_chat(template, tokenizer, thought)
    _check_prompt(made, template, tokenizer)
    _check_history(made, tokenizer, thought)
    return made


def response_template(template: Template, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """How transformers (`tokenizer.parse_response`, `transformers serve`) finds the thought in a response.

    The prefix it is given ends where the generation began: with the opening tag where the prompt holds it.
    """
    endings = [token for token in (tokenizer.eos_token, tokenizer.pad_token) if token]
    return {
        "defaults": {"role": "assistant"},
        "start_anchor_pattern": r"(?=<think>\s*\Z)" if template.opened else r"\Z",
        "fields": {
            "reasoning_content": {"open": list(OPEN_TAGS), "close": list(CLOSE_TAGS), "content": "text", "repeats": True, "join": "\n\n"},
            "content": {"close": list(dict.fromkeys(endings)), "content": "text", "repeats": True, "join": "\n\n"},
        },
    }  # fmt: skip


def opens_thought(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template's prompt ends inside an open `<think>`: responses then begin inside the thought."""
    return _render(tokenizer, None, [{"role": "user", "content": _PROBE}]).rstrip().endswith(OPEN_TAGS)


def _of_text(template: Template, tokenizer: PreTrainedTokenizerBase, thought: Thought) -> str:
    assert template.text is not None
    before, _, after = template.text.partition("{question}")
    opened = ""
    if template.opened:  # the tag belongs to the answer that is asked for, not to earlier ones
        after, tag, rest = after.rpartition("<think>")
        opened = tag + rest
    return _fill(
        _TEXT,
        BOS="bos_token" if _adds_bos(tokenizer) else "''",
        BEFORE=json.dumps(before, ensure_ascii=False),
        AFTER=json.dumps(after, ensure_ascii=False),
        SPACE="''" if after[-1:].isspace() else "' '",
        OPENED=json.dumps(opened),
        ANSWER=_STRIP if thought == "strip" else _KEEP,
    )


def _of_chat(template: Template, tokenizer: PreTrainedTokenizerBase, thought: Thought) -> str:
    own = tokenizer.chat_template
    if not isinstance(own, str):
        raise ValueError(
            f"template {template.name!r} is the tokenizer's own chat template, and this tokenizer has "
            f"{'several: export needs one' if own else 'none: name the template of training, --template r1_zero'}"
        )
    strip = thought == "strip" and _thought_stays(own, tokenizer)
    if not strip and not template.system:
        return own
    system = json.dumps(template.system or "", ensure_ascii=False)
    return _fill(_MESSAGES, SYSTEM=system, STRIP="true" if strip else "false", ANSWER=_STRIP) + own


def _fill(text: str, **parts: str) -> str:
    """Each upper-case word of ours replaced once for all; what is put in is not looked at again."""
    return re.sub(r"\b(" + "|".join(parts) + r")\b", lambda found: parts[found[0]], text)


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("x")["input_ids"])[:1] == [bos]


def _render(tokenizer: PreTrainedTokenizerBase, made: str | None, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, chat_template=made, tokenize=False, add_generation_prompt=True))


def _thought_stays(made: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": f"<think> {_PROBE} </think> two"},
        {"role": "user", "content": "three"},
    ]
    return _PROBE in _render(tokenizer, made, turns)


def _check_history(made: str, tokenizer: PreTrainedTokenizerBase, thought: Thought) -> None:
    stays = _thought_stays(made, tokenizer)
    if stays != (thought == "keep"):
        does = "keeps" if stays else "strips"
        raise ValueError(
            f"the tokenizer's own chat template {does} the thoughts of earlier turns: --thought {thought} cannot be had"
        )


def _check_prompt(made: str, template: Template, tokenizer: PreTrainedTokenizerBase) -> None:
    for question in ("What is 6 * 9 ?", "{a} & <b>\n\n  两数之和 \\frac{1}{2}", "  spaces around  "):
        wanted = encode_prompt(Problem("probe", question, None), template, tokenizer, frozenset([tokenizer.eos_token_id]))
        text = _render(tokenizer, made, [{"role": "user", "content": question}])
        got = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if got != wanted:
            raise ValueError(
                f"as a chat template, {template.name!r} does not give the prompt of training: expected ids {wanted[:12]}..., got {got[:12]}..."
            )
