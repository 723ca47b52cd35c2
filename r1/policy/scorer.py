"""A reward model: the policy's backbone with one number on top, as a Hugging Face sequence-classification model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from r1.policy.lora import adapter_of, inject, merged_state
from r1.policy.policy import Policy, encode_prompt
from r1.policy.prompts import Template
from r1.policy.sharding import is_sharded, rank, whole_state
from r1.records import Problem


class Scorer(nn.Module):
    """Scores responses to problems: [B] real numbers, higher is better.

    The text that is read is the rendered prompt, the response and the end of sequence; the score is read off its last token.
    """

    model: PreTrainedModel

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, template: Template, eos_id: int, pad_id: int
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.template = model, tokenizer, template
        self.eos_id, self.pad_id = eos_id, pad_id
        model.config.pad_token_id = pad_id  # how the model finds each row's last token

    @classmethod
    def from_policy(cls, policy: Policy) -> Scorer:
        """A scorer whose backbone starts as a copy of the policy's; the head starts at 0, so every response scores the same.

        Where the policy has an adapter, it is part of the copy, and a fresh one of the same shape learns beside the head.
        """
        config = copy.deepcopy(policy.model.config)
        config.num_labels = 1
        model = AutoModelForSequenceClassification.from_config(config, dtype=policy.model.dtype)
        name = f"{model.base_model_prefix}."
        backbone = {key.removeprefix(name): value for key, value in merged_state(policy.model).items() if key.startswith(name)}
        model.base_model.load_state_dict(backbone)
        if (adapter := adapter_of(policy.model)) is not None:
            inject(model, copy.deepcopy(adapter))
            model.score.requires_grad_(True)
        nn.init.zeros_(model.score.weight)
        eos = policy.tokenizer.eos_token_id
        return cls(model, policy.tokenizer, policy.template, eos if eos is not None else min(policy.eos_ids), policy.pad_id)

    @property
    def head(self) -> nn.Parameter:
        """[1, H]"""
        return self.model.score.weight

    def encode(self, problem: Problem, response: str, longest: int = 8192) -> list[int]:
        """Token ids of prompt, response and end of sequence. Of more than `longest` the middle is left out: at the end stand the
        summary and the token that the score is read at."""
        prompt = encode_prompt(problem, self.template, self.tokenizer, frozenset([self.eos_id]))
        ids = [*prompt, *self.tokenizer(response, add_special_tokens=False)["input_ids"], self.eos_id]
        return ids if len(ids) <= longest else ids[: longest // 2] + ids[longest // 2 - longest :]

    def forward(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """[B] float32 scores of B rows of token ids, padded on the right."""
        longest = max(map(len, rows))
        device = self.model.score.weight.device
        tokens = torch.tensor([[*row, *[self.pad_id] * (longest - len(row))] for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        attention = (torch.arange(longest, device=device) < lengths[:, None]).long()
        states = self.model.base_model(input_ids=tokens, attention_mask=attention, use_cache=False).last_hidden_state
        # Not the model's own search for the last token that is not padding: where padding and end of sequence are one id, it
        # would read the score one token early.
        last = states[torch.arange(len(rows), device=device), lengths - 1]
        return self.model.score(last).squeeze(-1).float()

    def idle(self) -> Tensor:
        """A loss of 0 that touches every weight; see `Policy.idle`."""
        return self([[self.pad_id]]).sum() * 0.0

    def save(self, folder: str | Path) -> Path:
        """A complete Hugging Face folder that AutoModelForSequenceClassification loads, an adapter merged into the weights; see
        `Policy.save` for several ranks."""
        folder = Path(folder)
        state = whole_state(self.model) if is_sharded(self) else None
        if rank() == 0:
            self.model.save_pretrained(folder, state_dict=merged_state(self.model) if state is None else state)
            self.tokenizer.save_pretrained(folder)
        return folder
