"""Sampling in process, from the policy's own weights.

Prompts are read once a group; their cache is opened to the G siblings; every step samples one token for each live row on the
device; rows that have ended leave the batch. Rows are independent: a completion is a function of (weights, prompt, seed), up
to the rounding of matrix products, which may depend on the batch's shape in the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from r1.policy.sharding import gathered_model, is_sharded
from r1.rollout.decoder import StaticDecoder, StaticRows, why_not
from r1.rollout.engine import Completion, Sampling, check_request
from r1.rollout.generic import Decoder, ModuleDecoder
from r1.rollout.graph import GraphedRows
from r1.rollout.live import LiveRows

if TYPE_CHECKING:
    from r1.policy.policy import Policy

MOST_ROWS, CPU_CACHE = 512, 2 * 2**30
Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


class HFEngine:
    """Samples from a Hugging Face causal LM where it is.

    max_rows  rows decoded together, at least one group; None is 512, on a CPU as many of them as a cache of 2 GiB holds
    decoder   "auto" takes the fast path for the Llama family where it applies, "static" insists on it, "module" never does;
              "graph" is the fast path with each step captured as a CUDA graph
    """

    def __init__(
        self,
        policy: Policy | None = None,
        max_rows: int | None = None,
        decoder: Literal["auto", "static", "graph", "module"] = "auto",
    ) -> None:
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"HFEngine.max_rows must be at least 1, or None for a default, got {max_rows}")
        if decoder not in ("auto", "static", "graph", "module"):
            raise ValueError(f"HFEngine.decoder must be auto, static, graph or module, got {decoder!r}")
        self.policy = policy
        self.max_rows = max_rows
        self.decoder = decoder
        self.weight_version = 0
        self._gathered: Any = None  # the whole model, where the policy's own is sharded

    def sync(self, policy: Policy, version: int) -> None:
        """The weights are the policy's own: nothing is copied, the version is noted. Only sharded ones are gathered, into a copy of
        the whole model on every rank (all ranks call this); it is given up when the next one is made."""
        if is_sharded(policy):
            self._gathered = None  # before the next one takes its place in memory
            self._gathered = gathered_model(policy, _autocast_dtype(policy.device))
        self.policy = policy
        self.weight_version = version

    def release(self) -> None:
        """Give up the gathered copy, if there is one: an update needs the memory, and the next `sync` gathers anew."""
        self._gathered = None

    def generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """n completions of each prompt, in the prompts' order. Raises ValueError for empty or over-long prompts."""
        check_request(prompts, n, seeds)
        if self.policy is None:
            raise ValueError("HFEngine has no policy yet: give it one, or call sync(policy, version) first")
        if not prompts:
            return []
        if is_sharded(self.policy) and self._gathered is None:
            raise ValueError(
                "the policy's weights are sharded over ranks: call sync(policy, version) on all of them before sampling"
            )
        model, device = self._gathered or self.policy.model, self.policy.device
        if self.decoder == "graph" and device.type != "cuda":
            raise ValueError(
                f"decoder='graph' needs an NVIDIA GPU, and the policy is on {device.type}: decoder='auto' fits everywhere"
            )
        check_room(model, max(map(len, prompts)), sampling)
        # Prompts of one length need no padding, so neighbours in length share a chunk. No completion depends on it.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        size = max(1, (self.max_rows or most_rows(model, device, max(map(len, prompts)) + sampling.max_new_tokens)) // n)
        chunks = [order[first : first + size] for first in range(0, len(order), size)]
        autocast = surrounding_autocast(device)
        with evaluating(model), torch.inference_mode():
            decoder = self._make_decoder(model)

            def work(chunk: list[int]) -> list[Completion]:
                with torch.inference_mode(), autocast():  # neither crosses into a thread by itself
                    return self._chunk(decoder, [prompts[i] for i in chunk], n, sampling, [seeds[i] for i in chunk])

            threads = torch.get_num_threads() if device.type == "cpu" and isinstance(decoder, StaticDecoder) else 1
            finished = side_by_side(work, chunks, threads)
        groups = {i: rows[k * n : (k + 1) * n] for chunk, rows in zip(chunks, finished, strict=True) for k, i in enumerate(chunk)}
        return [groups[i] for i in range(len(prompts))]

    def _make_decoder(self, model: Any) -> Decoder:
        reason = why_not(model) if self.decoder != "module" else "decoder=module was asked for"
        if reason is None:
            return StaticDecoder(model, GraphedRows if self.decoder == "graph" else StaticRows)
        if self.decoder in ("static", "graph"):
            raise ValueError(
                f"decoder={self.decoder!r} does not fit this model: {reason}. decoder='auto' falls back to the module"
            )
        return ModuleDecoder(model)

    def _chunk(
        self, decoder: Decoder, prompts: list[Sequence[int]], n: int, sampling: Sampling, seeds: list[Sequence[int]]
    ) -> list[Completion]:
        """P prompts, P * n rows, from their first token to their last."""
        assert self.policy is not None
        device = self.policy.device
        tokens, attention = left_pad(prompts, self.policy.pad_id)
        rows, logits = decoder.start(tokens.to(device), attention.to(device), n, sampling.max_new_tokens)
        live = LiveRows(torch.tensor(seeds, device=device).reshape(-1), self.policy.eos_ids, logits.shape[1])
        check_every = 1 if device.type == "cpu" else 16  # asking a GPU how many rows are left makes it wait
        for t in range(sampling.max_new_tokens):
            token = live.take(logits, sampling)
            if t + 1 == sampling.max_new_tokens:
                break
            if t % check_every == 0 and (slots := live.survivors(rows.idle)) is not None:
                if len(slots) == 0:
                    break
                rows.keep(slots)
                live.keep(slots)
                token = token[slots]
            logits = rows.step(token)
        return live.completions()


def most_rows(model: Any, device: torch.device, length: int) -> int:
    """How many rows of `length` tokens to decode together. Small steps cost more to start than to compute, so many; on a CPU no more than
    2 GiB of keys and values, since several chunks may be decoded at once."""
    if device.type != "cpu":
        return MOST_ROWS
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    row = 2 * config.num_hidden_layers * heads * width * length * model.dtype.itemsize
    return max(1, min(MOST_ROWS, CPU_CACHE // row))


def side_by_side(work: Callable[[Chunk], Result], chunks: list[Chunk], threads: int) -> list[Result]:
    """`work` on every chunk, on as many threads as torch would use inside one operation.

    The operations of a small model are too short to be shared out: threads that meet at every one of them mostly wait, and on
    a busy machine they wait for the scheduler. Whole chunks are shared out instead, each computed by one thread.
    """
    if min(threads, len(chunks)) < 2:
        return [work(chunk) for chunk in chunks]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, chunks))
    finally:
        torch.set_num_threads(threads)


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """(tokens [P, S], attention [P, S]) with every prompt against the right edge."""
    S = max(map(len, prompts))
    tokens = torch.tensor([[pad_id] * (S - len(p)) + list(p) for p in prompts])
    attention = torch.tensor([[0] * (S - len(p)) + [1] * len(p) for p in prompts])
    return tokens, attention


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside; every module's own mode back afterwards, also when sampling failed."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def surrounding_autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """The autocast that is active here, to be entered elsewhere: it belongs to a thread."""
    kind = device.type
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return lambda: torch.autocast(kind, enabled=enabled, dtype=dtype)


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast computes in here, None where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def check_room(model: Any, prompt: int, sampling: Sampling) -> None:
    """Raises ValueError where the longest prompt and its completion are more than the model has positions for."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and prompt + sampling.max_new_tokens > limit:
        raise ValueError(
            f"a prompt of {prompt} tokens and {sampling.max_new_tokens} new ones do not fit the model's "
            f"{limit} positions (max_position_embeddings); lower max_new_tokens or leave out long prompts"
        )
