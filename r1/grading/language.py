"""Which language a text is in, by share of words (R1 v2 eq. 7 asks for the share of target-language words in the thought).

The Unicode script decides: a Han character is one Chinese word, a run of two or more Latin letters one English word, and letters of
other scripts count as "other". Mathematics belongs to no language, so LaTeX, code, tags, links, numbers, signs and single letters
(`x`, but also "a" and "I") are neutral.
"""

from __future__ import annotations

import re

_NEUTRAL = re.compile(
    r"```.*?(?:```|\Z)"  # code, also a block that was cut off
    r"|`[^`\n]{1,200}`"
    r"|\$\$.{1,2000}?\$\$|\$[^$\n]{1,500}\$"
    r"|\\\[.{1,2000}?\\\]|\\\(.{1,500}?\\\)"
    r"|\\begin\{(?P<env>[a-z]{1,12}\*?)\}.{0,2000}?\\end\{(?P=env)\}"
    r"|\\[A-Za-z]+(?:\{[A-Za-z0-9_]{0,20}\})?"
    r"|</?[A-Za-z_]{1,20}>|<\|[^|<>]{1,30}\|>"
    r"|https?://\S+",
    re.DOTALL,
)
_WORD = re.compile(
    r"(?P<zh>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])"
    r"|(?P<en>[A-Za-z\u00c0-\u024f](?:['’]?[A-Za-z\u00c0-\u024f])+)"
    r"|(?P<other>[^\W\d_A-Za-z\u00c0-\u024f\u0370-\u03ff\u2100-\u214f\u3400-\u9fff]{2,})"
)


def word_counts(text: str) -> dict[str, int]:
    """Words by language: {"en": .., "zh": .., "other": ..}. Greek letters are mathematics."""
    counted = {"en": 0, "zh": 0, "other": 0}
    for match in _WORD.finditer(_NEUTRAL.sub(" ", text)):
        counted[match.lastgroup or "other"] += 1
    return counted


def language_share(text: str) -> dict[str, float]:
    """Share of each language among the words, {"en": .., "zh": .., "other": ..}; all 0.0 where the text has no words.

    >>> language_share("so 加 $x+y$ 得 12")
    {'en': 0.3333333333333333, 'zh': 0.6666666666666666, 'other': 0.0}
    """
    counted = word_counts(text)
    total = sum(counted.values())
    return {language: (n / total if total else 0.0) for language, n in counted.items()}
