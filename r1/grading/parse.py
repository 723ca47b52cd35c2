"""The one parser: from a completion to its thought, its summary and its final answer.

Rewards, votes, evaluation, `r1 score` and the notebooks all read a completion through `parse`, so that they cannot disagree.

    <think> 9 * 6 is 54 ... </think>  So the answer is <answer> \\boxed{54} </answer>
            ------ think ---------    ---------------- summary -------------------    answer = "54"

Rules, in order:
1. Only text after the *last* closing think tag can hold the answer: a box inside the thought is a draft. A completion may begin
   inside the thought (half of real R1 outputs show no opening tag, because the prompt's template wrote it).
2. A thought that was opened and never closed was cut off, and a cut-off completion has no answer.
3. In the rest, the last `<answer>` is the answer (the last box inside it, if any); else the last box; else the last
   "the answer is ..." phrase; else the rest itself when it is nothing but an expression. Of several boxes, (a) and (b) say, the
   last counts. A loose number in running text is not an answer.

Everything here is one pass over the text: a megabyte of braces costs milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Source = Literal["answer_tag", "box", "phrase", "bare"]

# Models misspell the tags; what matters here is that the thought was closed. The strict spelling is the format reward's business.
# Literal spellings instead of a pattern: `find` and `rfind` look for the first and the last in one pass, however many there are.
OPEN_TAGS = ("<think>", "<thinking>", "<Think>", "<THINK>")
CLOSE_TAGS = ("</think>", "</thinking>", "</Think>", "</THINK>", "\\end{think}", "\\end{think>")
_ANSWER_OPEN = ("<answer>", "<Answer>", "<ANSWER>")
_ANSWER_CLOSE = ("</answer>", "</Answer>", "</ANSWER>")
_SPECIAL = ("</s>", "<s>", "<eos>", "<pad>", "<bos>", "[EOS]", "[PAD]")

_BOXES = ("\\boxed", "\\fbox", "\\framebox")
_BOX_PIECE = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])[ \t]*(?P<brace>\{)?|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"[^\s{}$\\]{1,40}")
_BOX_WINDOW = 4000  # characters read on either side of the last box: a longer "answer" is none

_PHRASE = re.compile(
    r"(?:final\s+answer|answer)\s*(?:is|are|=|:|：|\*\*:|:\*\*)+\s*"
    r"|(?:最终答案|最后答案|正确答案|答案)\s*(?:应该|应当)?\s*(?:是|为|选|：|:)+\s*"
    r"|故(?:正确)?(?:答案)?(?:应)?选(?:择)?\s*(?:项)?\s*(?:是|为|：|:)?\s*"
    r"|^####\s*",
    re.IGNORECASE | re.MULTILINE,
)
_PHRASE_WINDOW = 300  # characters of a phrase's sentence that are read: a longer "answer" is prose
_PHRASE_TAIL = 4000  # and only in the last characters of the summary, where a final answer stands
_MATH_SPAN = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\n|。|；|;|！|[.!](?=\s|$)|,\s+(?:because|since|which|so|as|where|and\s+the)\b|，(?:因为|所以|因此)")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a completion says.

    think    the thought without its tags, None where none was marked; drafts of several thoughts stay in it
    summary  the text after the last closed thought (all of it where there is no thought), "" when the thought was cut off
    answer   the final answer as written, None where there is none
    source   which rule found the answer
    closed   False when a thought was opened and never closed
    """

    think: str | None
    summary: str
    answer: str | None
    source: Source | None
    closed: bool


def parse(text: str, opened: bool = False, truncated: bool = False) -> Parsed:
    """Read one completion.

    opened     the prompt already ended with `<think>`: the completion begins inside the thought
    truncated  the token limit cut the completion: an unclosed `<answer>`, or a phrase that runs to the very end, may have lost
               its last digits and is no answer (without a limit, a stop string may have eaten the closing tag: it is one)

    >>> parse("<think> maybe \\\\boxed{3} </think> It is \\\\boxed{4}.").answer
    '4'
    """
    text = strip_special(text)
    first_open, last_open = _first(text, OPEN_TAGS), _last(text, OPEN_TAGS)
    first_close, last_close = _first(text, CLOSE_TAGS), _last(text, CLOSE_TAGS)
    reopened = last_open is not None and (last_close is None or last_open[0] >= last_close[1])
    unclosed = reopened or (opened and last_close is None)

    think = None
    if unclosed or last_close is not None:
        start = first_open[1] if first_open else 0
        if first_open and text[: first_open[0]].strip() and (opened or (first_close and first_close[0] < first_open[0])):
            start = 0  # the completion begins inside the thought, and a second one follows
        think = text[start : len(text) if unclosed or last_close is None else last_close[0]].strip()
    if unclosed:
        return Parsed(think, "", None, None, closed=False)
    rest_start = last_close[1] if last_close else 0
    summary = text[rest_start:].strip()
    answer, source = _find_answer(summary, truncated)
    return Parsed(think, summary, answer, source, closed=True)


def _first(text: str, spellings: tuple[str, ...], start: int = 0) -> tuple[int, int] | None:
    """(begin, end) of the earliest of the spellings from `start` on."""
    found = [(at, at + len(s)) for s in spellings if (at := text.find(s, start)) >= 0]
    return min(found) if found else None


def _last(text: str, spellings: tuple[str, ...]) -> tuple[int, int] | None:
    found = [(at, at + len(s)) for s in spellings if (at := text.rfind(s)) >= 0]
    return max(found) if found else None


def strip_special(text: str) -> str:
    """Without the special tokens that some engines leave at the ends: '... 42<eos>' is the answer '... 42'."""
    text = text.strip()
    begin, end = 0, len(text)
    for token in ("<s>", "<bos>"):
        if text.startswith(token, begin):
            begin += len(token)
    while token := _special_at(text, begin, end):
        end -= len(token)
        run = token * 256  # padding comes by the thousand
        while text.endswith(run, begin, end):
            end -= len(run)
        while end > begin and text[end - 1].isspace():
            end -= 1
    return text[begin:end].strip()


def _special_at(text: str, begin: int, end: int) -> str | None:
    """The special token that ends at `end`; besides the listed ones <|im_end|> and its kin, also in DeepSeek's full-width bars."""
    if text.endswith(_SPECIAL, begin, end):
        return next(t for t in _SPECIAL if text.endswith(t, begin, end))
    if text.endswith(("|>", "｜>"), begin, end):
        low = max(begin, end - 40)
        start = max(text.rfind("<|", low, end), text.rfind("<｜", low, end))
        if start >= 0 and not any(c.isspace() for c in text[start:end]):
            return text[start:end]
    return None


def last_box(text: str) -> tuple[str | None, bool]:
    r"""(content of the last box to close, whether a later box was left open). Braces may nest: `\boxed{\frac{1}{2}}`."""
    last = _last(text, _BOXES)
    if last is None:
        return None, False
    text = text[max(0, last[0] - _BOX_WINDOW) : last[1] + _BOX_WINDOW]
    begin = _first(text, _BOXES)
    assert begin is not None
    stack: list[tuple[int, bool]] = []  # (where the content starts, is it a box)
    found, found_end, last_open = (0, 0), -1, -1
    for piece in _BOX_PIECE.finditer(text, begin[0]):
        token = piece.group()
        if token == "}":
            if stack:
                start, is_box = stack.pop()
                if is_box:
                    found, found_end = (start, piece.start()), piece.end()
        elif token == "{":
            stack.append((piece.end(), False))
        elif piece.group("brace"):
            stack.append((piece.end(), True))
            last_open = piece.start()
        elif token.rstrip() in _BOXES and (bare := _UNBRACED.match(text, piece.end())):  # `\boxed 7`, as TeX allows
            found, found_end = bare.span(), bare.end()
    if found_end < 0:
        return None, last_open >= 0
    content = text[slice(*found)].strip()
    while content.startswith(_BOXES) and content.endswith("}"):  # \boxed{\boxed{5}}
        content = content[content.index("{") + 1 : -1].strip()
    return content.strip(" \t\n.,;。，"), last_open > found_end


def _find_answer(summary: str, truncated: bool) -> tuple[str | None, Source | None]:
    tag = _last(summary, _ANSWER_OPEN)
    if tag:
        end = _first(summary, _ANSWER_CLOSE, tag[1])
        inside = summary[tag[1] : end[0] if end else len(summary)]
        box, cut = last_box(inside)
        if box and not cut:
            return box, "answer_tag"
        if end is None and truncated:
            return None, None
        answer = _last_phrase(inside, truncated=False) or inside.strip() or None
        return answer, ("answer_tag" if answer else None)
    box, cut = last_box(summary)
    if cut or box is not None:
        return (box, "box") if box and not cut else (None, None)
    phrase = _last_phrase(summary, truncated)
    if phrase:
        return phrase, "phrase"
    if _is_bare(summary) and not truncated:
        return summary, "bare"
    return None, None


def _last_phrase(text: str, truncated: bool) -> str | None:
    """What follows the last "the answer is", up to the end of its sentence."""
    text = text[-_PHRASE_TAIL:]
    starts = [match.end() for match in _PHRASE.finditer(text)]
    if not starts:
        return None
    tail = text[starts[-1] : starts[-1] + _PHRASE_WINDOW].lstrip(" \t*_:：")
    maths = _MATH_SPAN.match(tail)
    if maths:
        return next(g for g in maths.groups() if g is not None).strip() or None
    end = _SENTENCE_END.search(tail)
    if end is None and (truncated or len(tail) >= _PHRASE_WINDOW):
        return None
    return tail[: end.start() if end else len(tail)].strip(" \t*_`.") or None


def _is_bare(summary: str) -> bool:
    """The whole summary is one expression, `42` or `$\\frac12$` or `B`: no sentence around it."""
    if not summary or len(summary) > 100 or "\n" in summary or ("<" in summary and ">" in summary):
        return False
    return not re.search(r"\s", summary) or not _WORD.search(summary)
