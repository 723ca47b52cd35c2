"""Any server with OpenAI's chat route, asked with the standard library alone."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any


class Unavailable(Exception):
    """The backend gave no reply, for a reason that has nothing to do with what it was asked."""


class Endpoint:
    """`url` is what stands before `/chat/completions`, e.g. http://localhost:8000/v1.

    The key, where one is needed, is read from the environment variable `key_variable` and is never stored or printed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        timeout: float = 60.0,
        retries: int = 3,
        max_tokens: int = 512,
        key_variable: str = "JUDGE_API_KEY",
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the endpoint's url must begin with http:// or https://, got {url!r}")
        self.url, self.model, self.timeout, self.retries = url.rstrip("/"), model, timeout, retries
        self.max_tokens, self.key_variable = max_tokens, key_variable

    @property
    def name(self) -> str:
        return self.model

    def __call__(self, prompt: str) -> str:
        """The reply to one message, greedy."""
        choice = self.ask([{"role": "user", "content": prompt}], temperature=0)
        return choice["message"]["content"] or ""

    def ask(self, messages: Sequence[Mapping[str, str]], **options: Any) -> dict[str, Any]:
        """The first choice, {"message": {"content": ...}, "finish_reason": ...}, of a reply to these messages.

        Raises Unavailable when no usable reply came after all retries, and ValueError where the server refuses the request.
        """
        body = {"model": self.model, "messages": list(messages), "max_tokens": self.max_tokens, **options}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        for attempt in range(self.retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    choice = json.load(response)["choices"][0]
                    choice["message"]["content"]  # a reply without it is none
                    return choice
            except urllib.error.HTTPError as error:
                if error.code in (400, 401, 403, 404, 422):  # asking again will not help
                    raise ValueError(f"the endpoint at {self.url} refused the request: {error.code} {error.reason}") from error
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                pass  # no connection, or a reply that is not what the route promises
            if attempt < self.retries:
                time.sleep(min(8.0, 0.25 * 2**attempt))
        raise Unavailable(self.url)
