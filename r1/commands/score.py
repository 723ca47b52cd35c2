"""Grade a JSONL file of outputs from any engine: answers, verdicts, votes, languages, reflections.

    r1 score outputs.jsonl --out graded.jsonl --groups groups.jsonl

Rows are `{"gold": ..., "response": ...}` and may carry `id`, `problem`, `group` (rows of one group answer the same problem; default:
same `problem`, else same `id`), `target` (the language asked for), `finish_reason` ("length": cut off), `verifier` and `meta`.
Each row comes back with answer, correct, format_ok, think, language_share and reflections added; a field of that name that was
already there is kept as `input_<name>`, and verdicts that came with the rows are compared with ours. The last line of stdout is a
JSON summary.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from r1.analysis.reflection import REFLECTIVE, find_reflections
from r1.grading import correct, counts, language_share, majority_vote, parse, r1_format, r1_zero_format
from r1.records import Problem

_AT_ONCE = 64  # rows in flight: enough to keep the algebra workers busy, few enough to stream
_FORMATS = {"r1_zero": r1_zero_format, "r1": r1_format}


class BadRow(ValueError):
    """A row that cannot be graded; the message says why, the caller adds file and line."""


def main(argv: Sequence[str] = ()) -> int:
    """0 when every row was graded (or skipped on request), 1 when a row or file is bad."""
    options = _options(list(argv))
    try:
        with ExitStack() as files:
            summary = score_file(options, files)
    except (BadRow, OSError) as error:
        print(f"r1 score: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary, ensure_ascii=False))
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="r1 score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("file", type=Path, help="JSONL, one output a line; - reads stdin")
    parser.add_argument("--out", type=Path, help="where the graded rows go")
    parser.add_argument("--groups", type=Path, help="where one line a group goes: n, pass@1, cons, answer, tied")
    parser.add_argument("--response-field", default="response", help="field with the model's output (default: response)")
    parser.add_argument("--gold-field", default="gold", help="field with the right answer (default: gold)")
    parser.add_argument("--id-field", default="id")
    parser.add_argument("--group-field", default="group")
    parser.add_argument(
        "--verifier", default=None, help="math (default), numeric, exact, choice or expression; a row's own field wins"
    )
    parser.add_argument("--format", choices=sorted(_FORMATS), default="r1_zero", help="structure that format_ok asks for")
    parser.add_argument("--opened", action="store_true", help="the prompt ended with <think>: outputs begin inside the thought")
    parser.add_argument("--skip-bad", action="store_true", help="report bad rows and go on, instead of stopping at the first")
    return parser.parse_args(argv)


def score_file(options: argparse.Namespace, files: ExitStack) -> dict[str, Any]:
    """Grade all rows of a file; results are written while reading, and take their final names only when all went well."""
    lines = sys.stdin.buffer if str(options.file) == "-" else files.enter_context(options.file.open("rb"))
    out = _Output(options.out, files)
    total = Totals()
    with ThreadPoolExecutor(max_workers=4) as threads, _progress(options.file) as advance:
        numbered = enumerate(lines, start=1)
        while chunk := list(islice(numbered, _AT_ONCE)):
            for (number, line), graded in zip(chunk, threads.map(lambda item: _graded(item[1], options), chunk), strict=True):
                if isinstance(graded, BadRow):
                    message = f"{options.file}:{number}: {graded}"
                    if not options.skip_bad:
                        raise BadRow(f"{message}\n  (--skip-bad leaves such rows out)")
                    print(f"r1 score: {message}", file=sys.stderr)
                    total.bad += 1
                elif graded is not None:
                    label = str(graded.get(options.id_field, number))
                    total.add(graded, label, _group(graded, options, number), _problem(graded, None, options))
                    out.write(graded)
                advance(len(line))
    groups = _Output(options.groups, files)
    rows = list(total.group_rows())
    for row in rows:
        groups.write(row)
    out.finish()
    groups.finish()
    return total.summary(rows)


def _graded(line: bytes, options: argparse.Namespace) -> dict[str, Any] | BadRow | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise BadRow(f"expected a JSON object, got {type(row).__name__}")
        return grade(row, options)
    except BadRow as error:
        return error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return BadRow(f"not JSON ({error})")


def grade(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The row with its grades. A gold answer of null leaves `correct` null; a missing field is a BadRow."""
    response, gold = _field(row, options.response_field), _field(row, options.gold_field)
    if not isinstance(response, str):
        raise BadRow(f"field {options.response_field!r} must be text, got {type(response).__name__}")
    if isinstance(gold, bool) or not isinstance(gold, str | int | float | None):
        raise BadRow(f"field {options.gold_field!r} must be text, a number or null, got {type(gold).__name__}")
    finish = row.get("finish_reason") or row.get("finish")
    parsed = parse(response, opened=options.opened, truncated=finish == "length")
    shares = language_share(response if parsed.think is None else parsed.think)
    grades: dict[str, Any] = {
        "answer": parsed.answer,
        "correct": None if gold is None else _verdict(row, parsed.answer, str(gold), options),
        "format_ok": _FORMATS[options.format](response, options.opened),
        "think": parsed.think,
        "language_share": shares,
        "reflections": find_reflections(response),
    }
    if "target" in row:
        grades["language_consistency"] = shares.get(str(row["target"]), 0.0)
    kept = {f"input_{name}": row[name] for name in grades if name in row}
    return row | kept | grades


def _verdict(row: dict[str, Any], answer: str | None, gold: str, options: argparse.Namespace) -> bool:
    try:
        return correct(_problem(row, gold, options), answer)
    except ValueError as error:  # an empty gold answer, a verifier that does not exist
        raise BadRow(str(error)) from error
    except KeyError as error:
        raise BadRow(f"this verifier needs {error} in the row's `meta`") from error


def _problem(row: dict[str, Any], gold: str | None, options: argparse.Namespace) -> Problem:
    meta: dict[str, Any] = row["meta"] if isinstance(row.get("meta"), dict) else {}
    name = row.get("verifier") or meta.get("verifier") or options.verifier or "math"
    return Problem(str(row.get(options.id_field, "")), str(row.get("problem", "")), gold, meta=meta | {"verifier": name})


def _field(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise BadRow(f"no field {name!r}; this row has: {', '.join(map(str, row))} (see --response-field and --gold-field)")
    return row[name]


def _group(row: dict[str, Any], options: argparse.Namespace, number: int) -> str:
    for name in (options.group_field, "problem", options.id_field):
        if row.get(name) not in (None, ""):
            return str(row[name])
    return str(number)


@dataclass
class Totals:
    """What is kept of each row: enough for votes and rates, not the text."""

    groups: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rows: int = 0
    bad: int = 0
    formatted: int = 0
    reflecting: int = 0
    graded: int = 0
    correct: int = 0
    answered: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    worded: int = 0
    differing: list[str] = field(default_factory=list)
    compared: int = 0

    def add(self, row: dict[str, Any], label: str, group: str, problem: Problem) -> None:
        self.rows += 1
        self.graded += row["correct"] is not None
        self.correct += bool(row["correct"])
        self.answered += row["answer"] is not None
        self.formatted += row["format_ok"]
        self.reflecting += any(r["kind"] in REFLECTIVE for r in row["reflections"])
        if any(row["language_share"].values()):
            self.worded += 1
            for language, share in row["language_share"].items():
                self.shares[language] = self.shares.get(language, 0.0) + share
        self.groups.setdefault(group, []).append({"answer": row["answer"], "correct": row["correct"], "problem": problem})
        if isinstance(row.get("input_correct"), bool) and row["correct"] is not None:
            self.compared += 1
            if row["input_correct"] != row["correct"]:
                self.differing.append(label)

    def group_rows(self) -> Iterator[dict[str, Any]]:
        """One row a group, in order of appearance; pass@1 and cons are null where no row had a gold answer."""
        for name, rows in self.groups.items():
            verdicts = [row["correct"] for row in rows]
            judged = [v for v in verdicts if v is not None]
            vote = majority_vote([row["answer"] for row in rows], rows[0]["problem"])
            yield {
                "group": name,
                "n": len(rows),
                "pass@1": sum(judged) / len(judged) if judged else None,
                "cons": vote.expected([bool(v) for v in verdicts]) if judged else None,
                "answer": vote.answer,
                "tied": list(vote.tied) if len(vote.tied) > 1 else [],
            }

    def summary(self, groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Rates over rows, and pass@1 and cons as means over groups (each problem counts once, however many samples it has)."""
        judged = [g for g in groups if g["pass@1"] is not None]
        found: dict[str, Any] = {
            "rows": self.rows,
            "bad_rows": self.bad,
            "groups": len(groups),
            "pass@1": _mean(g["pass@1"] for g in judged),
            "cons": _mean(g["cons"] for g in judged),
            "tied_groups": sum(bool(g["tied"]) for g in groups),
            "correct": self.correct,
            "graded": self.graded,
            "answered": self.answered,
            "format_ok": self.formatted / self.rows if self.rows else None,
            "language_share": {name: share / self.worded for name, share in self.shares.items()},
            "reflection_rate": self.reflecting / self.rows if self.rows else None,
            "grader": counts(),
        }
        if self.compared:
            found["input_verdicts"] = {"compared": self.compared, "differ": len(self.differing), "ids": self.differing[:50]}
        return found


class _Output:
    """A JSONL file that appears under its name only when it is complete; nothing at all without a path."""

    def __init__(self, path: Path | None, files: ExitStack) -> None:
        self.path, self.part, self.file = path, None, None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.part = path.with_name(f"{path.name}.{os.getpid()}.part")
            self.file = files.enter_context(self.part.open("w", encoding="utf-8"))
            files.callback(self.part.unlink, missing_ok=True)

    def write(self, row: dict[str, Any]) -> None:
        if self.file is not None:
            self.file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        if self.file is not None:
            self.file.close()
            os.replace(self.part, self.path)


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


@contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of the file, on stderr; only where somebody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    total = path.stat().st_size if path.is_file() else None
    columns = (TextColumn("scoring"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("scoring", total=total)
        yield lambda done: bar.advance(task, done)
