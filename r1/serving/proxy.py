"""OpenAI's protocol in front of an engine: one model with a name, the thought in `reasoning_content`, no field silently ignored.

The engine does the work. What is mended here are the places where engines differ or answer wrongly: the list of models, the model's
name, errors in OpenAI's form, and where the thought goes (engines call it `reasoning` or `reasoning_content`, or leave it in the text).
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from openai import APIError, APIStatusError, AsyncOpenAI
from starlette.exceptions import HTTPException

from r1.grading.stream import THOUGHT, ThinkSplitter


class Refused(ValueError):
    """A request that cannot be answered as it stands. code: HTTP status; param: the field at fault."""

    def __init__(self, message: str, param: str | None = None, code: int = 400) -> None:
        super().__init__(message)
        self.param, self.code = param, code


def make_app(
    client: AsyncOpenAI,
    name: str,
    inner: str | None = None,
    refused: Mapping[str, Any] | None = None,
    opened: bool = False,
    max_tokens: int | None = None,
) -> FastAPI:
    """The app that serves the engine behind `client` under the model name `name`.

    inner       what the engine calls the model (default: the same)
    refused     fields that the engine would ignore, each with the value that asks for nothing
    opened      the engine's raw text begins inside the thought
    max_tokens  the limit where a request names none
    """
    app = FastAPI(title=f"r1 serve {name}", openapi_url=None)
    started = int(time.time())

    @app.exception_handler(Refused)
    async def refuse(_: Request, error: Refused) -> Response:
        return _error(str(error), error.code, "invalid_request_error", error.param)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        said = f"{error.detail}: {request.method} {request.url.path}; there are GET /v1/models and POST /v1/chat/completions"
        return _error(said, error.status_code, "invalid_request_error")

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return _error("the body must be a JSON object, sent with Content-Type: application/json", 400, "invalid_request_error")

    @app.exception_handler(APIError)
    async def failed(_: Request, error: APIError) -> Response:
        code = error.status_code if isinstance(error, APIStatusError) else 502
        return _error(f"the engine says: {_said(error)}", code, "engine_error")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": started, "owned_by": "r1"}]}

    @app.post("/v1/chat/completions")
    async def chat(body: dict[str, Any]) -> Response:
        _check(body, name, refused or {})
        rest = {key: value for key, value in body.items() if key not in ("model", "messages", "stream", *(refused or ()))}
        if max_tokens and not (rest.get("max_tokens") or rest.get("max_completion_tokens")):
            rest["max_tokens"] = max_tokens
        asked: dict[str, Any] = {
            "model": inner or name,
            "messages": [_with_thought(m) for m in body["messages"]],
            "extra_body": rest,
        }
        if body.get("stream"):
            # asked before the answer begins, so that a refusal still has its status
            chunks = await client.chat.completions.create(stream=True, **asked)
            return StreamingResponse(_events(chunks, name, opened), media_type="text/event-stream")
        answer = (await client.chat.completions.create(**asked)).model_dump(exclude_none=True)
        for choice in answer["choices"]:
            choice["message"] = _apart(choice["message"], opened)
        return JSONResponse(answer | {"model": name})

    return app


def _check(body: Mapping[str, Any], name: str, refused: Mapping[str, Any]) -> None:
    if body.get("model") != name:
        raise Refused(f"the model here is {name!r}, got {body.get('model')!r}", "model", 404)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise Refused("messages must be a list of at least one {role, content}", "messages")
    for field, nothing in refused.items():
        if body.get(field) not in (None, nothing):
            raise Refused(f"this engine cannot do {field}={json.dumps(body[field])}; leave it out", field)


def _with_thought(message: dict[str, Any]) -> dict[str, Any]:
    """A thought that a client sends back goes into the text, where the chat template keeps or strips it."""
    thought = next((message[field] for field in THOUGHT if message.get(field)), None)
    message = {key: value for key, value in message.items() if key not in THOUGHT}
    if thought and message.get("role") == "assistant" and isinstance(message.get("content") or "", str):
        message["content"] = f"<think>\n{thought}\n</think>\n\n{message.get('content') or ''}"
    return message


def _apart(message: dict[str, Any], opened: bool) -> dict[str, Any]:
    """A whole message with its thought in the field of its own."""
    thought = "".join(message.pop(field, None) or "" for field in THOUGHT)
    splitter = ThinkSplitter(opened)
    parts = [*splitter.feed_apart(thought, message.get("content") or ""), *splitter.finish()]
    thought, answer = ("".join(text for kind, text in parts if kind == wanted) for wanted in ("thought", "answer"))
    return message | {"content": answer} | ({"reasoning_content": thought} if thought else {})


async def _events(chunks: Any, name: str, opened: bool) -> AsyncIterator[str]:
    """The engine's stream as server-sent events. A failure in the middle is told as an event: the status is long gone."""
    splitters: dict[int, ThinkSplitter] = {}
    try:
        async for chunk in chunks:
            row = chunk.model_dump(exclude_none=True) | {"model": name}
            for delta in _deltas(row, splitters, opened):
                yield f"data: {json.dumps(delta, ensure_ascii=False)}\n\n"
    except APIError as error:
        yield f"data: {json.dumps({'error': {'message': _said(error), 'type': 'engine_error'}})}\n\n"
    yield "data: [DONE]\n\n"


def _deltas(row: dict[str, Any], splitters: dict[int, ThinkSplitter], opened: bool) -> Iterator[dict[str, Any]]:
    """One chunk of the engine as the chunks that it becomes: a piece of text may hold the end of the thought and the answer's start."""
    if not row.get("choices"):  # usage comes without a choice
        yield row
    for choice in row.get("choices", []):
        splitter = splitters.setdefault(choice["index"], ThinkSplitter(opened))
        delta = choice["delta"]
        thought = "".join(delta.pop(field, None) or "" for field in THOUGHT)
        parts = splitter.feed_apart(thought, delta.pop("content", None) or "")
        parts += splitter.finish() if choice.get("finish_reason") else []
        pieces = [{"reasoning_content" if kind == "thought" else "content": text} for kind, text in parts]
        ending = choice.pop("finish_reason", None)
        for piece in pieces:
            yield row | {"choices": [choice | {"delta": delta | piece}]}
            delta = {}  # the role is said once
        if ending or delta:
            yield row | {"choices": [choice | {"delta": delta} | ({"finish_reason": ending} if ending else {})]}


def _said(error: APIError) -> str:
    return error.response.text[:1000] if isinstance(error, APIStatusError) else error.message


def _error(message: str, code: int, kind: str, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status_code=code)
