"""What stands in front of the engine: the thought in its field, whole and streamed, and nothing silently ignored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("openai", reason="needs the extra `serve`")
from fastapi.testclient import TestClient
from openai import APIError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from r1.commands import serve as command
from r1.serving.engine import ENGINES, check_folder, running
from r1.serving.proxy import make_app

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "six times nine ?"}]}


class Engine:
    """An engine that answers with the messages or deltas it was given, and remembers what it was asked."""

    def __init__(self, *answers: dict[str, Any], fail: Exception | None = None) -> None:
        self.answers, self.fail, self.asked = answers, fail, {}
        self.chat = SimpleNamespace(completions=self)

    async def create(self, stream: bool = False, **asked: Any) -> Any:
        self.asked = asked
        if self.fail and not stream:
            raise self.fail
        if stream:
            return self.stream()
        choices = [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", **a}} for i, a in enumerate(self.answers)
        ]
        return ChatCompletion.model_validate(
            {"id": "1", "created": 1, "model": "inner", "object": "chat.completion", "choices": choices}
        )

    async def stream(self) -> AsyncIterator[ChatCompletionChunk]:
        rows = [{"delta": delta, "finish_reason": None} for delta in self.answers] + [{"delta": {}, "finish_reason": "stop"}]
        for row in rows:
            yield ChatCompletionChunk.model_validate(
                {"id": "1", "created": 1, "model": "inner", "object": "chat.completion.chunk", "choices": [{"index": 0, **row}]}
            )
            if self.fail:
                raise self.fail


def client(engine: Engine, **options: Any) -> TestClient:
    return TestClient(make_app(engine, "tiny", **options))  # type: ignore[arg-type]


def streamed(engine: Engine, **options: Any) -> tuple[str, str, list[Any]]:
    """(thought, answer, finish reasons) of a stream, joined."""
    lines = client(engine, **options).post("/v1/chat/completions", json=ASKED | {"stream": True}).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines[:-2]]
    joined = ("".join(c["delta"].get(field) or "" for c in choices) for field in ("reasoning_content", "content"))
    return (*joined, [c.get("finish_reason") for c in choices if c.get("finish_reason")])  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("message", "opened"),
    [
        ({"content": "<think> 6 * 9 </think> It is 54 ."}, False),
        ({"content": "6 * 9\n</think>\n\nIt is 54 ."}, True),
        ({"content": "It is 54 .", "reasoning_content": "6 * 9"}, True),  # an engine that tells them apart itself
        ({"content": "It is 54 .", "reasoning": "6 * 9"}, False),  # and one that calls it otherwise
    ],
)
def test_the_thought_is_apart(message: dict[str, str], opened: bool) -> None:
    answer = client(Engine(message), opened=opened).post("/v1/chat/completions", json=ASKED).json()
    assert answer["model"] == "tiny"
    said = answer["choices"][0]["message"]
    assert (said["reasoning_content"], said["content"]) == ("6 * 9", "It is 54 .")
    thought = {field: text for field, text in message.items() if field != "content"}
    deltas = [{"role": "assistant"}, *([thought] if thought else []), *({"content": c} for c in message["content"])]
    assert streamed(Engine(*deltas), opened=opened) == ("6 * 9", "It is 54 .", ["stop"])


def test_text_without_a_thought_has_no_such_field() -> None:
    said = client(Engine({"content": "54"})).post("/v1/chat/completions", json=ASKED).json()["choices"][0]["message"]
    assert said == {"role": "assistant", "content": "54"}


def test_several_choices_are_told_apart() -> None:
    engine = Engine({"content": "<think>a</think>b"}, {"content": "c"})
    choices = client(engine).post("/v1/chat/completions", json=ASKED | {"n": 2}).json()["choices"]
    assert [(c["message"].get("reasoning_content"), c["message"]["content"]) for c in choices] == [("a", "b"), (None, "c")]


def test_what_the_engine_is_asked() -> None:
    engine = Engine({"content": "54"})
    turns = [ASKED["messages"][0], {"role": "assistant", "content": "54", "reasoning_content": "6 * 9"}, ASKED["messages"][0]]
    asked = ASKED | {"messages": turns, "temperature": 0.5, "seed": 3, "top_logprobs": 0}
    assert (
        client(engine, inner="folder", refused={"top_logprobs": 0}, max_tokens=77)
        .post("/v1/chat/completions", json=asked)
        .is_success
    )
    assert engine.asked["model"] == "folder"
    assert engine.asked["messages"][1] == {"role": "assistant", "content": "<think>\n6 * 9\n</think>\n\n54"}
    assert engine.asked["extra_body"] == {"temperature": 0.5, "seed": 3, "max_tokens": 77}
    client(engine, max_tokens=77).post("/v1/chat/completions", json=ASKED | {"max_completion_tokens": 5})
    assert engine.asked["extra_body"] == {"max_completion_tokens": 5}


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"content": "no role"}]}, 400, "messages"),
        ({"n": 2}, 400, "n"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
    ],
)
def test_what_would_be_ignored_is_refused(change: dict[str, Any], status: int, param: str) -> None:
    answer = client(Engine({"content": ""}), refused=ENGINES["transformers"].refused).post(
        "/v1/chat/completions", json=ASKED | change
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/v1/chat/completions", "{", 400, "must be a JSON object"),
        ("POST", "/v1/chat/completions", "[1]", 400, "must be a JSON object"),
        ("POST", "/v1/completions", "{}", 404, "Not Found: POST /v1/completions; there are GET /v1/models"),
        ("GET", "/v1/chat/completions", "", 405, "Method Not Allowed"),
    ],
)
def test_every_refusal_has_openais_form(method: str, path: str, body: str, status: int, said: str) -> None:
    answer = client(Engine()).request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert said in error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, status)


def test_a_failing_engine_is_told() -> None:
    import httpx2 as httpx

    error = APIError("out of memory", httpx.Request("POST", "http://engine"), body=None)
    answer = client(Engine(fail=error)).post("/v1/chat/completions", json=ASKED)
    assert (answer.status_code, answer.json()["error"]["message"]) == (502, "the engine says: out of memory")
    text = client(Engine({"content": "5"}, fail=error)).post("/v1/chat/completions", json=ASKED | {"stream": True}).text
    assert '"error": {"message": "out of memory"' in text and text.endswith("data: [DONE]\n\n")


def test_models_and_health() -> None:
    here = client(Engine())
    assert [model["id"] for model in here.get("/v1/models").json()["data"]] == ["tiny"]
    assert here.get("/health").json() == {"status": "ok"}


def test_what_keeps_it_from_starting_is_said(exported: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    assert command.main([str(tmp_path / "none")]) == 1
    assert "expected one that `r1 export` wrote" in capsys.readouterr().err
    assert command.main([str(tmp_path)]) == 1
    assert "export it first" in capsys.readouterr().err
    with command._listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert command.main([str(exported), "--port", port]) == 1
        assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert command.main([str(exported), "--engine", "vllm"]) == 1
    assert "there is no `vllm` on the path" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="serving needs the package 'openai': pip install"):
        command.check_engine("transformers")
    assert check_folder(exported)["max_new_tokens"] == 24


def test_an_engine_that_dies_leaves_its_last_words(tmp_path: Path) -> None:
    import sys
    from dataclasses import replace

    dead = replace(ENGINES["vllm"], command=lambda folder, port: [sys.executable, "-c", "raise SystemExit('no such device')"])
    with pytest.raises(ValueError, match="ended with code 1 before it answered(.|\n)*no such device"), running(dead, tmp_path):
        pass
    asleep = replace(dead, command=lambda folder, port: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ValueError, match="did not answer within 0 s"), running(asleep, tmp_path, seconds=0.3):
        pass
