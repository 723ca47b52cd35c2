"""The command line: `r1 <command> ...`. Nothing heavy is imported before the command is known."""

from __future__ import annotations

import ast
import importlib
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# The order people meet them in; a command that is not named here comes after, and one whose file is missing is not listed.
_ORDER = [
    "demo",
    "train",
    "replay",
    "eval",
    "pipeline",
    "generate",
    "score",
    "audit",
    "paper-diff",
    "report",
    "export",
    "serve",
    "chat",
    "doctor",
]


def commands() -> dict[str, Path]:
    """Name -> file of every command there is: r1/commands/*.py (paper_diff.py is `paper-diff`), and r1/demo.py."""
    files = [*_HERE.glob("commands/*.py"), *_HERE.glob("demo.py")]
    found = {file.stem.replace("_", "-"): file for file in files if not file.stem.startswith("_")}
    return dict(sorted(found.items(), key=lambda item: (_ORDER + [item[0]]).index(item[0])))


def summary(file: Path) -> str:
    """First line of a file's docstring, read without importing it; a leading `r1 <command>:` is dropped."""
    first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0].replace("`", "")
    return first.removeprefix(f"r1 {file.stem}:").removeprefix(f"r1 {file.stem}").strip()


def usage(found: dict[str, Path]) -> str:
    width = max(map(len, found), default=0)
    lines = [f"  {name:<{width}}  {summary(file)}" for name, file in found.items()]
    return "\n".join(["usage: r1 <command> [...]", "", *lines, "", "r1 <command> --help says more about each."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 when it went well, 1 for a failure it reports, 2 for a command that does not exist."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        if not _reader_left():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes at its end
        return 141


def _reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more, as after `r1 ... | head`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are told unasked
    return bool(poll.poll(0))


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    found = commands()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(found))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("r1-lab"))
        return 0
    name, *rest = arguments
    if name not in found:
        print(f"r1: there is no command '{name}'; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    module = ".".join(["r1", *found[name].relative_to(_HERE).with_suffix("").parts])
    result = importlib.import_module(module).main(rest)
    return result if type(result) is int else 0  # a float is a sweeper's objective, not an exit code


if __name__ == "__main__":
    sys.exit(main())
