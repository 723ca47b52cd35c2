"""Checkpoint files: written whole or not at all, checked before an older one goes, refused when they are not what a run wants.

    trainer.save_checkpoint(hidden) ──▶ fsync ──▶ check ──▶ rename to step=000040.ckpt ──▶ last.ckpt ──▶ the oldest goes

A run that is killed at any moment leaves at least one checkpoint that loads, and at most one hidden file, which the next save
removes. What is loaded are tensors and plain values: a pickle that would run code is refused by torch's `weights_only` reader.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FORMAT = 1  # of checkpoint["r1"]
LAST = "last.ckpt"  # a link to the newest
SHARED = "meta.pt"  # in the folder of a sharded checkpoint: all but the tensors; Lightning writes it last
_NAME = re.compile(r"step=(\d+)\.ckpt")


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used, and why."""


class OtherRun(BadCheckpoint):
    """A good checkpoint, but of a run with other settings."""


def hidden(folder: Path) -> Path:
    """Where a save writes before the file is known to be whole."""
    return folder / ".saving.ckpt"


def step_of(path: Path) -> int:
    """The training step in a checkpoint's name; -1 for other files."""
    found = _NAME.fullmatch(path.name)
    return int(found.group(1)) if found else -1


def all_in(folder: Path) -> list[Path]:
    """The checkpoints of a folder by step, the newest last."""
    return sorted((path for path in folder.glob("step=*.ckpt") if step_of(path) >= 0), key=step_of)


def install(folder: Path, step: int, keep: int) -> Path:
    """Give the hidden file its name once it is on disk and can be read; then let the oldest beyond `keep` go (0 keeps all).

    Raises BadCheckpoint when what was written cannot be read, and OSError when the disk refuses; the older ones then stay.
    """
    written = hidden(folder)
    _sync(written)
    check(written)
    path = folder / f"step={step:06d}.ckpt"
    if path.is_dir():
        shutil.rmtree(path)  # a sharded checkpoint of this very step, from before a resume
    os.replace(written, path)
    _last_is(path)
    _sync(folder)
    for old in _up_to(folder, step)[:-keep] if keep else []:
        remove(old)
    return path


def put_aside(folder: Path, step: int) -> list[Path]:
    """Rename the checkpoints after `step` to step=000040.ckpt.abandoned: a run that goes on from `step` will come by there again, and
    must neither count them as its newest nor be taken up from them. The new names.

    The newest goes first, so that a run that is killed here is still that of its files.
    """
    kept = _up_to(folder, step)
    moved = []
    for path in reversed(all_in(folder)[len(kept) :]):
        moved.append(path.with_name(path.name + ".abandoned"))
        remove(moved[-1])
        path.rename(moved[-1])
    if moved and kept:
        _last_is(kept[-1])
    elif moved:
        (folder / LAST).unlink(missing_ok=True)
    return moved


def _up_to(folder: Path, step: int) -> list[Path]:
    return [path for path in all_in(folder) if step_of(path) <= step]


def _last_is(path: Path) -> None:
    link = path.with_name(".last")
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    os.replace(link, path.with_name(LAST))


def remove(path: Path) -> None:
    """A checkpoint file, or a sharded checkpoint's folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that can be read; a damaged one is said and passed over. None where there is none."""
    for path in reversed(all_in(folder)):
        try:
            check(path)
            return path
        except BadCheckpoint as reason:
            warnings.warn(f"{reason} Trying the one before.", stacklevel=2)
    return None


def check(path: Path) -> None:
    """Raise BadCheckpoint unless every byte of the file is as it was written and holds only tensors and plain values."""
    if path.is_dir():
        missing = [name for name in (".metadata", SHARED) if not (path / name).is_file()]
        if missing:
            raise BadCheckpoint(
                f"{path} is a folder without {' and '.join(missing)}: a sharded checkpoint that was not finished."
            )
        _load(path / SHARED)  # the ranks' own files are read by all of them together, when training starts
        return
    if not path.is_file():
        raise BadCheckpoint(f"there is no checkpoint at {path}: expected a file that `r1 train` wrote under <run>/checkpoints/.")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise BadCheckpoint(f"{path} is no checkpoint, or only a part of one ({path.stat().st_size} bytes: {error}).") from error
    if broken is not None:
        raise BadCheckpoint(f"{path} is damaged: the bytes of {broken} are not those that were written.")
    _load(path)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of a stage; of a sharded one what is not in the ranks' own files. Raises BadCheckpoint for damage,
    pickled code, other programs and other formats."""
    check(path)
    content = _load(path / SHARED if path.is_dir() else path)
    ours(content, str(path))
    return content


def ours(content: Any, name: str = "the checkpoint") -> dict[str, Any]:
    """What a stage wrote into a loaded checkpoint. Raises BadCheckpoint for those of other programs and other formats."""
    written = content.get("r1") if isinstance(content, Mapping) else None
    weights_alone = isinstance(content, Mapping) and "state_dict" in content and "optimizer_states" not in content
    if not isinstance(written, Mapping) or weights_alone:  # a sharded one has neither: they lie in the ranks' own files
        raise BadCheckpoint(
            f"{name} was not written by an r1 stage, so training cannot go on from it; a model goes in as policy.path."
        )
    if written.get("format") != FORMAT:
        raise BadCheckpoint(
            f"{name} is of format {written.get('format')!r} and this version reads format {FORMAT}: resume it with the version that "
            f"wrote it (manifest.json of its run says which), or start again from its model, policy.path=<run>/hf."
        )
    return dict(written)


def _load(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise BadCheckpoint(
            f"{path} holds pickled objects, which could run code when they are loaded; only tensors and plain values are read."
        ) from error
    except Exception as error:  # torch raises RuntimeError, KeyError, EOFError, ... for a file that is no archive of its own
        raise BadCheckpoint(f"{path} cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}.") from error


def differences(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """One line for every value that is not the same in two configs."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            yield from differences(then.get(name), now.get(name), f"{path}.{name}" if path else str(name))
    elif then != now:
        yield f"{path}: {then!r} in the checkpoint, {now!r} now"


def _sync(path: Path) -> None:
    """Have the disk hold what was written: without this a rename can survive a power cut that the content does not."""
    for part in [*path.rglob("*"), path] if path.is_dir() and path.suffix else [path]:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
