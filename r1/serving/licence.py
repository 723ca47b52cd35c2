"""Which licence exported weights are under: their base model's, followed back to where training began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from r1.analysis.reading import read_stage

_NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")


@dataclass(frozen=True)
class Licence:
    """id: as model cards spell it (lower-case SPDX, or "other"); text: what goes into the file LICENSE; link: of an "other" one."""

    id: str
    text: str
    link: str | None = None


def find_licence(config: Mapping[str, Any], id: str | None = None, file: str | Path | None = None) -> Licence:
    """The licence of a policy trained with `config`: what the arguments say, else its base model's, else (from scratch) Apache-2.0.

    Raises ValueError for a licence that is named but whose text is not here, and for a file that is not there.
    """
    if file is not None:
        if not Path(file).is_file():
            raise ValueError(f"no licence file at {file}")
        return Licence(id or "other", Path(file).read_text(encoding="utf-8"), None if id else "LICENSE")
    if id is not None and id.lower() != "apache-2.0":
        raise ValueError(f"the text of the licence {id!r} is not at hand: give it with --license-file FILE")
    base = None if id else _base(config)
    return base or Licence("apache-2.0", _apache())


def base_model(config: Mapping[str, Any]) -> str | None:
    """The hub id (or folder without a history) that training began with, followed through earlier runs; None: from scratch."""
    path = (config.get("policy") or {}).get("path")
    if path is None:
        return None
    earlier = read_stage(Path(path).parent).config if Path(path).is_dir() else {}
    return base_model(earlier) if earlier else str(path)


def _base(config: Mapping[str, Any]) -> Licence | None:
    base = base_model(config)
    if base is None:
        return None
    if Path(base).is_dir():
        return of_folder(Path(base)) or Licence(
            "other", f"These weights were trained from those in {base}, and are under their licence.\n", "LICENSE"
        )
    link = f"https://huggingface.co/{base}"
    return Licence("other", f"These weights were trained from {base}, and are under its licence: {link}\n", link)  # fmt: skip


def of_folder(folder: Path) -> Licence | None:
    """The licence that lies beside the weights in a model folder; None where there is none."""
    from huggingface_hub import ModelCard

    file = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if file is None:
        return None
    card = folder / "README.md"
    data = ModelCard.load(card, ignore_metadata_errors=True).data if card.is_file() else None
    found = str(data.license) if data is not None and data.license else "other"
    return Licence(found, file.read_text(encoding="utf-8"), "LICENSE" if found == "other" else None)


def _apache() -> str:
    """This project's own licence: beside the package in a checkout, in the metadata of an installation."""
    beside = Path(__file__).resolve().parents[2] / "LICENSE"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    files = metadata.files("r1-lab") or []
    return next(str(file.read_text()) for file in files if file.name == "LICENSE")
