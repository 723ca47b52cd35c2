"""One `evaluate` for the callback, the command and the notebook: n samples a problem, judged, voted, with intervals.

    report, traces = evaluate(policy, engine, Benchmark("aime24", problems, k=64))
    report.pass_at_1.value, report.pass_at_1.problems, report.cons_at[64].value

The draws are keyed by (benchmark seed, benchmark name, problem, sample) and not by the training step: the same weights give the
same samples, whoever asks and whenever.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r1 import files
from r1.analysis.reading import EVALUATIONS
from r1.evaluation.intervals import Tally, estimate_cons, estimate_pass, mean_interval, problems_interval
from r1.evaluation.rates import rates
from r1.evaluation.verdicts import Assessed, Judge, assess_group
from r1.records import EvalReport, Group, Problem, Trace
from r1.rollout.engine import Engine, Sampling
from r1.rollout.sampler import sample

if TYPE_CHECKING:
    from r1.policy import Policy
    from r1.policy.prompts import Template
    from r1.rewards import Reward

PAPER_SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_new_tokens=32768)  # v2 D.1
# Beside the scores: what each row of a report holds by problem; None where this problem has no such figure.
BY_PROBLEM: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "mean_length": lambda row: row["mean_length"],
    "reflection_rate": lambda row: row["reflecting"] / row["n"],
    "language_mixing": lambda row: row["mixed"] / row["n"] if "mixed" in row else None,
    "language_consistency": lambda row: row.get("consistency"),
}
Progress = Callable[[int, int], None]  # samples done, samples in all


@dataclass(frozen=True)
class Benchmark:
    """A problem set and how it is sampled.

    k         samples a problem; the paper: 64 for AIME and GPQA, 16 for MATH, 8 for code (v2 D.1)
    cons      sizes of the majority votes, each at most k; the expected vote over subsets where it is smaller
    pass_k    sizes for pass@k beside pass@1
    template  prompt template of this benchmark; None: the policy's own
    judge     traces -> 1.0 where right (a reward part; code is judged by its tests); None: `grading.correct`
    Greedy decoding (temperature 0) is one sample by nature, so it asks for k = 1, and its figures are named "greedy".
    """

    name: str
    problems: Sequence[Problem]
    k: int = 16
    sampling: Sampling = PAPER_SAMPLING
    cons: Sequence[int] = ()
    pass_k: Sequence[int] = ()
    seed: int = 0
    template: Template | None = None
    judge: Judge | None = None

    def __post_init__(self) -> None:
        if not self.problems:
            raise ValueError(f"benchmark {self.name!r} has no problems")
        if len({p.id for p in self.problems}) < len(self.problems):
            raise ValueError(f"benchmark {self.name!r} holds a problem id twice; draws are keyed by it")
        if self.k < 1 or any(not 1 <= k <= self.k for k in (*self.cons, *self.pass_k)):
            raise ValueError(
                f"benchmark {self.name!r}: cons and pass_k must lie between 1 and k, got k={self.k}, cons={list(self.cons)}, pass_k={list(self.pass_k)}"
            )
        if self.sampling.greedy and self.k > 1:
            raise ValueError(
                f"benchmark {self.name!r}: greedy decoding gives the same completion every time, so k must be 1, got k={self.k}"
            )

    @property
    def setting(self) -> dict[str, Any]:
        """What must stand beside every figure of this benchmark."""
        s = self.sampling
        return {"problems": len(self.problems), "samples a problem": self.k, "temperature": s.temperature, "top-p": s.top_p,
                "top-k": s.top_k, "token limit": s.max_new_tokens, "seed": self.seed}  # fmt: skip


def problems_of(task: Any, split: Literal["train", "validation", "test"] = "test", limit: int | None = None) -> list[Problem]:
    """The problems of a task's split, the first `limit` of them: what a benchmark's config names."""
    return list(getattr(task, split))[:limit]


def evaluate(
    policy: Policy,
    engine: Engine,
    benchmark: Benchmark,
    reward: Reward | None = None,
    version: int = 0,
    rows: int = 512,
    progress: Progress | None = None,
) -> tuple[EvalReport, list[Trace]]:
    """Sample every problem k times with this policy's weights, judge, vote and count.

    reward    scores the traces as well, so that they are stored with their parts; figures do not depend on it
    version   what the engine should call these weights (optimiser updates seen)
    rows      completions asked for at once; progress is told after each such chunk
    """
    engine.sync(policy, version)
    groups: list[Group] = []
    size = max(1, rows // benchmark.k)
    with _template(policy, benchmark.template):
        for start in range(0, len(benchmark.problems), size):
            chunk = benchmark.problems[start : start + size]
            keys = (benchmark.seed, f"eval/{benchmark.name}", 0)
            groups += sample(engine, policy, chunk, benchmark.k, benchmark.sampling, keys)
            if progress is not None:
                progress(len(groups) * benchmark.k, len(benchmark.problems) * benchmark.k)
        setting = benchmark.setting | {"template": policy.template.name}
    if reward is not None:
        groups = reward(groups)
    return assess(groups, benchmark, setting), [trace for group in groups for trace in group.traces]


def assess(groups: Sequence[Group], benchmark: Benchmark, setting: dict[str, Any] | None = None) -> EvalReport:
    """The report of samples that are already there (from a trace file, say)."""
    assessed = [assess_group(group, benchmark.judge) for group in groups]
    traces = [trace for group in groups for trace in group.traces]
    unjudged = sum(one.unjudged for one in assessed)
    found = rates([one.looks for one in assessed])
    return EvalReport(
        benchmark=benchmark.name,
        setting=setting or benchmark.setting,
        pass_at_1=estimate_pass(_enough(assessed, 1)),
        cons_at={k: estimate_cons(_enough(assessed, k), k) for k in benchmark.cons},
        pass_at={k: estimate_pass(_enough(assessed, k), k) for k in benchmark.pass_k},
        mean_length=sum(len(t.token_ids) for t in traces) / len(traces),
        truncated=sum(t.truncated for t in traces) / len(traces),
        rates=found | {"unjudged": unjudged / len(traces)} if unjudged else found,
        problems=tuple(one.row() for one in assessed),
    )


def _enough(assessed: Sequence[Assessed], k: int) -> list[Tally]:
    """The tallies for a figure over k samples: a problem of which an outage of the judge left fewer has none."""
    if not any(one.unjudged for one in assessed):
        return [one.tally for one in assessed]
    found = [one.tally for one in assessed if one.tally.n >= k]
    if not found:
        raise ValueError(
            f"the judge failed so often that no problem has {k} judged samples left "
            f"({sum(one.unjudged for one in assessed)} samples unjudged); see what the judge says (r1 doctor for the sandbox) and repeat"
        )
    return found


def tallies(report: EvalReport) -> dict[str, Tally]:
    """Problem id -> tally: what `intervals.compare` takes, from a report or one read back from JSON."""
    return {row["id"]: tally_of(row) for row in report.problems}


def tally_of(row: Mapping[str, Any]) -> Tally:
    """The tally of one row of `EvalReport.problems`."""
    return Tally(tuple(c["count"] for c in row["answers"]), tuple(c["correct"] for c in row["answers"]), row["unparsed"])


def keep_report(folder: str | Path, report: EvalReport, step: int) -> None:
    """Append the report, with the answers to every problem, to the folder's evaluations.jsonl: what paired comparisons read."""
    row = json.dumps({"step": step, **asdict(report)}, ensure_ascii=False) + "\n"
    files.append(Path(folder) / EVALUATIONS, row.encode())


def figures(report: EvalReport) -> dict[str, float]:
    """The report as flat numbers, `pass@1`, `pass@1_low`, `cons@8`, `reflection_rate` ...: what is logged under eval/<benchmark>/.

    Bounds are 95 % over problems. Greedy decoding is not pass@1 of a sampling policy and is named for what it is.
    """
    first = "greedy" if report.setting.get("temperature") == 0 else "pass@1"
    estimates = {first: report.pass_at_1}
    estimates |= {f"cons@{k}": e for k, e in report.cons_at.items()} | {f"pass@{k}": e for k, e in report.pass_at.items()}
    out: dict[str, float] = {}
    for name, estimate in estimates.items():
        out |= {name: estimate.value, f"{name}_low": estimate.problems[0], f"{name}_high": estimate.problems[1]}
    out |= {"mean_length": report.mean_length, "truncated": report.truncated, **report.rates}
    for name, of in BY_PROBLEM.items():
        values = [value for row in report.problems if row["n"] and (value := of(row)) is not None]
        if name not in out or not values:
            continue
        low, high = mean_interval(values) if name == "mean_length" else problems_interval(values)
        out |= {f"{name}_low": low, f"{name}_high": high}
    return {name: value for name, value in out.items() if math.isfinite(value)}


def summary(report: EvalReport) -> dict[str, Any]:
    """`figures` with both intervals and the setting: one side of summary.json's before and after."""
    samples = {"greedy" if report.setting.get("temperature") == 0 else "pass@1": report.pass_at_1.samples}
    samples |= {f"cons@{k}": e.samples for k, e in report.cons_at.items()} | {
        f"pass@{k}": e.samples for k, e in report.pass_at.items()
    }
    return {
        **figures(report),
        **{f"{name}_samples": list(bounds) for name, bounds in samples.items()},
        "benchmark": report.benchmark,
        "setting": report.setting,
    }


@contextmanager
def _template(policy: Policy, template: Template | None) -> Iterator[None]:
    """The policy with another template, for one evaluation."""
    own = policy.template
    policy.template = template or own
    try:
        yield
    finally:
        policy.template = own
