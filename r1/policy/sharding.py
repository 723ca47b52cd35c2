"""A policy over several ranks: sharded for training (FSDP2), whole for sampling and for saving.

    shard(module, mesh)         each rank keeps its part of every weight and gathers a layer's weights while it computes
    gathered_model(module)      a whole copy of the model on every rank: sampling needs no communication, ranks may stop at any time
    whole_state(module)         all weights on the first rank, for a Hugging Face folder

Every function that gathers is called by all ranks or by none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.tensor import DTensor

from r1.policy.lora import adapter_of

T = TypeVar("T")


def rank() -> int:
    """This process's number among the ranks; 0 where there is only one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def on_first_rank(work: Callable[[], T]) -> T:
    """What `work` gives on the first rank, on all of them. Its exception, too: none waits for a rank that has failed."""
    if not several_ranks():
        return work()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = work()
        except Exception as error:  # whatever it is, the other ranks must hear of it
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def from_all_ranks(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks, on all of them."""
    if not several_ranks():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def shard(module: Any, mesh: Any, compute_dtype: torch.dtype | None = None) -> None:
    """Shard a policy (or scorer) over the mesh: each decoder layer by itself, what is left (embedding, norm, head) at the top.

    The top keeps its weights gathered from the forward pass to the end of the backward pass, because the fused losses take the
    head after the forward pass. `compute_dtype` is that of the gathered weights; the shards and the sum of the gradients over
    ranks stay in their own (float32 for master weights). Raises ValueError for a model whose layers are not where expected.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if adapter_of(module.model) is not None:
        raise ValueError("a policy with a LoRA adapter is not sharded (its reference shares the frozen weights): use trainer=ddp")
    layers = getattr(module.model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ValueError(
            f"cannot shard {type(module.model).__name__}: expected its decoder layers in `base_model.layers`; use trainer=ddp"
        )
    object.__setattr__(module, "skeleton", _without_weights(module.model))  # not a submodule: it has no state
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32 if compute_dtype else None)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(module, mesh=mesh, mp_policy=precision, reshard_after_forward=False)


def is_sharded(module: nn.Module) -> bool:
    return hasattr(module, "reshard")  # fully_shard makes an FSDPModule of the class


def reshard(module: Any) -> None:
    """Give up gathered weights, at the top too: after a forward pass without a backward pass they would go stale unseen."""
    if is_sharded(module):
        module.reshard()


def gathered_model(module: Any, dtype: torch.dtype | None = None) -> Any:
    """The module's whole model on every rank: the model itself where nothing is sharded, else a copy without gradients."""
    if not is_sharded(module):
        return module.model
    reshard(module)
    model = copy.deepcopy(module.skeleton)
    model.load_state_dict(_gathered(module.model, dtype), assign=True)
    model.requires_grad_(False)
    return model


def cast(state: dict[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """A state dict in another dtype (None leaves it); tied weights stay tied."""
    done: dict[tuple[int, torch.Size], Tensor] = {}
    for tensor in state.values():
        if (key := (tensor.data_ptr(), tensor.shape)) not in done:
            done[key] = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
    return {name: done[tensor.data_ptr(), tensor.shape] for name, tensor in state.items()}


def whole_state(model: nn.Module, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The model's state dict with whole weights on the CPU, on the first rank; {} on the others (they help to gather)."""
    whole = _gathered(model, dtype, keep=rank() == 0)
    return {name: tensor.cpu() for name, tensor in whole.items()}


def _gathered(model: nn.Module, dtype: torch.dtype | None, keep: bool = True) -> dict[str, Tensor]:
    whole: dict[int, Tensor] = {}  # tied weights are gathered once, and stay tied
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in whole:
            full = tensor.detach().full_tensor() if isinstance(tensor, DTensor) else tensor.detach()
            whole[id(tensor)] = full.to(dtype) if dtype is not None and full.is_floating_point() else full
        if keep:
            state[name] = whole[id(tensor)]
        else:
            whole[id(tensor)] = full.new_empty(0)
    return state


def _without_weights(model: nn.Module) -> nn.Module:
    """A copy of the model whose weights take no memory; buffers (rotary tables) are copied."""
    memo = {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, memo)
