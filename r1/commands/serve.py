"""Serve an exported policy to OpenAI clients, the thought apart from the answer.

    r1 serve tiny-r1-zero --port 8000
    curl localhost:8000/v1/chat/completions -H 'Content-Type: application/json' \\
         -d '{"model": "tiny-r1-zero", "messages": [{"role": "user", "content": "..."}]}'

Starts an engine (transformers, or vLLM where it is installed) on the folder that `r1 export` wrote, and stands in front of it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from r1.serving.engine import Engine


def main(argv: list[str]) -> int:
    """0 after Ctrl-C, 1 where it could not start."""
    parser = argparse.ArgumentParser(
        prog="r1 serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, help="folder that r1 export wrote")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only; there is no password)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s; 0 takes a free one)")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers", help="(default: %(default)s)")
    parser.add_argument("--name", help="the model's name for clients (default: the folder's)")
    parser.add_argument(
        "--wait", type=float, default=600.0, metavar="SECONDS", help="for the engine to load the weights (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        return serve(options.folder, options.host, options.port, options.engine, options.name, options.wait)
    except ValueError as error:
        print(f"r1 serve: {error}", file=sys.stderr)
        return 1


def serve(folder: Path, host: str, port: int, engine_name: str, name: str | None, wait: float) -> int:
    """Start the engine and answer until interrupted. ValueError for whatever keeps it from starting."""
    from r1.serving.engine import check_folder, running

    folder = folder.resolve()
    generation, engine = check_folder(folder), check_engine(engine_name)
    listening = _listen(host, port)  # before the weights are loaded: a port in use is said at once

    import uvicorn
    from openai import AsyncOpenAI

    from r1.serving.proxy import make_app

    opened = not engine.splits and _opened(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the default would leave the engine behind
    with listening, running(engine, folder, wait) as url:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=None, max_retries=0)
        app = make_app(client, name or folder.name, folder.name, engine.refused, opened, generation.get("max_new_tokens"))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        print(
            f"{name or folder.name} at http://{host}:{listening.getsockname()[1]}/v1 ({engine.name}); Ctrl-C ends it", flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):  # how uvicorn passes Ctrl-C on once it has closed
            server.run(sockets=[listening])
    return 0


def check_engine(name: str) -> Engine:
    """The engine, if it is installed here. ValueError says how to get it."""
    import importlib.util
    import shutil

    from r1.schema import pip_hint
    from r1.serving.engine import ENGINES

    if name == "vllm" and shutil.which("vllm") is None:
        raise ValueError(
            "there is no `vllm` on the path: install vLLM into an environment of its own (it pins its own torch) and put its bin/ on PATH"
        )
    for module in ("openai", "fastapi", "uvicorn", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"serving needs the package '{module}': {pip_hint(module)}")
    return ENGINES[name]


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        hint = "choose another with --port, or 0 for a free one" if port else "is --host an address of this machine?"
        raise ValueError(f"cannot listen on {host}:{port} ({error.strerror}); {hint}") from error


def _opened(folder: Path) -> bool:
    from transformers import AutoTokenizer

    from r1.serving.chat_template import opens_thought

    return opens_thought(AutoTokenizer.from_pretrained(folder))
