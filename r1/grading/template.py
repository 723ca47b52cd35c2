"""The strict templates: does a completion have exactly the structure that was asked for?

`parse` forgives so that accuracy is measured; here nothing is forgiven, or tags become a currency: repeated tags, empty thoughts
and text around the tags were all paid for by laxer checks elsewhere. Only white space is free, since tokenizers of tiny models put
spaces around every tag.
"""

from __future__ import annotations

import re

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_R1_ZERO = re.compile(r"<think>(.*)</think>\s*<answer>(.*)</answer>", re.DOTALL)
_R1 = re.compile(r"<think>(.*)</think>(.*)", re.DOTALL)


def r1_zero_format(text: str, opened: bool = False) -> bool:
    """`<think> thought </think> <answer> answer </answer>` and nothing else (R1-Zero, v1 Table 1).

    Each tag once, thought and answer with something in them, nothing outside. `opened`: the prompt ended with `<think>`, so the
    completion must begin inside the thought (with the tag written a second time it is wrong).
    """
    text = ("<think>" if opened else "") + text.strip()
    match = _R1_ZERO.fullmatch(text)
    return match is not None and all(text.count(tag) == 1 for tag in _TAGS) and all(map(says_something, match.groups()))


def r1_format(text: str, opened: bool = False) -> bool:
    """`<think> thought </think> summary` (R1): one thought first, a non-empty summary after it, no other tags."""
    text = ("<think>" if opened else "") + text.strip()
    match = _R1.fullmatch(text)
    return (
        match is not None
        and text.count("<think>") == 1
        and text.count("</think>") == 1
        and "<answer>" not in text
        and "</answer>" not in text
        and all(map(says_something, match.groups()))
    )


def says_something(text: str) -> bool:
    """At least one letter or digit: dots, empty tags and boxes, and zero-width characters do not fill a thought."""
    return any(c.isalnum() for c in re.sub(r"<[^<>]*>|\\(?:boxed|fbox|text)(?![A-Za-z])", "", text))
