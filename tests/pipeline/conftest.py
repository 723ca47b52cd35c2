"""A scripted writer, a desk in a temporary folder, and a stub of the chat route."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.pipeline.desk import Desk
from r1.pipeline.rows import Row
from r1.records import Group, Problem, Trace
from r1.repro import key
from r1.rewards import Accuracy, Format, Reward

REWARD = Reward({"accuracy": Accuracy(), "format": Format("r1")}, {"accuracy": 1.0, "format": 0.1})


class Script:
    """A sampler that says `say(problem, i)` and remembers what it was asked. A text that ends in "..." was cut."""

    name = "script"

    def __init__(self, say: Callable[[Problem, int], str]) -> None:
        self.say, self.asked = say, []

    def __call__(self, problems: Sequence[Problem], n: int, keys: tuple) -> list[Group]:
        self.asked.append([problem.id for problem in problems])
        return [Group(p, tuple(self._trace(p, i, keys) for i in range(n))) for p in problems]

    def _trace(self, problem: Problem, i: int, keys: tuple) -> Trace:
        text = self.say(problem, i)
        return Trace(problem, [], [], [], text, "length" if text.endswith("...") else "stop", seed=key(*keys, problem.id, i))


class Sums:
    """A task: q/0 asks for 0 + 0, q/1 for 1 + 1 ..."""

    name = "sums"

    def __init__(self, size: int = 4) -> None:
        self.train = [Problem(f"q/{i}", f"{i} + {i} is what?", str(2 * i)) for i in range(size)]
        self.validation = self.test = []


def row(completion: str, problem: Problem | None = None, id: str = "r", **fields) -> Row:
    return Row(id, problem or Problem("q/1", "1 + 1 is what?", "2"), completion, {"way": "test"}, **fields)


class Server:
    """`reply(body)` gives a message (a text or a dict), an HTTP status, or (message, finish_reason)."""

    def __init__(self, reply: Callable[[dict], object]) -> None:
        self.requests: list[dict] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                said = reply(body)
                message, finish = said if isinstance(said, tuple) else (said, "stop")
                self.send_response(message if isinstance(message, int) else 200)
                self.end_headers()
                if not isinstance(message, int):
                    message = message if isinstance(message, dict) else {"content": message}
                    self.wfile.write(json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode())

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(reply: Callable[[dict], object]) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


@pytest.fixture
def lab(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(
        Script=Script, Sums=Sums, row=row, REWARD=REWARD, desk=lambda rows=512: Desk(tmp_path / "run", REWARD, seed=0, rows=rows)
    )
