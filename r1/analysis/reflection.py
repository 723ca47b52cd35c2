"""Find the places where a thought turns back on itself, in English and Chinese.

Five kinds (four of them the cognitive behaviours of Gandhi et al. 2025, and the aha remark of R1 v1 Table 3):

    verification       checks what was found           "let me double-check", "代入原方程检验"
    backtracking       gives up or repairs a step      "wait, that's not right", "等等，我算错了"
    subgoal            cuts the problem into steps      "first, let's find the slope", "第一步"
    backward_chaining  works from the goal             "to get 24 I would need", "倒推"
    aha                says that something clicked     "aha!", "原来如此"

Rules, not keywords: a word counts where it does the job. "Wait" opens a clause and is followed by a pause or a remark; "he had
to wait for the bus", a quoted "Wait!" and 苹果、梨等等 do not count. The word counts of the paper's Figure 9 are here as well,
as `paper_words`, since they are what the paper plots; they count words, whatever the words do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from r1.analysis.cues import CHINESE, ENGLISH, Cue
from r1.grading.language import language_share

PAPER_WORDS = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
KINDS = ("backtracking", "verification", "aha", "backward_chaining", "subgoal")  # earlier kinds win where spans overlap
REFLECTIVE = ("backtracking", "verification", "aha")  # what "reflection rate" means; planning ahead is no reflection

_PAPER = re.compile(r"\b(" + "|".join(PAPER_WORDS) + r")\b", re.IGNORECASE)
_ENGLISH, _CHINESE = (tuple((cue, cue.regex) for cue in cues) for cues in (ENGLISH, CHINESE))
_HAN = re.compile(r"[\u4e00-\u9fff]")
_STARTS = re.compile(
    r"(?:^|[.!?;:,，。！？；：、…—–\n)\]}*#>$~-]|\b(?:but|no|oh|hmm+|so|and|okay|ok|ah|um+|well|yes|now|then|hm)|[但不哦嗯啊可])\s*$"
)


def find_reflections(text: str, kinds: Collection[str] = KINDS) -> list[dict[str, int | str]]:
    """Reflections in order of appearance, `{"start", "end", "kind", "text"}` with text[start:end]; spans never overlap.

    >>> [(r["kind"], r["text"]) for r in find_reflections("try 9 plus 6 is 15 want 54 no . wait , try 9 times 6")]
    [('backtracking', 'wait')]
    >>> find_reflections("Anna had to wait 5 minutes for the bus.")
    []
    """
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(f"kinds of reflection are {', '.join(KINDS)}; got {', '.join(sorted(unknown))}")
    plain = _plain(text)
    found = []
    for cue, pattern in _cues(plain, kinds):
        for match in pattern.finditer(plain):
            start, end = match.span()
            if _whole_word(plain, start) and (not cue.opens or _STARTS.search(plain[max(0, start - 12) : start])):
                found.append((start, end, cue.kind))
    # Of overlapping spans the kind that comes first in KINDS stays, then the longer one.
    found.sort(key=lambda span: (KINDS.index(span[2]), span[0] - span[1]))
    taken, kept = bytearray(len(text)), []
    for start, end, kind in found:
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            kept.append((start, end, kind))
    return [{"start": start, "end": end, "kind": kind, "text": text[start:end]} for start, end, kind in sorted(kept)]


def reflects(text: str) -> bool:
    """Whether a text turns back on itself at all: one verification, backtracking or aha remark."""
    return bool(find_reflections(text, REFLECTIVE))


def paper_words(texts: Iterable[str]) -> dict[str, int]:
    """How often each of the paper's ten words occurs, as whole words in any case (v2 Figure 9).

    >>> paper_words(["Wait, but is it wrong? Wait."])["wait"]
    2
    """
    counts = dict.fromkeys(PAPER_WORDS, 0)
    for text in texts:
        for word in _PAPER.findall(text):
            counts[word.lower()] += 1
    return counts


def mixes_languages(text: str) -> bool:
    """Whether a completion holds words of two languages.

    >>> mixes_languages("try 2 加 10"), mixes_languages("try 2 plus 10")
    (True, False)
    """
    return sum(share > 0 for share in language_share(text).values()) > 1


def repetition(text: str, n: int = 4) -> float:
    """Share of word n-grams that occurred before in the text; 0 for texts shorter than n + 1 words. Chinese counts characters.

    >>> repetition("a b c d a b c d")  # 5 four-grams, the last one a repeat
    0.2
    """
    words = re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def _plain(text: str) -> str:
    """Lower case with straight apostrophes, one character for one, so that spans in it are spans in the text."""
    lower = text.lower().replace("’", "'")
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _cues(plain: str, kinds: Collection[str]) -> Iterator[tuple[Cue, re.Pattern[str]]]:
    """The cues of these kinds that can occur at all."""
    for cue, pattern in _ENGLISH:
        if cue.kind in kinds and any(trigger in plain for trigger in cue.triggers):
            yield cue, pattern
    if _HAN.search(plain):
        yield from (pair for pair in _CHINESE if pair[0].kind in kinds)


def _whole_word(text: str, start: int) -> bool:
    return not (
        start and text[start].isascii() and text[start].isalpha() and text[start - 1].isascii() and text[start - 1].isalpha()
    )
