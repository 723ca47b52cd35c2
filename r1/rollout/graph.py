"""The decoding step as a CUDA graph: captured once for a batch and a window of the cache, then one launch a token.

A step launches a dozen kernels a layer, which on a GPU takes longer than the kernels themselves as long as the model or the batch is small.
In a graph nothing may depend on the host, and no shape or address may change: the position is a tensor on the device, attention reads the
cache as far as a fixed window and masks what is not written yet. When rows leave or the window is full, the next step is captured anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r1.rollout.decoder import StaticRows

WINDOW = 256  # columns by which the part of the cache that attention reads grows
Replay = Callable[[], Tensor]


class GraphedRows(StaticRows):
    """token, position  [B] and [1] int64, where the graph reads its input
    window           columns that attention reads; those from `length` on are 0 and masked
    capture          makes a replay of a function that reads and writes tensors in place (`CudaGraphs`)
    """

    idle = 0.25  # a batch of another size is another graph

    def __init__(self, *args: Any, capture: Callable[[Replay], Replay] | None = None) -> None:
        super().__init__(*args)
        self.capture = capture or CudaGraphs()
        self.replay: Replay | None = None
        self.token = torch.empty(0, dtype=torch.int64)
        self.position = torch.tensor([self.length], device=self.cos.device)
        self.columns = torch.arange(self.cos.shape[0], device=self.cos.device)
        self.window = self.length
        self._clear()

    def step(self, token: Tensor) -> Tensor:
        """The logits are overwritten by the next step."""
        if self.length == self.window:
            self._widen()
        if self.replay is None:
            self.token = token.clone()
            self.replay = self.capture(self._fixed)
        self.token.copy_(token)
        logits = self.replay()
        self.position += 1
        self.length += 1
        return logits

    def keep(self, slots: Tensor) -> None:
        super().keep(slots)
        self.replay = None

    def _fixed(self) -> Tensor:
        """The step on buffers; made twice at one position, it leaves the cache as made once."""
        mask = self.columns[: self.window] <= self.position
        if self.visible is not None:
            mask = mask & self.visible[:, : self.window]
        return self._layers(self.token, self.position, self.window, mask.view(-1, 1, 1, self.window))

    @staticmethod
    def _write(cache: Tensor, new: Tensor, t: Any) -> None:
        cache.index_copy_(2, t, new[:, :, None])

    def _widen(self) -> None:
        if self.window == self.capacity:
            self._grow()
            self._clear()
        self.window = min(self.capacity, (self.length // WINDOW + 1) * WINDOW)
        self.replay = None

    def _clear(self) -> None:
        """A masked column weighs 0, and 0 times what memory happens to hold may be NaN."""
        for cache in (*self.keys, *self.values):
            cache[:, :, self.length :] = 0


class CudaGraphs:
    """Captures one CUDA graph after another, in memory that they share: only the newest may be replayed.

    `torch.cuda.graph` would collect garbage and empty the allocator's cache before each, which takes longer than many a step.
    """

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.newest: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Replay) -> Replay:
        graph = torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            work()  # libraries set themselves up in their first run
            graph.capture_begin(
                pool=self.newest and self.newest.pool(), capture_error_mode="thread_local"
            )  # others may use the GPU
            try:
                result = work()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(self.stream)
        self.newest = graph

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay
