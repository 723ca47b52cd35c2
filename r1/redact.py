"""Secrets stay out of what a run writes and shows: keys, tokens, passwords, and the credentials in a URL."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HIDDEN = "***"
_NAME = re.compile(
    r"""
    passw(or)?d | passphrase | authorization | connection_?string
    | (api|access|secret|storage|account|private|signing|encryption|master|openai|anthropic)[_.-]?keys?([_-]?\d+)?$
    | (?-i:_KEYS?([_-]?\d+)?$)                             # OPENAI_KEY: in capitals it is an environment variable, not a sort_key
    | (^|[_.-])(pat|token|secrets?|credentials?)$
    | (hf|auth|access|api|bearer|refresh|session)[_.-]?tokens?$
    """,
    re.I | re.X,
)
_A_WORD_OF_THE_MODEL = re.compile(r"(^|[_.])(pad|eos|bos|unk|sep|cls|mask|start|end|stop|first|last|next|think|per)_token$", re.I)
_NO_VALUE = {"null", "~", "true", "false", "''", '""', "[]", "{}"}  # as YAML writes it
_URL = re.compile(r"(?<=://)[^/\s@'\"]+(?=@)")
_KEY = re.compile(
    r"\b(sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abp]-[\w-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}\b)"
)


def redact(value: Any) -> Any:
    """The same dicts, lists and texts with every secret replaced by ***: values of any type under a name like api_key, credentials
    in URLs, keys that look like those of well-known services, and what an environment variable with such a name holds (8 characters
    or more: a short one would be part of ordinary words).

    >>> redact({"judge": {"api_key": "abc", "url": "https://me:pass@host/v1"}})
    {'judge': {'api_key': '***', 'url': 'https://***@host/v1'}}
    """
    if isinstance(value, Mapping):
        return {name: HIDDEN if _is_value(part) and _is_secret(name) else redact(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [redact(part) for part in value]
    return _text(value) if isinstance(value, str) else value


def secret_overrides(overrides: list[str]) -> list[str]:
    """The overrides that hold a secret as such; one that names an environment variable, `${oc.env:KEY}`, does not."""
    named = [(override, *override.lstrip("+~").partition("=")[::2]) for override in overrides]
    return [o for o, name, value in named if (value and _is_written(value) and _is_secret(name)) or _text(o) != o]


def scrub(folder: Path) -> None:
    """Take the secrets out of the text files of a folder."""
    for file in folder.glob("*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        clean = list(_clean(lines))
        if clean != lines:
            file.write_text("".join(clean), encoding="utf-8")


def _clean(lines: list[str]) -> Iterator[str]:
    """Lines of YAML without their secrets, and without what is indented below the name of one: a list, the rest of a text."""
    hidden = math.inf  # the column of that name
    for line in lines:
        start, name, separator, value = re.match(r"(\s*(?:-\s+)?)([\w.@/+~-]*)(\s*[:=]\s*)?(.*)", line, re.S).groups()  # type: ignore[union-attr]
        if len(start) > hidden:
            continue
        hidden = math.inf
        if separator and _is_written(value.strip()) and _is_secret(name):
            yield f"{start}{name}{separator.rstrip()}{' ' * (':' in separator)}{HIDDEN}\n"
            hidden = len(start)
        else:
            yield _text(line)


def _is_written(value: str) -> bool:
    """As `_is_value` for a value in YAML, where what names a variable, `${oc.env:KEY}`, is none either."""
    return value not in _NO_VALUE and "${" not in value


def _is_value(value: Any) -> bool:
    """Not None, a switch (`token: true`) or empty."""
    return not isinstance(value, bool) and value not in (None, "", [], {}, ())


def _is_secret(name: Any) -> bool:
    return bool(_NAME.search(str(name))) and not _A_WORD_OF_THE_MODEL.search(str(name))


def _text(text: str) -> str:
    for name, value in os.environ.items():
        if len(value) >= 8 and _is_secret(name):
            text = text.replace(value, HIDDEN)
    return _KEY.sub(HIDDEN, _URL.sub(HIDDEN, text))
