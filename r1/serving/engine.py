"""The engines that `r1 serve` can start: programs of their own that answer OpenAI's protocol on a port of this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Engine:
    """name, and how it is started and spoken to.

    command  (folder, port) -> argv; run in the folder's parent
    splits   it takes the thought out of the answer itself, by the `response_template` of an exported tokenizer
    refused  fields of a request that it would silently ignore -> the value that asks for nothing
    """

    name: str
    command: Callable[[Path, int], list[str]]
    splits: bool = False
    refused: Mapping[str, Any] = field(default_factory=dict)


def _transformers(folder: Path, port: int) -> list[str]:
    start = "from transformers.cli.transformers import main; main()"
    return [sys.executable, "-c", start, "serve", folder.name, "--host", "127.0.0.1", "--port", str(port)]


def _vllm(folder: Path, port: int) -> list[str]:
    return ["vllm", "serve", str(folder), "--served-model-name", folder.name, "--host", "127.0.0.1", "--port", str(port)]


_IGNORED_BY_TRANSFORMERS = {
    "n": 1, "logprobs": False, "top_logprobs": 0, "presence_penalty": 0, "response_format": {"type": "text"}, "tools": [],
    "tool_choice": "none", "functions": [], "function_call": "none", "audio": None, "modalities": ["text"], "reasoning_effort": None,
    "prediction": None, "web_search_options": None,
}  # fmt: skip
ENGINES = {
    "transformers": Engine("transformers", _transformers, splits=True, refused=_IGNORED_BY_TRANSFORMERS),
    "vllm": Engine("vllm", _vllm),
}


def check_folder(folder: Path) -> dict[str, Any]:
    """The generation config of an exported folder. ValueError for a folder that `r1 export` did not write."""
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}: expected one that `r1 export` wrote")
    settings = folder / "tokenizer_config.json"
    if not settings.is_file() or "response_template" not in json.loads(settings.read_text(encoding="utf-8")):
        raise ValueError(f"{folder} has no chat template of ours: export it first, r1 export {folder} --out DIR, and serve DIR")
    path = folder / "generation_config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(engine: Engine, folder: Path, seconds: float = 600.0) -> Iterator[str]:
    """The engine on a free port, its URL once it answers, and its end afterwards.

    Raises ValueError with the last lines of its log when it dies or does not answer in time.
    """
    port = free_port()
    with tempfile.NamedTemporaryFile("w+", prefix=f"r1-{engine.name}-", suffix=".log", errors="replace") as log:
        process = subprocess.Popen(
            engine.command(folder, port), cwd=folder.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(engine, process, url, Path(log.name), seconds)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(engine: Engine, process: subprocess.Popen, url: str, log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ValueError(f"{engine.name} ended with code {process.returncode} before it answered. {_tail(log)}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise ValueError(f"{engine.name} did not answer within {seconds:.0f} s. {_tail(log)}")


def _tail(log: Path) -> str:
    return "Its last words:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:])
