"""Traces on disk: one JSON object a line, plain (.jsonl) or compressed (.jsonl.zst).

A line holds the schema version, what the writer knows (step, stage, phase and the context given to it) and everything in the
`Trace`. Strict JSON: a part that could not be judged (NaN) is the text "NaN", not the literal that most parsers refuse.
Log-probabilities are rounded to 5 digits, a third of the space; the error of 5e-6 is below that of recomputing them.

A run may die in the middle of a line. Readers then stop before the torn tail with a warning, and a writer that opens the file
again cuts the tail off first, so that what it appends stays readable.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from r1 import files
from r1.records import Problem, Score, Trace

SCHEMA = 1
MAX_LINE = 64 * 2**20  # characters; a line beyond this is damage or an attack, not a trace
MAX_FRAME = 4 * 2**30  # decompressed bytes of one write
MAX_FILE = 64 * 2**30  # decompressed bytes
MAX_WINDOW = 2**27  # zstd window, the memory a frame may ask for
READ = 2**11  # compressed bytes unpacked at once: at the format's best ratio they become 64 MB, not the whole bomb


class TraceWriter:
    """Appends traces to a file, each `write` on disk when it returns.

    context  what every line of this writer repeats, e.g. run="demo", seed=0
    """

    def __init__(self, path: str | Path, **context: Any) -> None:
        self.path = Path(path)
        self.compressed = _compressed(self.path)
        self.context = context
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            _cut_torn_tail(self.path, self.compressed)

    def write(
        self,
        traces: Sequence[Trace],
        *,
        step: int,
        stage: str,
        phase: str,
        extra: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """`phase` says what the samples were for (rollout, validation, ...); `extra` adds columns, one mapping a trace."""
        if extra is not None and len(extra) != len(traces):
            raise ValueError(f"extra must hold one mapping a trace: {len(traces)} traces, got {len(extra)} mappings")
        head = {"schema": SCHEMA, **self.context, "step": step, "stage": stage, "phase": phase}
        lines = [_line({**head, **_encode(t), **(extra[i] if extra else {})}) for i, t in enumerate(traces)]
        data = "".join(lines).encode()
        if not data:
            return
        if self.compressed:
            data = zstandard.ZstdCompressor(level=3).compress(data)  # a frame of its own, whole or torn but never mixed
        files.append(self.path, data)


def read_traces(path: str | Path) -> Iterator[tuple[Trace, dict[str, Any]]]:
    """(trace, its whole line as a dict) of every line. Raises ValueError for lines that are not traces of a known schema; warns
    and stops at a torn last line."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no trace file at {path}")
    pending: tuple[int, ValueError] | None = None
    for number, line in enumerate(_lines(path), start=1):
        if pending is not None:  # a broken line with something behind it is not a torn tail
            raise ValueError(f"{path}:{pending[0]} is not a JSON line ({pending[1]})") from pending[1]
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_no_constant)
        except ValueError as error:
            pending = (number, error)
            continue
        if not isinstance(row, dict) or row.get("schema") != SCHEMA:
            found = row.get("schema") if isinstance(row, dict) else type(row).__name__
            raise ValueError(f"{path}:{number} must be a trace of schema {SCHEMA}, got {found!r}")
        try:
            trace = _decode(row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number} is not a whole trace: {type(error).__name__} {error}") from error
        yield trace, row
    if pending is not None:
        warnings.warn(f"{path}: the last line is torn, the run that wrote it was stopped; it is left out", stacklevel=2)


def cut_after(path: str | Path, step: int) -> int:
    """Cut a .jsonl or .jsonl.zst file before its first line of a later step; how many lines went. A torn tail goes too.

    What a run wrote after the checkpoint that it now goes on from would stand there twice. Steps only rise in such a file, and a
    writer puts each step in a frame of its own, so a cut is a truncation.
    """
    path, keep, gone = Path(path), 0, 0
    for lines, end in _whole(path):
        if gone or any(json.loads(line)["step"] > step for line in lines):
            gone += len(lines)
        else:
            keep = end
    if keep < path.stat().st_size:
        os.truncate(path, keep)
    return gone


def _whole(path: Path) -> Iterator[tuple[list[bytes], int]]:
    """(lines, offset in the file behind them): a whole line at a time, or the lines of a whole frame."""
    end = 0
    with path.open("rb") as file:
        if not _compressed(path):
            for line in file:
                end += len(line)
                if line.endswith(b"\n"):
                    yield [line], end
            return
        data = b""
        for part, complete in _frames(file):
            data += part
            if len(data) > MAX_FRAME:
                raise ValueError(f"{path} has a frame that unpacks to more than {MAX_FRAME} bytes")
            if complete > end:
                yield data.splitlines(), complete
                data, end = b"", complete


def _encode(trace: Trace) -> dict[str, Any]:
    problem, score = trace.problem, trace.score
    return {
        "problem": {f.name: getattr(problem, f.name) for f in fields(Problem)},
        "prompt_ids": trace.prompt_ids,
        "token_ids": trace.token_ids,
        "logps": [round(logp, 5) for logp in trace.logps],
        "text": trace.text,
        "finish_reason": trace.finish_reason,
        "weight_version": trace.weight_version,
        "seed": trace.seed,
        "score": None if score is None else {
            "total": _number_out(score.total),
            "parts": {name: _number_out(value) for name, value in score.parts.items()},
            "weights": dict(score.weights),
        },
        "advantage": _number_out(trace.advantage),
    }  # fmt: skip


def _decode(row: dict[str, Any]) -> Trace:
    score = row["score"]
    return Trace(
        problem=Problem(**row["problem"]),
        prompt_ids=row["prompt_ids"],
        token_ids=row["token_ids"],
        logps=row["logps"],
        text=row["text"],
        finish_reason=row["finish_reason"],
        weight_version=row["weight_version"],
        seed=row["seed"],
        score=None if score is None else Score(
            total=_number_in(score["total"]),
            parts={name: _number_in(value) for name, value in score["parts"].items()},
            weights=score["weights"],
        ),
        advantage=_number_in(row["advantage"]),
    )  # fmt: skip


def _number_out(value: float | None) -> float | str | None:
    """JSON has no NaN and no infinity; they travel as text that `float` reads."""
    return value if value is None or math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def _number_in(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value


def _line(row: dict[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"the trace of problem {row['problem']['id']!r} cannot be written as JSON: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _compressed(path: Path) -> bool:
    if path.name.endswith(".jsonl.zst"):
        return True
    if path.suffix == ".jsonl":
        return False
    raise ValueError(f"a trace file is called .jsonl or .jsonl.zst, got {path.name!r}")


def _lines(path: Path) -> Iterator[bytes]:
    """Lines within the limits, the last one also without its newline."""
    rest, total = b"", 0
    with path.open("rb") as file:
        for block in _unpacked(file) if _compressed(path) else iter(lambda: file.read(2**20), b""):
            total += len(block)
            if total > MAX_FILE:
                raise ValueError(f"{path} unpacks to more than {MAX_FILE} bytes")
            *whole, rest = (rest + block).split(b"\n")
            if max(map(len, [*whole, rest])) > MAX_LINE:
                raise ValueError(f"{path} has a line of more than {MAX_LINE} bytes")
            yield from whole
    if rest:
        yield rest


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    complete = 0
    for data, end in _frames(file):
        complete = end
        yield data
    if complete < file.tell():
        yield b"\0"  # whatever a torn frame gave last is a torn line, which no JSON parser takes for a whole one


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Unpacked data of concatenated zstd frames, with the offset in the file up to which frames are complete."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    frame, complete, block = unpacker.decompressobj(), 0, b""
    while block or (block := file.read(READ)):
        try:
            data, block = frame.decompress(block), b""
        except zstandard.ZstdError as error:
            raise ValueError(f"{file.name} is damaged, or asks for more than {MAX_WINDOW} bytes of window: {error}") from error
        if frame.eof:
            block = frame.unused_data
            complete = file.tell() - len(block)
            frame = unpacker.decompressobj()
        yield data, complete


def _cut_torn_tail(path: Path, compressed: bool) -> None:
    """Leave whole lines (whole frames) only, so that the next append starts on clean ground."""
    size = path.stat().st_size
    keep = _whole_frames(path) if compressed else _whole_lines(path, size)
    if keep < size:
        warnings.warn(f"{path}: cut {size - keep} bytes of a line that was not finished", stacklevel=3)
        with path.open("rb+") as file:
            file.truncate(keep)


def _whole_lines(path: Path, size: int) -> int:
    with path.open("rb") as file:
        end = size
        while end:
            start = max(0, end - 2**20)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


def _whole_frames(path: Path) -> int:
    """Bytes up to the end of the last complete zstd frame."""
    with path.open("rb") as file:
        return max((end for _, end in _frames(file)), default=0)
