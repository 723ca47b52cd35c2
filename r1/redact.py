"""Secrets stay out of what a run writes and shows: keys, tokens, passwords, and the credentials in a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HIDDEN = "***"
_NAME = re.compile(
    r"(^|[_.-])(api_?key|secret(_key)?|password|passwd|(hf|auth|access|api|bearer|refresh)_?token|token|credentials?)$", re.I
)
_URL = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_KEY = re.compile(r"\b(sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|xox[abp]-[\w-]{10,})")


def redact(value: Any) -> Any:
    """The same dicts, lists and texts with every secret replaced by ***: values under a name like api_key, credentials in URLs,
    keys that look like those of well-known services, and whatever an environment variable with such a name holds.

    >>> redact({"judge": {"api_key": "abc", "url": "https://me:pass@host/v1"}})
    {'judge': {'api_key': '***', 'url': 'https://***@host/v1'}}
    """
    if isinstance(value, Mapping):
        return {name: HIDDEN if _is_secret(name, part) else redact(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [redact(part) for part in value]
    return _text(value) if isinstance(value, str) else value


def secret_overrides(overrides: list[str]) -> list[str]:
    """The overrides that hold a secret as such; one that names an environment variable, `${oc.env:KEY}`, does not."""
    named = [(override, *override.lstrip("+~").partition("=")[::2]) for override in overrides]
    return [o for o, name, value in named if (_is_secret(name, value) and "${" not in value) or _text(o) != o]


def scrub(folder: Path) -> None:
    """Take the secrets out of the text files of a folder."""
    for file in folder.glob("*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        clean = [_line(line) for line in lines]
        if clean != lines:
            file.write_text("".join(clean), encoding="utf-8")


def _line(line: str) -> str:
    name, separator, value = re.match(r"(\s*(?:-\s*)?[\w.@/+-]*)(\s*[:=]\s*)?(.*)", line, re.S).groups()  # type: ignore[union-attr]
    bare = name.strip().removeprefix("-").strip()
    if separator and value.strip() and "${" not in value and _is_secret(bare, value.strip()):
        return f"{name}{separator}{HIDDEN}\n"
    return _text(line)


def _is_secret(name: Any, value: Any) -> bool:
    return isinstance(value, str) and value != "" and bool(_NAME.search(str(name)))


def _text(text: str) -> str:
    for name, value in os.environ.items():
        if len(value) >= 8 and _NAME.search(name):
            text = text.replace(value, HIDDEN)
    return _KEY.sub(HIDDEN, _URL.sub(HIDDEN, text))
