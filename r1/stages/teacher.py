"""A teacher that is imitated token by token: a frozen policy over the student's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from r1_kernels import Stats, linear_kl
from torch import Tensor

from r1.policy import Policy
from r1.records import Batch

Divergence = Literal["forward", "reverse", "jsd"]


class Teacher:
    """The divergence between teacher and student at every learned token of a batch.

    forward  KL(teacher || student): the student covers all that the teacher does (Hinton et al. 2015)
    reverse  KL(student || teacher): it keeps to what the teacher does (MiniLLM, Gu et al. 2024)
    jsd      between the two, with `mixture` as the teacher's share of the middle (GKD, Agarwal et al. 2024, eq. 1)

    `temperature` softens both distributions. The teacher reads the student's token ids, prompt included, so both must know the
    same tokens by the same ids: ValueError otherwise. Rows of the two heads beyond the smaller one are padding (Qwen2.5's sizes
    have one tokenizer and heads of 151,936 and 152,064 rows) and left out of both.

    Not a module: it is not trained, and a checkpoint of the student should not hold it.
    """

    def __init__(
        self,
        policy: Policy,
        student: Policy,
        divergence: Divergence = "forward",
        mixture: float | None = None,
        temperature: float = 1.0,
    ) -> None:
        _check_vocabularies(policy, student)
        if mixture is not None and divergence != "jsd":
            raise ValueError(
                f"mixture is the teacher's share in divergence=jsd, got mixture={mixture} with divergence={divergence}"
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.policy = policy.requires_grad_(False).eval()
        self.divergence, self.mixture, self.temperature = divergence, mixture, temperature
        self.shared = min(policy.head.shape[0], student.head.shape[0])

    @classmethod
    def load(cls, folder: str | Path, student: Policy, **options: object) -> Teacher:
        """A teacher from a policy's folder or hub id, in the student's dtype."""
        dtype = str(student.model.dtype).removeprefix("torch.")
        return cls(Policy.load(folder, student.template, dtype=dtype), student, **options)  # type: ignore[arg-type]

    def loss(self, student: Policy, batch: Batch) -> tuple[Tensor, Stats]:
        """sum over tokens of weight times divergence, with gradients to the student alone."""
        self.policy.to(batch.tokens.device)
        with torch.no_grad():
            hidden = self.policy.hidden(batch)
        states = student.hidden(batch)  # before its head is taken, which is whole from then on where weights are sharded
        ours, theirs = (
            policy.head if len(policy.head) == self.shared else policy.head[: self.shared] for policy in (student, self.policy)
        )
        return linear_kl(
            states, ours, hidden, theirs, batch.weight,
            divergence=self.divergence, temperature=self.temperature, mixture=self.mixture,
        )  # fmt: skip


def _check_vocabularies(teacher: Policy, student: Policy) -> None:
    ours, theirs = (policy.tokenizer.get_vocab() for policy in (student, teacher))
    different = sorted(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
    if different:
        shown = ", ".join(f"{token!r} (student {ours.get(token)}, teacher {theirs.get(token)})" for token in different[:3])
        raise ValueError(
            f"teacher and student must share a vocabulary to be compared token by token; {len(different)} tokens have another id "
            f"or none: {shown}. Without stage.teacher the teacher's traces are learned as text, which works across vocabularies"
        )
    heads = (teacher.head.shape[0], student.head.shape[0])
    if min(heads) < max(ours.values()) + 1:
        raise ValueError(f"a head of {min(heads)} rows cannot score every one of the {max(ours.values()) + 1} token ids")
