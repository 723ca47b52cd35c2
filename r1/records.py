"""The rows that travel through r1, and the letters that name their shapes.

    Problem ──sample──▶ Trace ──reward──▶ Score ──advantage──▶ Group ──collate──▶ Batch ──update──▶ metrics

Letters, here once for the whole code base:

    P  prompts in a step          S  prompt tokens         V  vocabulary
    G  completions per prompt     T  completion tokens     H  hidden size
    B  rows, B = P * G            L  all tokens, L = S + T

Records are frozen: a new value is a new object (`dataclasses.replace`), so a field means one thing for its whole life.
Shapes are checked when a record is made; the message names the field, the letters and what came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # records are read by commands that must start without torch
    import torch

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with the gold answer that a rule can check.

    `id` is unique in its set and readable, e.g. ``"aime24/07"``. `answer` is None where only a test suite (`tests`) or a
    preference model can judge. `language` is the question's, and the target of the language-consistency reward.
    """

    id: str
    question: str
    answer: str | None = None
    domain: str = "math"
    language: str = "en"
    tests: Any = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.answer, str | None):
            raise ValueError(f"Problem.answer is text or None, got {self.answer!r} for {self.id!r}; write numbers as strings")


@dataclass(frozen=True, slots=True)
class Score:
    """What a completion earned: the weighted total and, always with it, the raw parts.

    A part is None where it does not apply to the problem (it then adds nothing) and NaN where it could not be judged
    (an outage); one NaN part makes `total` None, and a completion whose total is None takes no part in the update.
    """

    total: float | None
    parts: dict[str, float | None]
    weights: dict[str, float]

    def plus(self, name: str, value: float, weight: float) -> Score:
        """With one part more. Needs a total."""
        assert self.total is not None
        return Score(self.total + weight * value, {**self.parts, name: value}, {**self.weights, name: weight})


@dataclass(frozen=True, slots=True)
class Trace:
    """One completion: the one row that is trained on, logged, saved, scored and opened in a notebook.

    prompt_ids     [S] token ids of the rendered prompt
    token_ids      [T] sampled ids, the end-of-sequence id included when one was sampled
    logps          [T] log-probability of each id under the distribution it was sampled from (temperature, top-p, top-k)
    text           the completion as text, special tokens left out
    finish_reason  "stop" (an end-of-sequence id) or "length" (the token limit)
    weight_version optimiser updates the sampling weights had seen
    seed           the key of this completion's random stream
    advantage      set by `losses.advantage`, in units of the normalised reward
    """

    problem: Problem
    prompt_ids: list[int]
    token_ids: list[int]
    logps: list[float]
    text: str
    finish_reason: FinishReason
    weight_version: int = 0
    seed: int = 0
    score: Score | None = None
    advantage: float | None = None

    def __post_init__(self) -> None:
        if len(self.logps) != len(self.token_ids):
            raise ValueError(
                f"Trace.logps must be [T] like token_ids: T = {len(self.token_ids)}, got {len(self.logps)} log-probabilities"
            )
        if self.finish_reason not in ("stop", "length"):
            raise ValueError(f"Trace.finish_reason must be 'stop' or 'length', got {self.finish_reason!r}")

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"


@dataclass(frozen=True, slots=True)
class Group:
    """The G completions of one problem, the unit that advantages compare (R1 v1 eq. 3)."""

    problem: Problem
    traces: tuple[Trace, ...]

    def __post_init__(self) -> None:
        strangers = {t.problem.id for t in self.traces} - {self.problem.id}
        if strangers:
            raise ValueError(f"Group of problem {self.problem.id!r} holds traces of other problems: {sorted(strangers)}")

    def __len__(self) -> int:
        return len(self.traces)

    def with_traces(self, traces: Sequence[Trace]) -> Group:
        return replace(self, traces=tuple(traces))


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one forward pass. Prompts are padded on the left and completions on the right, so that column S is the
    first completion token of every row.

    tokens        [B, L] int64        mask         [B, T] bool, True where a completion token was sampled
    attention     [B, L] int64 0/1, or None when rows are packed (position_ids then restart at 0 for each document)
    position_ids  [B, L] int64        weight       [B, T] float32: every normaliser of the loss; 0 leaves a token out
    old_logp, ref_logp, sampler_logp  [B, T] float32 or None     advantage  [B] or [B, T] float32 or None

    Supervised batches have S = 1: every token after the first is a completion token, and `weight` says which are learned.
    """

    tokens: torch.Tensor
    attention: torch.Tensor | None
    position_ids: torch.Tensor
    mask: torch.Tensor
    weight: torch.Tensor
    advantage: torch.Tensor | None = None
    old_logp: torch.Tensor | None = None
    ref_logp: torch.Tensor | None = None
    sampler_logp: torch.Tensor | None = None

    def __post_init__(self) -> None:
        rows, length = self.tokens.shape
        width = self.mask.shape[1]
        if not 0 <= width < length:
            raise ValueError(
                f"Batch.mask must be [B, T] with T < L: L = {length}, got T = {width}; a row needs at least one prompt token"
            )
        for name, shape in (("attention", "BL"), ("position_ids", "BL"), ("mask", "BT"), ("weight", "BT"),
                            ("old_logp", "BT"), ("ref_logp", "BT"), ("sampler_logp", "BT")):  # fmt: skip
            tensor = getattr(self, name)
            expected = (rows, length if shape == "BL" else width)
            if tensor is not None and tuple(tensor.shape) != expected:
                raise ValueError(f"Batch.{name} must be [{shape[0]}, {shape[1]}] = {list(expected)}, got {list(tensor.shape)}")
        if self.advantage is not None and tuple(self.advantage.shape) not in ((rows,), (rows, width)):
            raise ValueError(
                f"Batch.advantage must be [B] = [{rows}] or [B, T] = [{rows}, {width}], got {list(self.advantage.shape)}"
            )

    @property
    def S(self) -> int:
        return self.tokens.shape[1] - self.mask.shape[1]

    @property
    def targets(self) -> torch.Tensor:
        """[B, T] the completion ids, what hidden state S-1 .. L-2 predicts."""
        return self.tokens[:, self.S :]

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        moved = {f: getattr(self, f) for f in self.__dataclass_fields__}
        return replace(
            self, **{name: tensor.to(device, non_blocking=True) for name, tensor in moved.items() if tensor is not None}
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its two 95 % intervals, each named for what it promises.

    `samples`: new completions of the same problems (how far would a second run of this evaluation move?).
    `problems`: new problems of the same kind (clustered by problem: what may be said of the model beyond this set?).
    """

    value: float
    samples: tuple[float, float]
    problems: tuple[float, float]


@dataclass(frozen=True, slots=True)
class EvalReport:
    """One benchmark of one policy. `setting` states n, k, temperature, top-p, token limit, template and seed: a figure
    without them is not a result."""

    benchmark: str
    setting: dict[str, Any]
    pass_at_1: Estimate
    cons_at: dict[int, Estimate]
    pass_at: dict[int, Estimate]
    mean_length: float
    truncated: float
    rates: dict[str, float]
    problems: tuple[dict[str, Any], ...]
