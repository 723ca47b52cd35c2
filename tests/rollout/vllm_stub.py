"""A stub of a vLLM 0.33 server: its routes, request and response fields as read in the wheel, over a tiny model in this process.

It is not vLLM: it shows that our client speaks the protocol and survives what a server can do to it, never how vLLM behaves.
Faults are switched on by its attributes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import torch
from transformers import AutoModelForCausalLM

from r1 import repro
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine


class Wire:
    """What NCCL would be between trainer and server: what one broadcasts the other takes, in order, and `join` waits for both."""

    def __init__(self) -> None:
        self.sent: queue.Queue[torch.Tensor] = queue.Queue()
        self.met = threading.Event()

    def id(self) -> bytes:
        return bytes(range(128))

    def join(self) -> None:
        self.met.wait()

    def broadcast(self, tensor: torch.Tensor) -> None:
        self.sent.put(tensor)

    def wait(self) -> None:
        pass


class VLLMStub:
    """Serves the model in `folder`, as `vllm serve folder --enable-scale-out --logprobs-mode processed_logprobs` in dev mode would.

    down      answer 503 to everything     slow     seconds before a completion is answered, for the next `slow_times`
    deaf      take reload_weights and load nothing     raw      --logprobs-mode raw_logprobs
    aborts    cut so many completions off  scale_out, dev_mode  without the flag, the routes are refused as vLLM refuses them
    transfer  started with --weight-transfer-config    breaks  fail so many `update_weights` after the first weight
    """

    def __init__(self, folder: Path) -> None:
        self.start_folder = folder
        self.down = self.deaf = self.raw = False
        self.slow, self.slow_times, self.aborts = 0.0, 0, 0
        self.scale_out = self.dev_mode = self.transfer = True
        self.breaks, self.wire = 0, Wire()
        self.strip_end = False
        self.requests: list[tuple[str, Any]] = []
        self.lock = threading.Lock()
        self.restart()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub._answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                stub._answer(self, json.loads(self.rfile.read(length)) if length else None)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def restart(self) -> None:
        """Forget everything but what a start gives: the first weights under the label "default"."""
        self.weights, self.label, self.paused = self.start_folder, "default", False
        self.in_group = self.updating = False
        self._load(self.start_folder)

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def sent(self, path: str) -> list[Any]:
        return [body for at, body in self.requests if at == path]

    def _load(self, folder: Path | str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        url = urlsplit(handler.path)
        with self.lock:
            self.requests.append((url.path, body))
            status, answer = (503, {"error": "down"}) if self.down else self._route(url.path, body, dict(parse_qsl(url.query)))
            delay = 0.0
            if url.path.startswith("/inference") and self.slow_times > 0:
                self.slow_times -= 1
                delay = self.slow
        time.sleep(delay)
        try:
            handler.send_response(status)
            handler.end_headers()
            handler.wfile.write(json.dumps(answer).encode())
        except OSError:  # the client has given up waiting
            pass

    def _route(self, path: str, body: Any, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"version": "0.33.0"}
        if path == "/inference/v1/generate":
            if not self.scale_out:
                return 403, {
                    "error": {"message": "Scale-out endpoints are disabled.", "type": "PermissionDeniedError", "code": 403}
                }
            return (503, {"error": "paused"}) if self.paused else (200, self._generate(body))
        if not self.dev_mode:
            return 404, {"detail": "Not Found"}
        if path == "/pause":
            assert query["mode"] in ("abort", "wait", "keep")
            self.paused = True
            return 200, {"status": "paused"}
        if path == "/resume":
            self.paused = False
            return 200, {"status": "resumed"}
        if path == "/collective_rpc":
            assert body["method"] == "reload_weights"
            assert all(isinstance(value, str) for value in body["kwargs"].values())
            assert self.paused, "weights were changed under a request"
            if not self.deaf:
                self._load(body["kwargs"]["weights_path"])
            return 200, {"results": [None]}
        if path == "/get_world_size":
            return 200, {"world_size": 2}
        if path in ("/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update"):
            return self._transfer(path, body)
        if path == "/reset_prefix_cache":
            return 200, {"success": True}
        if path == "/update_weight_version":
            self.label = body["new_version"]
            return 200, {"success": True, "new_version": self.label}
        if path == "/weight_info":
            return 200, {"weight_version": self.label}
        if path == "/weight_checker":
            assert body["action"] == "checksum"
            sums = {f"dp0:pp0:pcp0:tp0:{name}": hashlib.sha256(p.detach().numpy().tobytes()).hexdigest()
                    for name, p in self.model.named_parameters()}  # fmt: skip
            return 200, {"checksums": sums}
        return 404, {"detail": "Not Found"}

    def _transfer(self, path: str, body: Any) -> tuple[int, Any]:
        """vLLM's dense NCCL engine, with `wire` in NCCL's place."""
        assert self.paused, "weights were changed under a request"
        if not self.transfer:
            return 500, {"error": "Weight transfer is not configured."}
        if path == "/init_weight_transfer_engine":
            info = body["init_info"]
            assert set(info) == {"nccl_unique_id_b64", "rank_offset", "world_size", "packed"}
            assert base64.b64decode(info["nccl_unique_id_b64"], validate=True) == self.wire.id()
            assert (info["rank_offset"], info["world_size"], info["packed"]) == (1, 3, False)
            self.in_group = True
            self.wire.met.set()
        elif path == "/start_weight_update":
            self.updating = True
        elif path == "/update_weights":
            info = body["update_info"]
            assert self.in_group and self.updating
            state = {}
            for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
                tensor = self.wire.sent.get(timeout=10)
                assert (tensor.dtype, list(tensor.shape)) == (getattr(torch, dtype), shape)
                state[name] = tensor
                if self.breaks > 0:
                    self.breaks -= 1
                    return 503, {"error": "the worker has died"}
            missing, unexpected = self.model.load_state_dict(state, strict=False)
            tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
            assert set(missing) <= tied and not unexpected
        else:
            self.updating = False
        return 200, {"message": "done"}

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["sampling_params"]
        prompt, n = body["token_ids"], wanted["n"]
        sampling = Sampling(wanted["temperature"], wanted["top_p"], wanted["top_k"], wanted["max_tokens"])
        policy = SimpleNamespace(
            model=self.model, device=torch.device("cpu"), pad_id=0, eos_ids=frozenset(wanted["stop_token_ids"])
        )
        start = wanted.get("seed", repro.key("no seed", len(self.requests)))
        ((*completions,),) = HFEngine(policy).generate([prompt], n, sampling, [[start + i for i in range(n)]])
        return {
            "request_id": "generate-tokens-1", "model": "stub", "output_mode": "tokens", "prompt_logprobs": None,
            "choices": [self._choice(i, prompt, c, sampling) for i, c in enumerate(completions)],
        }  # fmt: skip

    def _choice(self, index: int, prompt: list[int], completion: Any, sampling: Sampling) -> dict[str, Any]:
        ids, logps, reason = list(completion.token_ids), completion.logps, completion.finish_reason
        if self.raw:
            with torch.no_grad():
                logits = self.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            logps = torch.log_softmax(logits, -1)[range(len(ids)), ids].tolist()
        if self.strip_end and reason == "stop" and len(ids) > 1:
            ids, logps = ids[:-1], logps[:-1]
        if self.aborts > 0:
            self.aborts -= 1
            ids, logps, reason = ids[:1], logps[:1], "abort"
        content = [{"token_id": i, "logprob": p, "rank": None, "top_logprobs": []} for i, p in zip(ids, logps, strict=True)]
        return {
            "index": index, "finish_reason": reason, "stop_reason": None, "token_ids": ids, "logprobs": {"content": content},
            "routed_experts": None, "sampling_mask": None,
            "weight_versions": [{"version": self.label, "start": 0, "end": len(ids)}],
        }  # fmt: skip
