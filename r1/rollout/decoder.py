"""The fast path: one decoding step of the Llama family, written out on the module's own weights.

    x ── norm ── q,k,v ── (q/k norm) ── rope ── attend over the used part of a preallocated cache ── o ── + ── norm ── MLP ── +

`generate` through the module pays for masks, cache objects and a concatenation of every key and value at every step. Here a
step is a dozen kernels a layer. The prompt still goes through the module itself, so only the single-token step has a second
implementation; tests hold it to the module's logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

from r1.rollout.generic import positions

FAMILIES = (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
ROOM = 512  # columns reserved for new tokens at first; then the cache doubles, for few completions reach a limit of thousands
STATIC_ROPE = ("default", "linear", "llama3", "yarn")  # the others change their frequencies with the length


def why_not(model: Any) -> str | None:
    """The reason why `StaticDecoder` cannot stand in for this module, or None if it can."""
    if type(model) not in FAMILIES:
        return f"{type(model).__name__} is not one of {', '.join(family.__name__ for family in FAMILIES)}"
    config = model.config
    if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        return "it has sliding-window layers"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}, not silu"
    if config.rope_parameters["rope_type"] not in STATIC_ROPE or config.rope_parameters.get("partial_rotary_factor", 1) != 1:
        return f"its rotary embedding is {config.rope_parameters}"
    strangers = {type(m).__name__ for m in model.modules() if getattr(m, "weight", None) is not None and not _plain(m)}
    if strangers:
        return f"it holds {', '.join(sorted(strangers))} where plain linear layers were expected (adapter, quantised weights?)"
    if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        return "it has forward hooks, which only the module itself calls"
    return None


def _plain(module: nn.Module) -> bool:
    known = type(module) in (nn.Linear, nn.Embedding) or type(module).__name__ in ("LlamaRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")
    return known and type(module.weight) in (nn.Parameter, Tensor)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights: q, k, v and gate, up stacked so that each needs one product, and the attention's 1/sqrt(D) already
    in what makes the queries."""

    norm: Tensor
    qkv: Tensor  # [(Hq + 2 Hkv) * D, H]
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # [Hq + Hkv, D], Qwen3's norm of each head
    o: Tensor
    o_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor  # [2 I, H]
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None

    @classmethod
    def of(cls, layer: Any, heads: int, kv_heads: int) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        scale, qk_norm = attention.scaling, None
        if hasattr(attention, "q_norm"):  # a norm undoes any scale before it
            q, k = attention.q_norm.weight * scale, attention.k_norm.weight
            qk_norm, scale = torch.cat([q.expand(heads, -1), k.expand(kv_heads, -1)]), 1.0
        qkv = (attention.q_proj, attention.k_proj, attention.v_proj)
        gate_up = (mlp.gate_proj, mlp.up_proj)
        return cls(
            norm=layer.input_layernorm.weight, qkv=_stack(qkv, "weight", scale), qkv_bias=_stack(qkv, "bias", scale), qk_norm=qk_norm,
            o=_cast(attention.o_proj.weight), o_bias=_cast(attention.o_proj.bias), mlp_norm=layer.post_attention_layernorm.weight,
            gate_up=_stack(gate_up, "weight"), gate_up_bias=_stack(gate_up, "bias"),
            down=_cast(mlp.down_proj.weight), down_bias=_cast(mlp.down_proj.bias),
        )  # fmt: skip


def _stack(linears: tuple[nn.Linear, ...], name: str, first_scale: float = 1.0) -> Any:
    first, *rest = (getattr(linear, name) for linear in linears)
    return None if first is None else _cast(torch.cat([first * first_scale, *rest]))


def _cast(weight: Any) -> Any:
    """The weight in autocast's dtype where autocast is on, which would otherwise cast it again at every step."""
    if weight is None or not torch.is_autocast_enabled(weight.device.type):
        return weight
    return weight.to(torch.get_autocast_dtype(weight.device.type))


class StaticDecoder:
    """Made anew for every `generate` call: the stacked weights are copies, and an optimiser step would leave them behind."""

    def __init__(self, model: Any, rows: type[StaticRows] | None = None) -> None:
        config = model.config
        self.model = model
        self.rows = rows or StaticRows
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = model.model.layers[0].self_attn.head_dim
        self.eps: float = config.rms_norm_eps
        self.layers = [Layer.of(layer, self.heads, self.kv_heads) for layer in model.model.layers]
        self.embedding = model.model.embed_tokens.weight
        self.norm = model.model.norm.weight
        self.head = _cast(model.lm_head.weight)

    def start(self, tokens: Tensor, attention: Tensor, n: int, room: int) -> tuple[StaticRows, Tensor]:
        S = tokens.shape[1]
        pad = S - attention.sum(dim=1)
        padded = bool(pad.any())
        output = self.model(
            input_ids=tokens, attention_mask=attention if padded else None, position_ids=positions(attention),
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        rows = self.rows(self, output.past_key_values, S, n, room, pad.repeat_interleave(n) if padded else None, output.logits)
        return rows, output.logits[:, -1].repeat_interleave(n, dim=0)


class StaticRows:
    """keys, values  [B, Hkv, capacity, D] a layer; columns from `length` on are not written yet
    pad           [B] padding columns on each row's left, None when no row has any
    visible       [B, S + room] False at that padding
    cos, sin      [S + room, D] rotary tables by position
    """

    idle = 0.05  # dropping rows copies only those that fill the holes

    def __init__(
        self, decoder: StaticDecoder, cache: Any, length: int, n: int, room: int, pad: Tensor | None, like: Tensor
    ) -> None:
        self.decoder, self.length, self.pad = decoder, length, pad
        self.capacity = length + min(room, ROOM)
        self.keys = [_longer(layer.keys.repeat_interleave(n, dim=0), self.capacity) for layer in cache.layers]
        self.values = [_longer(layer.values.repeat_interleave(n, dim=0), self.capacity) for layer in cache.layers]
        position = torch.arange(length + room, device=like.device)
        cos, sin = decoder.model.model.rotary_emb(like, position[None])
        half = decoder.head_dim // 2
        # rotate_half(x) = roll(x, D/2) with the first half negated; the sign is put on the sine, once
        self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
        self.visible = None if pad is None else position >= pad[:, None]

    def step(self, token: Tensor) -> Tensor:
        if self.length == self.capacity:
            self._grow()
        t = self.length
        self.length = t + 1
        mask = None if self.visible is None else self.visible[:, None, None, : t + 1]
        return self._layers(token, t, t + 1, mask)

    def _layers(self, token: Tensor, t: int | Tensor, window: int, mask: Tensor | None) -> Tensor:
        """Token [B] into column t, the cache read as far as `window` where `mask` allows it -> logits [B, V]."""
        d, B = self.decoder, token.shape[0]
        x = F.embedding(token, d.embedding)
        where = t if self.pad is None else t - self.pad
        cos, sin = self.cos[where].view(-1, 1, d.head_dim), self.sin[where].view(-1, 1, d.head_dim)
        for layer, keys, values in zip(d.layers, self.keys, self.values, strict=True):
            h = F.rms_norm(x, (x.shape[-1],), layer.norm, d.eps)
            qkv = F.linear(h, layer.qkv, layer.qkv_bias).view(B, -1, d.head_dim)
            qk, v = qkv[:, : -d.kv_heads], qkv[:, -d.kv_heads :]
            if layer.qk_norm is not None:
                qk = F.rms_norm(qk, (d.head_dim,), None, d.eps) * layer.qk_norm
            qk = torch.addcmul(qk * cos, qk.roll(d.head_dim // 2, -1), sin)
            self._write(keys, qk[:, d.heads :], t)
            self._write(values, v, t)
            a = self._attend(qk[:, : d.heads], keys[:, :, :window], values[:, :, :window], mask)
            x = x + F.linear(a, layer.o, layer.o_bias)
            h = F.rms_norm(x, (x.shape[-1],), layer.mlp_norm, d.eps)
            gate, up = F.linear(h, layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down, layer.down_bias)
        return F.linear(F.rms_norm(x, (x.shape[-1],), d.norm, d.eps), d.head)

    @staticmethod
    def _write(cache: Tensor, new: Tensor, t: Any) -> None:
        cache[:, :, t] = new

    @staticmethod
    def _attend(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """q [B, Hq, D], keys and values [B, Hkv, t, D] -> [B, Hq * D]. The heads that share keys are queries of one head."""
        B, Hkv, _, D = keys.shape
        q = q.view(B, Hkv, -1, D)
        if q.dtype != torch.float32 or q.is_cuda:
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=1.0).reshape(B, -1)
        # On a CPU two batched products beat the attention kernel at one query a row.
        scores = q @ keys.transpose(2, 3)
        if mask is not None:
            scores = scores.masked_fill_(~mask, -torch.inf)
        return (scores.softmax(dim=-1) @ values).reshape(B, -1)

    def keep(self, slots: Tensor) -> None:
        K = slots.shape[0]
        moved = (slots != torch.arange(K, device=slots.device)).nonzero().squeeze(1)
        source = slots[moved]
        for store in (self.keys, self.values):
            for i, cache in enumerate(store):
                cache[moved, :, : self.length] = cache[source, :, : self.length]
                store[i] = cache[:K]
        if self.pad is not None and self.visible is not None:
            self.pad, self.visible = self.pad[slots], self.visible[slots]

    def _grow(self) -> None:
        self.capacity = min(2 * self.capacity, self.cos.shape[0])
        for store in (self.keys, self.values):
            for i, cache in enumerate(store):
                store[i] = _longer(cache, self.capacity)  # one at a time: the peak is one tensor above what is kept


def _longer(cache: Tensor, length: int) -> Tensor:
    """[B, Hkv, t, D] -> [B, Hkv, length, D], the new columns not written yet."""
    B, heads, t, width = cache.shape
    longer = cache.new_empty(B, heads, length, width)
    longer[:, :, :t] = cache
    return longer
