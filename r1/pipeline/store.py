"""Where nodes keep what they make: one plain folder for each identity, done when its marker says so.

    <store>/<node>-<identity>/    what `r1 train`, `r1 generate` or `r1 eval` writes there, and node.json once it is done

A folder without node.json was interrupted: the same identity goes on in it. Folders of other identities are never touched, so
going back to an earlier config finds what it made. Nothing is deleted: to make a node again, delete its folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MARKER, LOCK, ERROR = "node.json", ".lock", "error.txt"
OURS = (MARKER, LOCK, ERROR)  # written by the driver beside what a node makes


@dataclass(frozen=True)
class Record:
    """What node.json says of a finished node.

    ingredients      what the identity is the hash of (see `plan`)
    outputs          path in the folder -> content hash, of what other nodes build on
    seconds          wall clock and CPU seconds of the process that finished the node
    resumed          it had been interrupted: the seconds leave out what earlier attempts took
    """

    node: str
    identity: str
    ingredients: dict[str, Any]
    outputs: dict[str, str]
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    threads: int = 0
    resumed: bool = False
    finished: str = ""
    folder: Path = field(default=Path(), compare=False)


class Store:
    """The folders of all nodes of all recipes that share it."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, node: str, identity: str) -> Path:
        return self.root / f"{node}-{identity}"

    def find(self, node: str, identity: str) -> Record | None:
        """The finished node of this identity, or None. ValueError where its outputs are gone."""
        record = read_marker(self.folder(node, identity))
        if record is not None:
            missing = [path for path in record.outputs if not (record.folder / path).exists()]
            if missing:
                raise ValueError(
                    f"{record.folder} is marked as done, but {', '.join(missing)} is gone; put it back, or delete the folder to make it again"
                )
        return record

    def versions(self, node: str) -> list[Record]:
        """Every finished version of a node, the newest first."""
        found = [read_marker(folder) for folder in sorted(self.root.glob(f"{node}-*")) if folder.name[len(node) + 1 :].isalnum()]
        return sorted((record for record in found if record is not None), key=lambda record: record.finished, reverse=True)

    def finish(self, record: Record) -> None:
        """Write the marker: all of it or nothing, on the disk before this returns."""
        write_atomically(record.folder / MARKER, json.dumps(_as_json(record), indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Two pipelines at once must not write one folder. ValueError where another one is at it."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ValueError(
                    f"{folder} is being made by another process; wait for it, or stop it, and start this command again"
                ) from error
            yield


def read_marker(folder: Path) -> Record | None:
    """The marker of a folder, or None where there is none yet."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / MARKER} is not JSON ({error}); delete the folder to make this node again") from error
    return Record(**content, folder=folder)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names, but for those of `OURS`: the same wherever the folder lies."""
    if path.is_file():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
    if not path.is_dir():
        raise ValueError(f"there is no {path}")
    digest = hashlib.sha256()
    for inner in sorted(p for p in path.rglob("*") if p.is_file() and p.relative_to(path).as_posix() not in OURS):
        digest.update(f"{inner.relative_to(path).as_posix()}\0{content_hash(inner)}\0".encode())
    return digest.hexdigest()[:16]


def write_atomically(path: Path, text: str) -> None:
    """The file under its name is complete at every moment, and survives a power cut once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def point(link: Path, folder: Path) -> None:
    """Make `link` a relative symbolic link to `folder`, replacing an earlier link. ValueError where something else lies there."""
    if link.exists() and not link.is_symlink():
        raise ValueError(f"{link} is in the way: this name is wanted for a link to {folder.name}; move it elsewhere")
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(os.path.relpath(folder.resolve(), link.parent.resolve()), target_is_directory=True)
    os.replace(part, link)


def _as_json(record: Record) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "folder"}
