"""Distillation: a student learns what a teacher wrote (v1 2.4), or how likely the teacher finds each token.

                  teacher null                             teacher: a policy over the same vocabulary
    traces, rows  SFT on the samples the reward likes,     logit distillation: at every token of them, a divergence between
                  as the papers do it                      the two distributions instead of the one token
    on_policy     refused: nobody says what is right       on-policy distillation: the student writes, the teacher judges each
                                                           token (GKD, Agarwal et al. 2024)

The two choices are independent, so the stage is: where do examples come from, and which loss do their tokens have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r1_kernels import Stats
from torch import Tensor
from torch.optim import Optimizer

from r1.policy import Policy
from r1.policy.sharding import from_all_ranks
from r1.records import Batch, Group, Problem, Trace
from r1.rewards import Reward
from r1.rollout.engine import Engine, Sampling
from r1.rollout.sampler import sample
from r1.rollout.trace_file import read_traces
from r1.stages.examples import Example
from r1.stages.optimizers import Schedule
from r1.stages.sft import SFT
from r1.stages.summary import describe
from r1.stages.teacher import Teacher
from r1.tasks.base import unique_ids
from r1.tasks.loader import StepLoader


@dataclass(frozen=True)
class OnPolicy:
    """How the student samples what it is then taught: `samples` completions of each of `prompts_per_step` problems a step."""

    sampling: Sampling
    prompts_per_step: int = 32
    samples: int = 1

    def __post_init__(self) -> None:
        if min(self.prompts_per_step, self.samples) < 1:
            raise ValueError(f"expected prompts_per_step and samples >= 1, got {self.prompts_per_step} and {self.samples}")


class Distill(SFT):
    """Without `traces` and `on_policy` the examples are the task's documents, such as curated rows (`task=documents`).

    traces       trace files of the teacher (`traces/*.jsonl.zst` of its run). Their texts are tokenised anew with the student's
                 template and tokenizer. Truncated ones are never kept: the student would learn not to stop
    right_by     parts of the reward of which the first that applies to a trace must be 1 ([accuracy]; not the total, which a wrong answer
                 in the right format may bring to 1 as well); null keeps all that could be judged
    per_problem  keep at most so many traces of one problem, the first ones; null keeps all
    on_policy    the student's own samples, drawn anew each step; the reward scores them for the record alone
    teacher      a policy or its folder: learn its distribution. divergence: forward, reverse or jsd with `mixture`; null is forward on
                 traces and reverse on the student's own samples. temperature softens both distributions

    The other arguments are those of `SFT`. `tokens_per_step`, `max_tokens` and `packing` cut steps out of traces; on-policy a step
    is all of its samples. Raises ValueError for combinations of which a part would be ignored.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        optimizer: Callable[[Policy], Optimizer],
        engine: Engine | None = None,
        traces: str | list[str] | None = None,
        right_by: Sequence[str] | None = None,
        per_problem: int | None = None,
        on_policy: OnPolicy | None = None,
        teacher: Policy | str | None = None,
        divergence: Literal["forward", "reverse", "jsd"] | None = None,
        mixture: float | None = None,
        temperature: float = 1.0,
        schedule: Schedule | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        tokens_per_step: int | None = None,
        micro_tokens: int = 8192,
        max_tokens: int | None = None,
        packing: bool = False,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        if traces is not None and on_policy is not None:
            raise ValueError("`traces` are the teacher's samples, `on_policy` asks for the student's own: leave one of them null")
        asked = dict(divergence=divergence, mixture=mixture, temperature=None if temperature == 1 else temperature)
        _refuse("without a teacher's distribution there is nothing to compare with (set stage.teacher)", asked, teacher is None)
        kept = dict(right_by=right_by, per_problem=per_problem)
        _refuse("only traces are filtered by the reward", kept, traces is None)
        cut = dict(tokens_per_step=tokens_per_step, max_tokens=max_tokens, packing=packing or None)
        _refuse("on-policy a step is all of the student's samples", cut, on_policy is not None)
        super().__init__(
            policy, optimizer, reward, schedule, steps, epochs, tokens_per_step or 1024, micro_tokens, False, max_tokens, packing,
            max_grad_norm, stop_after, seed,
        )  # fmt: skip
        self.files = [Path(name) for name in ([traces] if isinstance(traces, str) else traces or [])]
        missing = [str(file) for file in self.files if not file.is_file()]
        if missing or (traces is not None and not self.files):
            raise ValueError(f"expected the teacher's trace files in `stage.traces`, not found: {missing or 'none given'}")
        unknown = sorted(set(right_by or ()) - set(reward.parts))
        if unknown:
            raise ValueError(f"right_by names {', '.join(unknown)}, but the reward has {', '.join(sorted(reward.parts))}")
        self.right_by, self.per_problem = right_by, per_problem
        self.on_policy, self.engine = on_policy, engine
        self.teacher = self._teacher(teacher, divergence, mixture, temperature)
        self.last_groups: list[Group] = []

    def _teacher(self, teacher: Any, divergence: Any, mixture: float | None, temperature: float) -> Teacher | None:
        if teacher is None:
            if self.on_policy is not None:
                raise ValueError(
                    "on-policy distillation needs a `teacher` to judge the student's tokens: set stage.teacher to its folder"
                )
            return None
        if self.on_policy is not None and self.engine is None:
            raise ValueError("on-policy distillation needs an `engine` to sample from the student, e.g. HFEngine(policy)")
        divergence = divergence or ("forward" if self.on_policy is None else "reverse")
        make = Teacher if isinstance(teacher, Policy) else Teacher.load
        return make(teacher, self.policy, divergence=divergence, mixture=mixture, temperature=temperature)

    def loader(self, task: Any) -> Any:
        """The examples of traces (whose problems come with them) or of the task's documents; on-policy its problems."""
        if self.on_policy is None:
            return super().loader(task)
        problems = unique_ids(task.train, f"the training set of {task.name}")
        loader = StepLoader(problems, self.on_policy.prompts_per_step, self.fixed_steps, self.seed, self.epochs)
        self.steps = len(loader)
        return loader

    def training_step(self, items: list[Any], batch_idx: int) -> None:
        if self.on_policy is None:
            return super().training_step(items, batch_idx)
        groups = self.last_groups = self.sample(self.my_share(items))
        figures = self.learn([Example(t.prompt_ids, t.token_ids) for group in groups for t in group.traces])
        seen = describe(groups, from_all_ranks)
        del seen["rows"]
        self.log_step(seen | figures)

    def sample(self, problems: list[Problem]) -> list[Group]:
        """The student's completions of now, scored."""
        plan = self.on_policy
        self.engine.sync(self.policy, self.rollout_step)
        with self.clock("rollout"):
            groups = sample(
                self.engine, self.policy, problems, plan.samples, plan.sampling, (self.seed, "distill", self.rollout_step)
            )
        with self.clock("score"):
            return self.reward(groups)

    def rehearsal(self, loader: Any) -> list[Batch]:
        if self.on_policy is None:
            return super().rehearsal(loader)
        longest = max((self.policy.encode(problem) for problem in loader.items), key=len)
        body = [min(self.policy.eos_ids)] * self.on_policy.sampling.max_new_tokens
        return self.collate([Example(longest, body)] * (self.on_policy.prompts_per_step * self.on_policy.samples))[:1]

    def loss(self, batch: Batch) -> tuple[Tensor, Stats]:
        return super().loss(batch) if self.teacher is None else self.teacher.loss(self.policy, batch.to(self.device))

    def examples(self, task: Any) -> Iterable[Example]:
        if not self.files:
            if not getattr(task, "documents", None):
                raise ValueError("nothing to learn: give `traces`, a task with documents (task=documents), or `on_policy`")
            yield from super().examples(task)
            return
        eos = self.policy.tokenizer.eos_token_id
        for trace in self.keep([trace for file in self.files for trace, _ in read_traces(file)]):
            body = self.policy.tokenizer(trace.text, add_special_tokens=False)["input_ids"]
            yield Example(self.policy.encode(trace.problem), [*body, eos])

    def keep(self, traces: list[Trace]) -> list[Trace]:
        """Finished, right traces, at most `per_problem` of each problem."""
        kept: dict[str, list[Trace]] = {}
        for trace in self.reward.score([trace for trace in traces if not trace.truncated]):
            of_problem = kept.setdefault(trace.problem.id, [])
            if self._right(trace) and (self.per_problem is None or len(of_problem) < self.per_problem):
                of_problem.append(trace)
        return [trace for of_problem in kept.values() for trace in of_problem]

    def _right(self, trace: Trace) -> bool:
        if self.right_by is None:
            return trace.score.total is not None
        return next((value >= 1 for part in self.right_by if (value := trace.score.parts[part]) is not None), False)


def _refuse(why: str, options: dict[str, Any], pointless: bool) -> None:
    """ValueError for options that are set and would be ignored."""
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    if pointless and given:
        raise ValueError(f"{why}, so {', '.join(given)} would be ignored; leave {'it' if len(given) == 1 else 'them'} out")
