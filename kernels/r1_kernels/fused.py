"""The passes over rows with Triton: `linear._per_token`, `linear._per_completion`, `imitation` and `logits`, the same steps.

for each chunk of rows:   cuBLAS: logits = hidden @ head^T  (fp32 out)     row kernel: logp, entropy, d logits in place
                          cuBLAS: d hidden, d head += (fp32)
at the end, once:         token kernel: loss and statistics of all tokens from their logp and entropy
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import kernel_tokens
from .kernel_rows import KL_BLOCK, RowColumns, kl_kernel
from .launch import run
from .objective import Objective
from .rows import Sweep, add_outer, project, project_back
from .stats import Stats
from .tokens import Columns, Terms

BUDGET = 5 * 2**27  # bytes of the fp32 logits chunk on a GPU: 640 MiB, 1,024 rows of 151,936
ALIGN = 16  # row starts of the chunk, in numbers: wide loads need it, whatever V is


def chunk_rows(vocabulary: int, width: int = 4) -> int:
    """Rows a chunk; above 128 a multiple of it, as the products like it."""
    rows = max(1, BUDGET // (max(vocabulary, 1) * width))
    return rows // 128 * 128 or rows


class Chunk:
    """The one logits buffer [C, V] fp32 of a call, and the gradient that overwrites it: bf16 for a bf16 head on a GPU."""

    def __init__(self, rows: int, vocabulary: int, head: Tensor):
        padded = -(-vocabulary // ALIGN) * ALIGN
        self.storage = torch.empty(rows, padded, dtype=torch.float32, device=head.device)
        self.logits = self.storage[:, :vocabulary]
        narrow = head.dtype in (torch.bfloat16, torch.float16)
        self.d_logits = self.storage.view(head.dtype)[:, :vocabulary] if narrow else self.logits

    def fill(self, hidden: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        """(logits, d_logits) views of the rows of `hidden`."""
        n = hidden.shape[0]
        project(hidden, head, torch.float32, out=self.logits[:n])
        return self.logits[:n], self.d_logits[:n]


class Gradients:
    """d hidden and d head of a call, where they are wanted."""

    def __init__(self, hidden: Tensor, head: Tensor, want: tuple[bool, bool]):
        self.hidden, self.head = hidden, head
        self.d_hidden = torch.zeros_like(hidden) if want[0] else None
        self.d_head = torch.zeros_like(head, dtype=torch.float32) if want[1] else None

    def add(self, part: Tensor, hidden_rows: Tensor, d_logits: Tensor) -> None:
        if self.d_hidden is not None:
            self.d_hidden[part] = project_back(d_logits, self.head).to(self.hidden.dtype)
        if self.d_head is not None:
            add_outer(self.d_head, d_logits, hidden_rows)

    def sweep(self, shape: torch.Size) -> Sweep:
        return Sweep(None if self.d_hidden is None else self.d_hidden.view(shape), self.d_head)


def _pass(
    rule: str, table: RowColumns, flat: Tensor, head: Tensor, rows: Tensor, chunk: Chunk, gradients: Gradients | None
) -> None:
    """One rule of the row kernel over `rows`, a chunk at a time."""
    size = chunk.storage.shape[0]
    for first in range(0, rows.numel(), size):
        part = rows[first : first + size]
        hidden_rows = flat[part]
        logits, d_logits = chunk.fill(hidden_rows, head)
        table.launch(rule, logits, d_logits, rows, first, part.numel())
        if gradients is not None:
            gradients.add(part, hidden_rows, d_logits)


def linear_loss(
    hidden: Tensor, head: Tensor, targets: Tensor, columns: Columns, rows: Tensor, dead: Tensor, objective: Objective,
    want: tuple[bool, bool], kinds: tuple[str, ...] = ("token", "target", "ratio"),
) -> tuple[Tensor, Stats, Sweep]:  # fmt: skip
    """`rows` have a gradient (or may have one), `dead` are known to have none; indices into the [B * T] tokens."""
    flat, shape = hidden.reshape(-1, hidden.shape[-1]).contiguous(), targets.shape
    gradients = Gradients(flat, head, want)
    table = RowColumns(targets, columns, objective)
    chunk = Chunk(min(chunk_rows(head.shape[0]), max(rows.numel(), dead.numel(), 1)), head.shape[0], head)
    per_token = objective.ratio == "token"
    if per_token and any(want):
        _pass("objective", table, flat, head, rows, chunk, gradients)
        _pass("figures", table, flat, head, dead, chunk, None)
    else:
        _pass("figures", table, flat, head, torch.cat([rows, dead]), chunk, None)
    terms = _terms(table, columns, objective, shape, kinds, not per_token)
    if not per_token and any(want):  # the rows that turned out to have a gradient, again
        table.grad, table.slope, moving = _moving(terms, table, columns, objective, rows)
        _pass("given", table, flat, head, moving, chunk, gradients)
    return terms.loss, terms.stats, gradients.sweep(hidden.shape)


def _terms(
    table: RowColumns, columns: Columns, objective: Objective, shape: torch.Size, kinds: tuple[str, ...], want_grad: bool
) -> Terms:
    logp, entropy, top1 = (t.view(shape) for t in (table.logp, table.entropy, table.top1))
    return kernel_tokens.evaluate(logp, columns, objective, entropy=entropy, top1=top1, kinds=kinds, want_grad=want_grad)


def _moving(
    terms: Terms, table: RowColumns, columns: Columns, objective: Objective, rows: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """(dL/dlogp, dL/dH or None, the rows where one of them is not 0)."""
    assert terms.grad is not None
    grad = terms.grad.reshape(-1)
    if objective.entropy_coef == 0:
        return grad, None, rows[grad[rows] != 0]
    broken = torch.isinf(table.logp)  # an infinite log-probability leaves the token out, its bonus too
    for column in columns[:3]:
        broken = broken if column is None else broken | torch.isinf(column.reshape(-1))
    return grad, torch.where(broken, 0, -objective.entropy_coef * columns.weight.reshape(-1).float()), rows


def cross_entropy(
    hidden: Tensor, head: Tensor, targets: Tensor, weight: Tensor, rows: Tensor, want: tuple[bool, bool]
) -> tuple[Tensor, Stats, Sweep]:
    """-sum w log p is REINFORCE with advantage 1."""
    columns = Columns(None, None, None, torch.ones_like(weight), weight)
    return linear_loss(
        hidden, head, targets, columns, rows, rows[:0], Objective(surrogate="reinforce"), want, ("token", "target")
    )


def logits_loss(
    logits: Tensor, targets: Tensor, columns: Columns, rows: Tensor, objective: Objective, want: bool, inplace: bool
) -> tuple[Tensor, Stats, Tensor | None]:
    """(loss, Stats, d logits). Logits [B, T, V] are read where they lie, by row index; `inplace` leaves their gradient there."""
    V = logits.shape[-1]
    flat = logits.reshape(-1, V)
    flat = flat if flat.stride(1) == 1 else flat.contiguous()
    out = flat if inplace else torch.zeros_like(flat)
    table = RowColumns(targets, columns, objective)
    per_token = objective.ratio == "token"
    rule = "objective" if per_token and want else "figures"
    table.launch(rule, flat, out, rows, 0, rows.numel(), gather=True)
    terms = _terms(table, columns, objective, targets.shape, ("token", "target", "ratio"), not per_token)
    if not per_token and want:
        table.grad, table.slope, _ = _moving(terms, table, columns, objective, rows)
        table.launch("given", flat, out, rows, 0, rows.numel(), gather=True)
    if inplace and want:
        out.masked_fill_((columns.weight.reshape(-1) == 0)[:, None], 0)
    return terms.loss, terms.stats, out.view(logits.shape) if want else None


def linear_kl(
    hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, weight: Tensor, rows: Tensor,
    kind: str, temperature: float, b: float, want: tuple[bool, bool],
) -> tuple[Tensor, Stats, Sweep]:  # fmt: skip
    """Two chunks of logits at a time, half as many rows each."""
    flat, teacher = (h.reshape(-1, h.shape[-1]).contiguous() for h in (hidden, teacher_hidden))
    V, n = head.shape[0], weight.numel()
    gradients, w = Gradients(flat, head, want), kernel_tokens.flat(weight)
    size = min(chunk_rows(V, 8), max(rows.numel(), 1))
    ours, theirs = Chunk(size, V, head), Chunk(size, V, teacher_head)
    value, entropy, teacher_entropy, agree = (torch.zeros(n, dtype=torch.float32, device=hidden.device) for _ in range(4))
    for first in range(0, rows.numel(), size):
        part = rows[first : first + size]
        hidden_rows = flat[part]
        logits, d_logits = ours.fill(hidden_rows, head)
        t, _ = theirs.fill(teacher[part], teacher_head)
        run(kl_kernel, part.numel(), flat.device, logits, logits.stride(0), t, t.stride(0), d_logits, d_logits.stride(0), rows, first,
            w, value, entropy, teacher_entropy, agree, V, 1.0 / temperature, b,
            KIND=kind, GRAD=any(want), NARROW=d_logits.dtype != logits.dtype, BLOCK=KL_BLOCK, num_warps=8, num_stages=1)  # fmt: skip
        gradients.add(part, hidden_rows, d_logits)
    sums = {name: t[rows].sum(dtype=torch.float64) for name, t in (("divergence", value), ("entropy", entropy), ("teacher_entropy", teacher_entropy), ("agreement", agree))}  # fmt: skip
    sums |= {"tokens": torch.full_like(sums["divergence"], rows.numel()), "nonfinite": (~torch.isfinite(value[rows])).sum()}
    return (weight.reshape(-1)[rows].float() * value[rows]).sum(), Stats.of(sums), gradients.sweep(hidden.shape)
