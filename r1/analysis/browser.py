"""The trace browser inside report.html: which traces it holds, and how they travel.

Traces go into the page as JSON and are put on the screen by `assets/browser.js` as text nodes, never as markup. Offsets are in
UTF-16 units, as JavaScript counts. A long run has more traces than a page can hold, so whole groups are chosen: of evaluations
the same problems at many steps, of rollouts all problems at some steps, both by rule and spread evenly over the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1.analysis.page import asset
from r1.analysis.reading import Run
from r1.analysis.reflection import REFLECTIVE, mixes_languages
from r1.analysis.trace_view import EVALUATION, Digest, correct, place, regions

if TYPE_CHECKING:
    from r1.records import Trace

GroupKey = tuple[str, float, str]  # phase, step, problem id
Decode = Callable[[int], str]
Rescore = Callable[[Sequence["Trace"], str], list[dict[str, list[float]]]]  # traces of a phase -> figures by token

MAX_TRACES, MAX_CHARACTERS = 4000, 12_000_000
STEPS = 12  # of each phase, spread over the run
LEVELS = 9  # shades of a token's surprise: 0 certain, 9 a probability below e^-4
NAMES = ("thought", "answer", *REFLECTIVE)  # regions are sent as an index into this


def browser(run: Run, found: Digest, max_traces: int = MAX_TRACES, rescore: Rescore | None = None) -> str:
    """The browser's HTML with its data, "" for a run without traces. `rescore` adds colours by what another policy says."""
    wanted = choose_groups(found.groups, max_traces)
    if not wanted:
        return ""
    data = payload(run, wanted, rescore)
    # "<" cannot end the script element when it is written as an escape, and nothing else in JSON can
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    shown = sum(found.groups[key][0] for key in wanted)
    note = (
        f"{shown:,} of the run's {found.count:,} traces: whole groups, spread evenly over the steps."
        if shown < found.count
        else ""
    )
    return asset("browser.html").replace("<!--note-->", note) + f'<script type="application/json" id="trace-data">{text}</script>'


def choose_groups(groups: dict[GroupKey, list[int]], max_traces: int, max_characters: int = MAX_CHARACTERS) -> set[GroupKey]:
    """Half of the room for evaluations, problem by problem, and the rest for rollouts, one group of each step in turn."""
    evaluations = [key for key in groups if key[0].startswith(EVALUATION)]
    rollouts = [key for key in groups if not key[0].startswith(EVALUATION)]
    chosen: set[GroupKey] = set()
    room = [max_traces // 2 if rollouts else max_traces, max_characters // 2 if rollouts else max_characters]
    _fill(chosen, groups, _by_problem(_at_even_steps(evaluations)), room)
    room = [max_traces - sum(groups[k][0] for k in chosen), max_characters - sum(groups[k][1] for k in chosen)]
    _fill(chosen, groups, _by_rank(_at_even_steps(rollouts)), room)
    return chosen


def _fill(chosen: set[GroupKey], groups: dict[GroupKey, list[int]], order: Iterable[GroupKey], room: list[int]) -> None:
    for key in order:
        if groups[key][0] > room[0] or groups[key][1] > room[1]:
            return
        room[0], room[1] = room[0] - groups[key][0], room[1] - groups[key][1]
        chosen.add(key)


def _at_even_steps(keys: Sequence[GroupKey]) -> list[GroupKey]:
    """Groups of at most STEPS steps of each phase, the first and the last among them."""
    kept: list[GroupKey] = []
    for phase in dict.fromkeys(key[0] for key in keys):
        steps = sorted({key[1] for key in keys if key[0] == phase})
        if len(steps) > STEPS:
            steps = [steps[round(i * (len(steps) - 1) / (STEPS - 1))] for i in range(STEPS)]
        allowed = set(steps)
        kept += [key for key in keys if key[0] == phase and key[1] in allowed]
    return kept


def _by_problem(keys: Sequence[GroupKey]) -> list[GroupKey]:
    """All steps of the first problem, in this part of the run and in others, then those of the second ..."""
    place_of = {problem: i for i, problem in enumerate(dict.fromkeys(key[2] for key in keys))}
    return sorted(keys, key=lambda key: (place_of[key[2]], key[0], key[1]))


def _by_rank(keys: Sequence[GroupKey]) -> list[GroupKey]:
    """The first group of every step, then the second of every step ..."""
    seen: dict[tuple[str, float], int] = {}
    ranked = []
    for key in keys:
        rank = seen.get(key[:2], 0)
        seen[key[:2]] = rank + 1
        ranked.append((rank, key))
    return [key for _, key in sorted(ranked, key=lambda pair: (pair[0], pair[1][1]))]


def payload(run: Run, wanted: set[GroupKey], rescore: Rescore | None = None) -> dict[str, Any]:
    """What the script reads: problems, phases, parts of the reward, and one row a trace."""
    decode = token_decoder(run.folder)
    problems: dict[str, dict[str, Any]] = {}
    phases: dict[str, int] = {}
    parts: dict[str, None] = {}
    rows = []
    for trace, line in run.traces():
        step, phase = place(line)
        if (phase, step, trace.problem.id) in wanted:
            problems.setdefault(
                trace.problem.id, {"id": trace.problem.id, "q": trace.problem.question, "gold": trace.problem.answer}
            )
            phases.setdefault(phase, len(phases))
            parts.update(dict.fromkeys(trace.score.parts if trace.score else ()))
            rows.append((trace, line, step, phase))
    if rescore is not None:
        for phase in phases:
            asked = [row for row in rows if row[3] == phase and row[0].token_ids]
            for row, figures in zip(asked, rescore([row[0] for row in asked], phase), strict=True):
                row[1].update(figures)
    # what the report is about comes first, then the phases of other parts
    phases = {phase: i for i, phase in enumerate(sorted(phases, key=lambda phase: phase.endswith(")")))}
    index = {problem: i for i, problem in enumerate(problems)}
    encoded = [
        _row(trace, line, decode, list(parts)) | {"p": index[trace.problem.id], "s": step, "f": phases[phase]}
        for trace, line, step, phase in rows
    ]
    return {"problems": list(problems.values()), "phases": list(phases), "parts": list(parts), "names": NAMES, "rows": encoded}


def _row(trace: Trace, line: dict[str, Any], decode: Decode | None, parts: Sequence[str]) -> dict[str, Any]:
    verdict = correct(trace)
    found = regions(trace.text)
    units = _utf16(trace.text)
    score = trace.score
    row: dict[str, Any] = {
        "k": -1 if verdict is None else int(verdict),
        "n": len(trace.token_ids),
        "c": int(trace.truncated),
        "r": sum(name in REFLECTIVE for _, _, name in found),
        "m": int(mixes_languages(trace.text)),
        "w": _plain(score.total if score else None),
        "v": [_plain(score.parts.get(part)) if score else None for part in parts],
        "a": _plain(trace.advantage),
        "x": trace.text,
        "h": [[units[start], units[end], NAMES.index(name)] for start, end, name in found],
    }
    lengths = token_lengths(trace, decode) if decode else None
    if lengths:
        row["t"] = lengths
        row["l"] = {"log-prob": levels([-logp for logp in trace.logps[: len(lengths)]], 4.0)}
        for name, scale in (("entropy", partial(levels, top=3.0)), ("ratio", balance)):
            values = line.get(name)
            if isinstance(values, list) and len(values) >= len(lengths):
                row["l"][name] = scale(values[: len(lengths)])
    return row


def levels(values: Sequence[float], top: float) -> str:
    """One digit a token: 0 at 0, 9 at `top` and beyond.

    >>> levels([0.0, 2.0, 9.0], 4.0)
    '049'
    """
    return "".join(
        str(min(LEVELS, max(0, int(LEVELS * value / top)))) if math.isfinite(value) else str(LEVELS) for value in values
    )


def balance(ratios: Sequence[float]) -> str:
    """One digit a token: 4 for a ratio of 1, 8 for 4 and beyond, 0 for a quarter and below.

    >>> balance([1.0, 2.0, 100.0, 0.25])
    '4680'
    """
    return "".join("4" if math.isnan(r) else str(round(4 + 2 * max(-2.0, min(2.0, math.log2(max(r, 1e-9)))))) for r in ratios)


def token_decoder(folder: Path) -> Decode | None:
    """id -> text, from the tokenizer that the run exported; None where there is none, and tokens are then not told apart."""
    path = next(iter(sorted(folder.rglob("hf/tokenizer.json"))), None)
    if path is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    cache: dict[int, str] = {}

    def decode(token: int) -> str:
        if token not in cache:
            cache[token] = tokenizer.decode([token], skip_special_tokens=True)
        return cache[token]

    return decode


def token_lengths(trace: Trace, decode: Decode) -> list[int] | None:
    """UTF-16 length of each token's piece of the text, the space between words with the word before it; None where the tokens,
    one by one, do not add up to the text (a character may be spread over several tokens)."""
    words = [decode(token) for token in trace.token_ids]
    while words and not words[-1]:
        words.pop()  # the end-of-sequence token has no text
    spaced = any(word.startswith(" ") for word in words)  # pieces that bring their own space
    at, lengths = 0, []
    for word in words:
        if not trace.text.startswith(word, at):
            return None
        end = at + len(word)
        while not spaced and end < len(trace.text) and trace.text[end] == " ":
            end += 1
        lengths.append(len(trace.text[at:end].encode("utf-16-le")) // 2)
        at = end
    return lengths if at == len(trace.text) else None


def _utf16(text: str) -> list[int]:
    """For every character index, and the end, the index in UTF-16 units."""
    at, out = 0, [0]
    for character in text:
        at += 2 if ord(character) > 0xFFFF else 1
        out.append(at)
    return out


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
