"""The policy: a Hugging Face causal LM, its tokenizer and its template, seen as hidden states and a head.

Losses never ask for logits. They take the hidden states that predict the completion and the head's weight, so that
`r1_kernels` can fuse the product, the log-probabilities and the objective without a [B, T, V] tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from r1_kernels import linear_logps
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from r1.policy.lora import Lora, adapter_of, base_of, is_adapter, load_adapter, merged_state, save_adapter
from r1.policy.packing import ONE_ROW, pack, why_not_packed
from r1.policy.prompts import Template, named
from r1.policy.sharding import cast, is_sharded, rank, reshard, whole_state
from r1.policy.words import add_words as append_words
from r1.records import Batch, Problem

# What these configuration fields do to the logits happens after the head, where a fused loss would not see it.
_LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class Policy(nn.Module):
    """Hidden states, head and log-probabilities of one causal LM.

    Raises ValueError for models whose logits are not `hidden @ head.T` (soft-capping, scaling, a head bias): a fused loss
    would train them on the wrong distribution.
    """

    model: PreTrainedModel

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template | str = "r1_zero") -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.template = named(template) if isinstance(template, str) else template
        self.eos_ids = _eos_ids(model, tokenizer)
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.eos_ids)
        self.packs = False
        _refuse_changed_logits(model)

    @classmethod
    def load(
        cls,
        path: str | Path,
        template: Template | str = "r1_zero",
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        attention: str = "sdpa",
        gradient_checkpointing: bool = False,
        trust_remote_code: bool = False,
        lora: Lora | None = None,
        add_words: Sequence[str] | None = None,
    ) -> Policy:
        """A policy from a folder or hub id. `attention` is any name that transformers knows (sdpa, flash_attention_2, eager).

        With `lora` the model is frozen and a fresh adapter learns. A folder that holds a saved adapter is its model with that
        adapter, which learns on. `add_words` appends those of these words to the vocabulary that it lacks (see `r1.policy.words`).
        """
        options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
        adapter = path if is_adapter(path) else None
        if adapter is not None:
            if lora is not None:
                raise ValueError(
                    f"{str(path)!r} is an adapter, which learns on with its own rank and targets: leave policy.lora null"
                )
            path = base_of(adapter)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **options)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention, **options)
        except OSError as error:
            raise ValueError(
                f"no model at {str(path)!r}: expected a folder with config.json, weights and tokenizer, or a hub id this machine "
                f"can reach (or has cached). {str(error).splitlines()[0]}"
            ) from error
        if add_words and append_words(model, tokenizer, add_words) and (adapter is not None or lora is not None):
            raise ValueError(
                "new words have embeddings that must learn, and under an adapter they are frozen: add them in a stage without"
            )
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        policy = cls(model, tokenizer, template)
        if adapter is not None:
            load_adapter(model, adapter)
        elif lora is not None:
            lora.attach(model)
        return policy

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """A complete Hugging Face folder: safetensors, config, generation config, tokenizer. An adapter is merged into the
        weights, and kept alone in the folder's `adapter/`. The first of several ranks writes; where the weights are sharded, all
        of them call this. `dtype` is that of the written weights, None their own."""
        folder, state = Path(folder), self.weights(dtype)
        if rank() == 0:
            self.model.save_pretrained(folder, state_dict=state)
            self.tokenizer.save_pretrained(folder)
            if adapter_of(self.model) is not None:
                save_adapter(self.model, folder / "adapter")
        return folder

    def weights(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Whole weights by their Hugging Face names, an adapter merged into them, on the first rank; {} on the others. Where the
        weights are sharded all ranks call it."""
        if is_sharded(self):
            return whole_state(self.model, dtype)
        return cast(merged_state(self.model), dtype) if rank() == 0 else {}

    @property
    def device(self) -> torch.device:
        return self.head.device

    @property
    def head(self) -> nn.Parameter:
        """[V, H], the output embedding (tied or not)."""
        return self.model.get_output_embeddings().weight

    def encode(self, problem: Problem) -> list[int]:
        """The prompt's token ids. A beginning-of-sequence id stands there at most once (a chat template writes its own), and
        an end-of-sequence id that a tokenizer appends is taken away: a prompt is not finished."""
        return encode_prompt(problem, self.template, self.tokenizer, self.eos_ids)

    def decode(self, token_ids: list[int]) -> str:
        """A completion as the parser reads it: special tokens left out, and the `<think>` that the prompt opened put back."""
        text = str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return f"<think>{text}" if self.template.opened else text

    def hidden(self, batch: Batch) -> Tensor:
        """[B, T, H]: the states of columns S-1 .. L-2, which predict the completion ids of columns S .. L-1."""
        return self(batch)

    def forward(self, batch: Batch) -> Tensor:
        """See `hidden`. As the module's forward pass, because that is where sharded weights are gathered; `head` is whole after it."""
        if self.packs and batch.attention is not None:
            packed = pack(batch, self.model.config._attn_implementation in ONE_ROW, self.pad_id)
            return packed.unpack(self._states(packed.tokens, None, packed.position_ids))
        return self._states(batch.tokens, batch.attention, batch.position_ids)[:, batch.S - 1 : -1]

    def _states(self, tokens: Tensor, attention: Tensor | None, position_ids: Tensor) -> Tensor:
        """[B, L, H]"""
        return self.model.base_model(
            input_ids=tokens, attention_mask=attention, position_ids=position_ids, use_cache=False
        ).last_hidden_state

    def with_packing(self) -> Policy:
        """Compute padded batches without their padding from now on. Raises ValueError where the attention does not allow it."""
        if reason := why_not_packed(self.model):
            raise ValueError(f"packing=true needs an attention that keeps packed sequences apart: {reason}; set packing=false")
        self.packs = True
        return self

    def without_dropout(self) -> Policy:
        """Switch every dropout off, in training mode too: in RL it would be noise in the ratio and in the KL term."""
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            for name, value in list(vars(module).items()):
                if "dropout" in name and isinstance(value, float):
                    setattr(module, name, 0.0)
        return self

    @torch.no_grad()
    def logps(self, batch: Batch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """(log-probability, entropy), each [B, T] float32, of the completion ids at this temperature; no gradient."""
        try:
            return linear_logps(self.hidden(batch), self.head, batch.targets, temperature)
        finally:
            reshard(self)

    def idle_batch(self) -> Batch:
        """One row of two padding tokens: what a rank computes on while others have more to do, since all gather weights together."""
        tokens = torch.full((1, 2), self.pad_id, device=self.device)
        mask = torch.ones(1, 1, dtype=torch.bool, device=self.device)
        return Batch(tokens, torch.ones_like(tokens), torch.arange(2, device=self.device)[None], mask, mask.float())

    def idle(self) -> Tensor:
        """A loss of 0 that touches every weight."""
        return self.hidden(self.idle_batch()).sum() * 0.0 + self.head.sum() * 0.0


def encode_prompt(problem: Problem, template: Template, tokenizer: PreTrainedTokenizerBase, eos_ids: frozenset[int]) -> list[int]:
    """See `Policy.encode`."""
    plain = template.text is not None
    ids = list(tokenizer(template.render(problem, tokenizer), add_special_tokens=plain)["input_ids"])
    if plain and len(ids) > 1 and ids[-1] in eos_ids:
        ids.pop()
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:
        ids.pop(0)
    if not ids:
        raise ValueError(f"problem {problem.id!r} renders to an empty prompt under template {template.name!r}")
    return ids


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends a sequence: models list several in their generation config, tokenizers know only one."""
    ids: set[int] = set()
    for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        ids.update([source] if isinstance(source, int) else source or [])
    if not ids:
        raise ValueError("the policy has no end-of-sequence id: neither its generation config nor its tokenizer names one")
    return frozenset(ids)


def _refuse_changed_logits(model: PreTrainedModel) -> None:
    head = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ValueError(f"{type(model).__name__} has a bias on its head; the fused losses take a weight only")
    for name in _LOGIT_CHANGES:
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise ValueError(
                f"{type(model).__name__} changes its logits after the head ({name}); the fused losses do not do that"
            )
