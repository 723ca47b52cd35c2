"""The routes of a vLLM 0.33 server that training needs, one method a route.

The server lives in an environment of its own (its torch is another one than ours) and is started for this:

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --enable-scale-out --logprobs-mode processed_logprobs --dtype bfloat16

Dev mode opens pause, reload and version; scale-out opens tokens in, tokens out. Requests are repeated, with growing pauses, when
nobody answers, when the answer is late, and when the server says that it is busy or paused: each of them may be sent twice.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout

TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # 503 is also the answer of a paused server


class VLLMServer:
    """Client of one server, usable by several threads at once.

    url           where the server listens, without a path
    timeout       seconds without an answer after which a request is sent again; the longest completion must fit
    retries       how often a request is repeated
    backoff       seconds before the second repetition (the first comes at once); doubled each time, at most 30
    connections   requests under way at once
    key_variable  environment variable that holds the server's `--api-key`, where it has one; never stored or printed
    """

    def __init__(
        self,
        url: str,
        timeout: float = 600.0,
        retries: int = 8,
        backoff: float = 0.5,
        connections: int = 256,
        key_variable: str = "VLLM_API_KEY",
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"the server's url must begin with http:// or https://, got {url!r}")
        if timeout <= 0 or retries < 0 or backoff < 0 or connections < 1:
            raise ValueError(
                "expected timeout > 0, retries >= 0, backoff >= 0 and connections >= 1, "
                f"got {timeout}, {retries}, {backoff} and {connections}"
            )
        self.url = url.rstrip("/")
        key = os.environ.get(key_variable)
        retry = Retry(
            total=retries, backoff_factor=backoff, backoff_max=30.0, status_forcelist=TRY_AGAIN, allowed_methods=None,
            raise_on_status=False, respect_retry_after_header=True,
        )  # fmt: skip
        self._pool = urllib3.PoolManager(
            maxsize=connections, retries=retry, timeout=Timeout(connect=min(timeout, 10.0), read=timeout),
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None, once: bool = False, **query: str) -> Any:
        """The JSON of one answer; `once`: for what must not be sent twice. Raises ConnectionError when the server cannot be had,
        ValueError when it refuses."""
        address = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        try:
            retries = Retry(0, raise_on_status=False) if once else None  # None: those of the pool
            answer = self._pool.request(
                method, address, body=None if body is None else json.dumps(body).encode(), retries=retries
            )
        except HTTPError as error:
            raise ConnectionError(f"no answer from {address}: {error}. Is the server up, and is `rollout.url` right?") from error
        if answer.status in TRY_AGAIN:
            attempts = "" if once else " to every attempt"
            raise ConnectionError(
                f"{address} answered {answer.status}{attempts}: {_short(answer.data)}{_advice(path, answer.status)}"
            )
        if answer.status >= 400:
            raise ValueError(
                f"{address} refused the request with {answer.status}: {_short(answer.data)}{_advice(path, answer.status)}"
            )
        try:
            return json.loads(answer.data) if answer.data else {}
        except ValueError as error:
            raise ValueError(f"{address} answered with something that is not JSON: {_short(answer.data)}") from error

    def generate(self, token_ids: list[int], sampling_params: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices of one prompt: each with index, token_ids, finish_reason, logprobs, weight_versions."""
        return self.ask("POST", "/inference/v1/generate", {"token_ids": token_ids, "sampling_params": sampling_params})["choices"]

    def version(self) -> str:
        """The release of vLLM that answers."""
        return str(self.ask("GET", "/version")["version"])

    def pause(self) -> None:
        """Let what is under way end, take nothing new, forget cached keys and values."""
        self.ask("POST", "/pause", mode="wait")

    def resume(self) -> None:
        self.ask("POST", "/resume")

    def reload_weights(self, folder: str) -> None:
        """Load the weights of a Hugging Face folder that the server can see under this name."""
        self.ask("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": folder}})

    def world_size(self) -> int:
        """GPUs that the server samples on, all of its copies together."""
        return int(self.ask("GET", "/get_world_size")["world_size"])

    def init_weight_transfer(self, init_info: dict[str, Any]) -> None:
        """Make the workers join a group of ranks, described by vLLM's `NCCLWeightTransferInitInfo`. Answered when they have."""
        self.ask("POST", "/init_weight_transfer_engine", {"init_info": init_info}, once=True)

    def start_weight_update(self) -> None:
        self.ask("POST", "/start_weight_update", once=True)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Make the workers receive weights by their names, dtypes and shapes, in that order. Answered when they have them all."""
        self.ask("POST", "/update_weights", {"update_info": update_info}, once=True)

    def finish_weight_update(self) -> None:
        self.ask("POST", "/finish_weight_update", once=True)

    def reset_prefix_cache(self) -> bool:
        """Forget the keys and values of earlier prompts; they belong to the weights that made them."""
        return bool(self.ask("POST", "/reset_prefix_cache")["success"])

    def weight_version(self) -> str:
        """The label of the weights; "default" for those it was started with."""
        return str(self.ask("GET", "/weight_info")["weight_version"])

    def label_weights(self, label: str) -> None:
        self.ask("POST", "/update_weight_version", {"new_version": label})

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every weight as it lies in the server's memory, by its name there."""
        return dict(self.ask("POST", "/weight_checker", {"action": "checksum"})["checksums"])


def _short(data: bytes) -> str:
    text = data.decode(errors="replace").strip()
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _advice(path: str, status: int) -> str:
    if path.startswith("/inference/"):
        return ". Was it started with --enable-scale-out?" if status in (403, 404, 405) else ""
    if "weight_transfer" in path and status not in (404, 405):
        return '. Was it started with --weight-transfer-config \'{"backend": "nccl"}\'?'
    return ". Was it started with VLLM_SERVER_DEV_MODE=1?" if status in (404, 405) else ""
