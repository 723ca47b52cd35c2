"""What is a reflection worth? Three measures under the names of Thought Anchors (2506.19143), all as a difference of P(right):

    forced_answer    made to answer right after the reflection, against right before it
    resampling       going on after it, against going on from before it (where it may come again)
    counterfactual   going on after it, against those continuations from before it that say something else instead

Positive: the reflection helps. The paper takes 100 rollouts a side; here a sequential rule stops where the answer is clear
(`analysis.sequential`). `kl` is the paper's own unit: the divergence of the answers without the sentence from those with it.

    found = importance(policy, HFEngine(policy), Sampling(max_new_tokens=192), spans, measure="counterfactual")
    found[0].value, found[0].interval, found[0].finding, found[0].samples
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Literal, get_args

from r1.analysis import sequential
from r1.analysis.reflection import reflects
from r1.analysis.resampling import Prefix, Resampler, Rollout, Span, forced
from r1.analysis.sequential import Counts
from r1.evaluation.intervals import difference_interval
from r1.rollout.engine import Engine, Sampling

if TYPE_CHECKING:
    from r1.policy import Policy

Measure = Literal["forced_answer", "resampling", "counterfactual"]
HEAD = 24  # characters of a continuation in which another reflection must begin to count as "the same again"


@dataclass(frozen=True, slots=True)
class Importance:
    """kept, replaced: right answers with the span and without it. value: P(right | kept) - P(right | replaced), None where no
    continuation came out differently. interval: 95 % (Newcombe). samples: rollouts drawn for it, discarded ones included.
    chance: how likely the full sample makes it a finding (`sequential.chances`)."""

    span: Span
    measure: Measure
    kept: Counts
    replaced: Counts
    kl: float
    samples: int
    chance: float

    @property
    def value(self) -> float | None:
        return self.kept.share - self.replaced.share if self.kept.n and self.replaced.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """(-1, 1) where one side is empty: nothing is known."""
        if not self.kept.n or not self.replaced.n:
            return -1.0, 1.0
        return difference_interval(self.replaced.right, self.replaced.n, self.kept.right, self.kept.n)

    @property
    def finding(self) -> bool:
        """Whether the fixed design would, more likely than not, see a difference beyond the margin."""
        return self.chance >= 0.5


@dataclass
class _Side:
    rollouts: list[Rollout] = field(default_factory=list)

    @property
    def counts(self) -> Counts:
        return Counts(sum(r.right for r in self.rollouts), len(self.rollouts))


@dataclass
class _State:
    """One span while it is being measured. drawn: samples a side, before continuations that say the same are left out."""

    span: Span
    kept: _Side = field(default_factory=_Side)
    replaced: _Side = field(default_factory=_Side)
    drawn: int = 0

    def comparison(self, full: int) -> sequential.Comparison:
        counts = self.replaced.counts
        expected = round(full * counts.n / self.drawn) if self.drawn else full
        return sequential.Comparison(counts, self.kept.counts, (max(counts.n, expected), full))


def importance(
    policy: Policy,
    engine: Engine,
    sampling: Sampling,
    spans: Sequence[Span],
    measure: Measure = "resampling",
    full: int = sequential.FULL,
    margin: float = sequential.MARGIN,
    sequentially: bool = True,
    seed: int = 0,
    same: Callable[[str, str], bool] | None = None,
) -> list[Importance]:
    """The importance of each span, in order; both sides of all spans are sampled in one batch a round.

    full          samples a side of the fixed design; with `sequentially=False` all of them are drawn
    margin        differences of P(right) up to this size are no findings
    same          (span's text, continuation) -> does the continuation say the same again? counterfactual keeps the others. By default
                  a continuation that begins with a reflection does
    Raises ValueError for an unknown measure, greedy sampling, and full below 1.
    """
    if measure not in get_args(Measure):
        raise ValueError(f"measure must be one of {', '.join(get_args(Measure))}, got {measure!r}")
    if full < 1:
        raise ValueError(f"full, the samples a side of the fixed design, must be at least 1, got {full}")
    sampler = Resampler(policy, engine, sampling, seed)
    states = [_State(span) for span in spans]
    keep: Callable[[str, str], bool] = (
        (lambda span, text: False) if measure != "counterfactual" else (same or begins_with_reflection)
    )
    going, n = list(range(len(states))), min(full, sequential.FIRST) if sequentially else full
    while going:
        _round(policy, sampler, [states[i] for i in going], measure, n, keep)
        if not sequentially:
            break
        going = [i for i in sequential.unsettled([s.comparison(full) for s in states], margin) if states[i].drawn < full]
        n = min(sequential.STEP, min((full - states[i].drawn for i in going), default=0))
    found = sequential.chances([s.comparison(full) for s in states], margin)
    return [_importance(state, measure, float(chance)) for state, chance in zip(states, found)]


def begins_with_reflection(span: str, continuation: str) -> bool:
    """Whether a continuation sets out to reflect as well: one of our cues in its first words."""
    head = continuation.lstrip()[:HEAD]
    return reflects(head)


def _round(
    policy: Policy, sampler: Resampler, states: Sequence[_State], measure: Measure, n: int, same: Callable[[str, str], bool]
) -> None:
    """n more samples on both sides of every span."""
    prefixes: list[Prefix] = []
    for state in states:
        span = state.span
        for tokens in (span.after, span.before):
            prefixes.append(forced(policy, span.trace, tokens) if measure == "forced_answer" else Prefix(span.trace, tokens))
    rollouts = sampler(prefixes, n)
    for state, kept, replaced in zip(states, rollouts[::2], rollouts[1::2]):
        state.kept.rollouts += kept
        state.replaced.rollouts += [r for r in replaced if not same(state.span.text, r.text)]
        state.drawn += n


def _importance(state: _State, measure: Measure, chance: float) -> Importance:
    kept, replaced = state.kept, state.replaced
    kl = divergence([r.answer for r in replaced.rollouts], [r.answer for r in kept.rollouts])
    return Importance(state.span, measure, kept.counts, replaced.counts, kl, 2 * state.drawn, chance)


def divergence(first: Sequence[str | None], second: Sequence[str | None]) -> float:
    """KL(first || second) in nats between the distributions of two lists of answers; None is an answer of its own.

    Every answer of either list gets half a sample more (Krichevsky-Trofimov), so that an answer which one side never gave does
    not make it infinite; it is therefore above 0 for small samples of one distribution, and says less there than `value` does.

    >>> divergence(["1"] * 50, ["1"] * 50), round(divergence(["1"], ["2"]), 3)
    (0.0, 0.549)
    """
    a, b = Counter(first), Counter(second)
    names = set(a) | set(b)
    p, q = [(a[x] + 0.5) / (len(first) + 0.5 * len(names)) for x in names], [(b[x] + 0.5) / (len(second) + 0.5 * len(names)) for x in names]  # fmt: skip
    return sum(x * log(x / y) for x, y in zip(p, q))
