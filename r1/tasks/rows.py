"""Rows of a problem file or hub dataset, one at a time, each with the place it came from.

JSONL and CSV are read with the standard library alone; parquet needs pyarrow and a hub id needs `datasets` (both in the extra `data`).
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Row = dict[str, Any]
OnBad = Literal["error", "skip"]

MAX_CELL = 16 * 2**20  # characters of one value of a CSV file; a longer one has lost the quote that closes it
DATA_EXTRA = "pip install 'r1-lab[data]'"


class BadRow(ValueError):
    """One row that cannot be used, and why; the reader adds where it stands."""


def local(path: str, file: str | None) -> str:
    """`file` where there is such a file, else `path`."""
    return str(file) if file and Path(file).is_file() else str(path)


def read_rows(path: str, split: str = "train", subset: str | None = None) -> Iterator[tuple[str, Row | BadRow]]:
    """(place, row) of a .jsonl, .csv (with a header) or .parquet file, or of split `split` of the hub dataset `path`.

    A row that is not a JSON object in UTF-8, or no whole row of a table, comes as a BadRow: what to do about it is the caller's choice.
    """
    if path.endswith((".jsonl", ".json", ".csv", ".parquet")) or Path(path).exists():
        file = Path(path)
        if not file.is_file():
            raise ValueError(
                f"no problem file at {file} (from {Path.cwd()}); give a .jsonl, .csv or .parquet file, or a hub id like owner/name"
            )
        if file.suffix == ".parquet":
            yield from _parquet(file)
        elif file.suffix == ".jsonl":
            yield from _jsonl(file)
        elif file.suffix == ".csv":
            yield from _csv(file)
        else:
            raise ValueError(f"problem files are .jsonl (one JSON object a line), .csv or .parquet, got {file}")
    else:
        yield from _hub(path, split, subset)


def collect(
    path: str, rows: Iterator[tuple[str, Row | BadRow]], make: Callable[[Row], T], on_bad: OnBad
) -> tuple[list[T], list[str]]:
    """What `make` returns for every row, and one line for every row that could not be used.

    on_bad="error" raises ValueError at the first such row, "skip" leaves them out and warns once with the count.
    """
    if on_bad not in ("error", "skip"):
        raise ValueError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
    made: list[T] = []
    bad: list[str] = []
    for place, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            made.append(make(row))
        except BadRow as reason:
            if on_bad == "error":
                raise ValueError(f"{path}, {place}: {reason} (on_bad=skip leaves such rows out and counts them)") from None
            bad.append(f"{place}: {reason}")
    if bad:
        shown = "; ".join(bad[:3]) + (" ..." if len(bad) > 3 else "")
        warnings.warn(f"{path}: {len(bad)} of {len(bad) + len(made)} rows left out: {shown}", stacklevel=3)
    if not made:
        raise ValueError(f"{path} holds no usable problem" + (f": {bad[0]}" if bad else ", it is empty"))
    return made, bad


def _jsonl(file: Path) -> Iterator[tuple[str, Row | BadRow]]:
    with file.open("rb") as lines:  # bytes: a line that is not UTF-8 must not hide the others
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"line {number}", _object(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _object(line: bytes) -> Row | BadRow:
    try:
        row = json.loads(line.decode("utf-8"))
        if b"\\ud" in line.lower():  # half a character, written as an escape, could be read but never be written to a trace
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return BadRow(f"not UTF-8 (byte {error.start} is 0x{line[error.start]:02x})")
    except UnicodeEncodeError as error:
        return BadRow(f"it holds half a character, the lone surrogate {error.object[error.start]!r}")
    except json.JSONDecodeError as error:
        return BadRow(f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, brackets in brackets in brackets
        return BadRow(f"JSON that cannot be read: {error}")
    return row if isinstance(row, dict) else BadRow(f"expected a JSON object, got {type(row).__name__}")


def _csv(file: Path) -> Iterator[tuple[str, Row | BadRow]]:
    """Every value is text. What is wrong is looked for in whole rows: a reader that stops inside one takes its rest for rows."""
    csv.field_size_limit(2**31 - 1)
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, row in enumerate(csv.DictReader(lines), 1):
            yield f"row {number}", _cells(row)


def _cells(row: Row) -> Row | BadRow:
    """The row of a CSV file, if it is one. With more or fewer cells than the header it has lost a quote somewhere."""
    if None in row or None in row.values():
        return BadRow("it has not as many cells as the header")
    longest = max(map(len, row.values()))
    if longest > MAX_CELL:
        return BadRow(f"a cell of {longest:,} characters, at most {MAX_CELL:,} are read: has it lost its closing quote?")
    try:
        for text in (*row, *row.values()):
            text.encode()
    except UnicodeEncodeError as error:
        return BadRow(f"not UTF-8 (a byte of {error.object[:20]!r} is 0x{ord(error.object[error.start]) & 0xFF:02x})")
    return row


def _parquet(file: Path) -> Iterator[tuple[str, Row]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(f"{file} needs pyarrow to be read: {DATA_EXTRA}") from error
    number = 0
    for batch in parquet.ParquetFile(file).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


def _hub(path: str, split: str, subset: str | None) -> Iterator[tuple[str, Row]]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(f"{path!r} is no file here, and hub datasets need the `datasets` package: {DATA_EXTRA}") from error
    try:
        rows = load_dataset(path, subset, split=split)
    except Exception as error:  # datasets raises a dozen kinds for an unknown id, a missing split and no network
        raise ValueError(
            f"{path!r} is no file here, and the hub did not give its split {split!r}: {str(error).splitlines()[0]} "
            "(without a network, download it once or give the path of a .jsonl or .parquet file)"
        ) from error
    for number, row in enumerate(rows, 1):
        yield f"row {number}", dict(row)
