"""Talk to a model in the terminal: the thought dimmed, the answer plain.

    r1 chat tiny-r1-zero                  an exported folder, in this process
    r1 chat http://127.0.0.1:8000         what r1 serve, or any other server of OpenAI's protocol, has there

/reset forgets the conversation, /quit or Ctrl-D ends it, Ctrl-C stops an answer. Lines may be piped in.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any


def main(argv: list[str]) -> int:
    """0 when the conversation ended, 1 where there is no model to talk to."""
    options = _options(argv)
    try:
        model = _model(options)
    except (ValueError, OSError) as error:
        print(f"r1 chat: {error}", file=sys.stderr)
        return 1
    import contextlib

    from rich.console import Console

    from r1.serving.chat import Chat

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (arrow keys and history for input())
    prompt = "> " if sys.stdin.isatty() else ""
    Chat(model, Console(), options.system, options.keep_thoughts).run(lambda: input(prompt))
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="r1 chat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("target", help="folder that r1 export wrote, or URL")
    parser.add_argument("--model", help="of a URL: which of its models (default: the first it lists)")
    parser.add_argument("--system", metavar="TEXT", help="system message")
    parser.add_argument("--temperature", type=float, help="(default: the model's)")
    parser.add_argument("--max-tokens", type=int, help="limit of an answer, its thought included (default: the model's)")
    parser.add_argument(
        "--keep-thoughts",
        action="store_true",
        help="send earlier thoughts back; the model's chat template may still leave them out",
    )
    options = parser.parse_args(argv)
    if options.model and not _is_url(options.target):
        parser.error("--model belongs to a URL: a folder holds one model")
    if options.temperature is not None and not options.temperature >= 0:
        parser.error(f"--temperature must be 0 (greedy) or more, got {options.temperature}")
    if options.max_tokens is not None and options.max_tokens < 1:
        parser.error(f"--max-tokens must be at least 1, got {options.max_tokens}")
    return options


def _model(options: argparse.Namespace) -> Any:
    from r1.serving.chat import LocalModel, RemoteModel

    if not _is_url(options.target):
        return LocalModel(options.target, options.temperature, options.max_tokens)
    import importlib.util

    from r1.schema import pip_hint

    if importlib.util.find_spec("openai") is None:
        raise ValueError(f"talking to a URL needs the package 'openai': {pip_hint('openai')}")
    return RemoteModel(options.target, options.model, temperature=options.temperature, max_tokens=options.max_tokens)


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))
