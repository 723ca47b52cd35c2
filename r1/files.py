"""Files that stay whole, whatever happens while they are written: appended to by whole records, replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path


def append(path: Path, data: bytes) -> None:
    """Add bytes to a file, all of them or none. Raises OSError when they do not fit; the file is then as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab", buffering=0) as file:
            if file.write(data) != len(data):  # what a disk that fills up does before it refuses
                raise OSError(f"only a part of {len(data)} bytes could be written")
    except OSError:
        if path.exists() and path.stat().st_size > size:
            os.truncate(path, size)
        raise


def replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file: readers see the old content or the new, never a part. Raises OSError as `append` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    second = path.with_name(path.name + ".new")
    try:
        second.write_bytes(data)
        os.replace(second, path)
    except OSError:
        second.unlink(missing_ok=True)
        raise
