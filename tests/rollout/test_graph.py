"""The decoding step for a CUDA graph: what may be captured, and that replaying it decodes as the step by step path does.

A GPU is not needed for the claim that matters: `Tape` keeps the operations of one run with the very tensors that they read and wrote, and runs
them again. What Python decided while they were recorded (a position, a shape, a branch) is frozen in it, as in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from r1.rollout import decoder, graph
from r1.rollout.decoder import StaticDecoder, StaticRows
from r1.rollout.engine import Sampling
from r1.rollout.graph import GraphedRows
from r1.rollout.hf import HFEngine, left_pad

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")  # the host asks the device, or a shape depends on data


class Tape(TorchDispatchMode):
    def __init__(self, work: Callable[[], Tensor]) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        work()  # as `CudaGraphs` does
        with self:
            self.result = work()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in WAITS), f"{func} cannot be captured"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def __call__(self) -> Tensor:
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            if isinstance(out, Tensor) and not func.is_view and not func._schema.is_mutable:
                out.copy_(again)  # to the same address, which is where the next operation reads
        return self.result


class TapedRows(GraphedRows):
    captures = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, capture=Tape)

    def _widen(self) -> None:
        super()._widen()
        type(self).captures += 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("prompts", [[[5, 6, 7], [9, 8, 7]], [[5, 6, 7, 8], [9, 8], [4]]], ids=["one length", "padded"])
@pytest.mark.parametrize("name", ["qwen3", "qwen2", "llama"])
@torch.inference_mode()
def test_a_replayed_step_is_the_step(lab, name, prompts, dtype, monkeypatch):
    """Grouped heads, padding; rows leaving; a window that is filled three times, a cache that grows twice and held NaN before."""
    monkeypatch.setattr(decoder, "ROOM", 2)
    monkeypatch.setattr(graph, "WINDOW", 5)
    longer = decoder._longer

    def littered(cache: Tensor, length: int) -> Tensor:
        new = longer(cache, length)
        new[:, :, cache.shape[2] :] = torch.nan
        return new

    monkeypatch.setattr(decoder, "_longer", littered)
    monkeypatch.setattr(TapedRows, "captures", 0)
    model = lab.policy(name).model.to(dtype)
    tokens, attention = left_pad(prompts, 0)
    draws = torch.Generator().manual_seed(0)
    fixed, first = StaticDecoder(model, TapedRows).start(tokens, attention, 3, 12)
    plain, expected = StaticDecoder(model).start(tokens, attention, 3, 12)
    assert torch.equal(first, expected)
    rows = 3 * len(prompts)
    error = 1e-5 if dtype == torch.float32 else 0.15
    for t in range(12):
        if t in (4, 9):
            slots = torch.tensor([0, rows - 1, *range(3, rows - 1)])
            fixed.keep(slots)
            plain.keep(slots)
            rows -= 2
        token = torch.randint(lab.V, (rows,), generator=draws)
        ours, theirs = fixed.step(token).float(), plain.step(token).float()
        assert float((ours - theirs).abs().max()) < error * max(1.0, float(theirs.abs().max()))
    assert TapedRows.captures >= 3


def test_the_tape_is_no_help_to_a_step_that_counts_in_python(lab):
    """What this file claims, it can deny: the ordinary step, recorded once, writes every token into one column."""

    class Frozen(StaticRows):
        replay: Tape | None = None

        def step(self, token: Tensor) -> Tensor:
            if self.replay is None:
                self.token = token.clone()
                self.replay = Tape(lambda: self._layers(self.token, self.length, self.length + 1, None))
            self.token.copy_(token)
            return self.replay()

    with torch.inference_mode():
        model = lab.policy("qwen3").model
        tokens, attention = left_pad([[5, 6, 7]], 0)
        frozen, _ = StaticDecoder(model, Frozen).start(tokens, attention, 1, 4)
        plain, _ = StaticDecoder(model).start(tokens, attention, 1, 4)
        for token in (torch.tensor([4]), torch.tensor([9])):
            ours, theirs = frozen.step(token), plain.step(token)
        assert not torch.allclose(ours, theirs, atol=1e-3)


def test_without_a_gpu_it_says_so(lab):
    with pytest.raises(ValueError, match="decoder='graph' needs an NVIDIA GPU, and the policy is on cpu"):
        HFEngine(lab.policy("qwen3"), decoder="graph").generate([[5]], 1, Sampling(max_new_tokens=2), [[0]])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: the capture itself")
def test_on_a_gpu_the_same_tokens(lab):
    policy = lab.policy("qwen3").to("cuda")
    sampling, prompts = Sampling(max_new_tokens=300), [[5, 6, 7, 8], [9, 8], [4]]
    seeds = [[10 * i + j for j in range(4)] for i in range(3)]
    plain, graphed = (HFEngine(policy, decoder=name).generate(prompts, 4, sampling, seeds) for name in ("static", "graph"))
    assert [[c.token_ids for c in group] for group in plain] == [[c.token_ids for c in group] for group in graphed]
