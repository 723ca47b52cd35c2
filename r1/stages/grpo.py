"""Group Relative Policy Optimization (DeepSeekMath 4.1; R1 v1 2.2.1) as a LightningModule.

One training step is one rollout and `epochs * minibatches` optimiser updates on it, and reads top to bottom in `training_step`.
Where we differ from the paper's equation, a switch says so: the ratio per token or of the whole output, the clip, the KL
estimator (all in `objective`), the advantage's normalisation, the aggregation over tokens.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal

from r1_kernels import Objective, Stats, policy_loss
from torch import Tensor
from torch.optim import Optimizer

from r1 import metrics
from r1.losses import has_signal
from r1.policy import Policy, Reference
from r1.policy.sharding import from_all_ranks
from r1.records import Batch, Group, Problem, Trace
from r1.rewards import Reward
from r1.rollout.engine import Engine, Sampling
from r1.rollout.sampler import sample
from r1.stages.ahead import Ahead, pack_groups, unpack_groups
from r1.stages.base import Stage, added
from r1.stages.logps import LogProbs, with_kl
from r1.stages.minibatches import Minibatch, Minibatches
from r1.stages.optimizers import Schedule
from r1.stages.settings import check_grpo, token_limits
from r1.stages.summary import describe, mismatch, staleness
from r1.tasks.base import Task, phases
from r1.tasks.loader import PhasedLoader


class GRPO(Stage):
    """Sample groups, score them, compare siblings, update.

    engine, sampling     who samples and how; log-probabilities are taken at the same temperature
    length_schedule      optimiser update -> token limit from then on, e.g. {8200: 65536} beside max_new_tokens=32768 (v2 2.1)
    objective            every switch of the per-token loss (`r1_kernels.Objective`)
    advantage            groups -> groups with advantages (`losses.advantages` with its options)
    prompts_per_step, group_size   P and G; the paper's 32 questions with 16 outputs each (v2 2.1)
    minibatches, epochs  optimiser updates per rollout: the paper cuts 8,192 outputs into 16 minibatches, one epoch
    aggregation          how token losses become one number: grpo, bnpo, dr_grpo, dapo, sequence_sum (`losses.token_weights`)
    dynamic_sampling     rounds of further prompts drawn to replace groups without signal (DAPO); 0 draws none
    mask_truncated       leave completions that hit the token limit out of the loss and its normalisers
    old_logp             "sampler" trusts the engine's log-probabilities; "policy" computes them again before the first update
    reference_refresh    renew the KL reference after so many updates (the paper: 400), `reference_alpha` < 1 as moving average
    kl_in_reward         weight of the sampled KL taken off the reward instead of put in the loss; 0 is off
    micro_tokens         tokens of one forward pass, padding included unless packed
    packing              no padding inside the model: several completions a row (`policy.packing`)
    rollout_ahead        sample the next step's groups while this step updates (`stages.ahead`): they are one step old when used
    """

    policy: Policy
    counters = (*Stage.counters, "updates", "num_tokens", "unjudged_in_a_row")

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        engine: Engine,
        objective: Objective,
        advantage: Callable[[list[Group]], list[Group]],
        optimizer: Callable[[Policy], Optimizer],
        sampling: Sampling,
        length_schedule: dict[int, int] | None = None,
        schedule: Schedule | None = None,
        steps: int = 100,
        prompts_per_step: int = 32,
        group_size: int = 16,
        minibatches: int = 1,
        epochs: int = 1,
        aggregation: Literal["grpo", "bnpo", "dr_grpo", "dapo", "sequence_sum"] = "grpo",
        dynamic_sampling: int = 0,
        mask_truncated: bool = False,
        old_logp: Literal["sampler", "policy"] = "sampler",
        reference_refresh: int = 0,
        reference_alpha: float = 1.0,
        kl_in_reward: float = 0.0,
        micro_tokens: int = 8192,
        packing: bool = False,
        rollout_ahead: bool = False,
        max_grad_norm: float = 1.0,
        stop_after: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(policy, reward, optimizer, schedule, steps, max_grad_norm, stop_after, seed)
        check_grpo(
            objective, sampling, prompts_per_step, group_size, minibatches, epochs, old_logp, dynamic_sampling, micro_tokens
        )
        if packing:
            policy.with_packing()  # before the reference is copied from it
        policy.without_dropout()  # dropout would make the ratio of the very first update differ from 1
        self.engine, self.sampling = engine, sampling
        self.limits = token_limits(sampling, length_schedule or {}, policy, reward)
        self.objective, self.advantage = objective, advantage
        self.prompts_per_step, self.group_size = prompts_per_step, group_size
        self.minibatches, self.epochs, self.micro_tokens = minibatches, epochs, micro_tokens
        self.dynamic_sampling, self.old_logp, self.kl_in_reward = dynamic_sampling, old_logp, kl_in_reward
        kl_in_loss = objective.kl != "none"
        self.reference = Reference(policy, reference_refresh, reference_alpha) if kl_in_loss or kl_in_reward > 0 else None
        if self.reference is None and reference_refresh:
            warnings.warn(
                f"reference_refresh={reference_refresh} has no effect: without a KL term there is no reference", stacklevel=2
            )
        self.logps = LogProbs(policy, self.reference, sampling.temperature, old_logp == "policy", kl_in_loss)
        every_row = kl_in_loss or objective.entropy_coef > 0
        self.cutting = Minibatches(minibatches, aggregation, mask_truncated, every_row, micro_tokens, policy.pad_id, policy.packs)
        self.updates = 0  # optimiser updates done: the version of the weights
        self.num_tokens = 0
        self.unjudged_in_a_row = 0
        self.last_groups: list[Group] = []
        self.ahead = Ahead(getattr(engine, "separate", False)) if rollout_ahead else None
        self.prompts: PhasedLoader[Problem] | None = None

    @property
    def updates_per_step(self) -> int:
        return self.minibatches * self.epochs

    @property
    def begun(self) -> int:
        """Optimiser updates done when this step began: what goes by updates (length schedule, late rewards) goes by these."""
        return self.rollout_step * self.updates_per_step

    def loader(self, task: Task) -> PhasedLoader[Problem]:
        """The prompts of the run. With dynamic sampling each step is given enough of them for every round."""
        begin = {-(-start // self.updates_per_step): problems for start, problems in phases(task)}  # at the next whole step
        per_step = self.prompts_per_step * (1 + self.dynamic_sampling)
        self.prompts = PhasedLoader(list(begin.items()), per_step, self.steps, self.seed)
        return self.prompts

    def training_step(self, problems: list[Problem], batch_idx: int) -> None:
        groups = self.rollout(problems[: self.prompts_per_step])  # Problem -> Trace
        groups = self.score(groups)  # -> Score
        groups = self.compare(groups)  # -> advantage
        self.count_outage(groups)
        groups = self.refill(groups, problems[self.prompts_per_step :])
        batches = self.collate(groups)  # -> Batch
        self.look_ahead()
        stats, figures = self.update(batches)  # -> weights
        self.report(groups, stats, figures)  # -> metrics

    def sharded_modules(self) -> list[Any]:
        return [self.policy, *([self.reference.frozen] if self.reference is not None else [])]

    def rollout(self, problems: list[Problem]) -> list[Group]:
        """This step's groups: those sampled ahead, where there are any, else sampled now."""
        taken = self.ahead.take() if self.ahead is not None else None
        return self.sample(problems) if taken is None else taken  # a rank that was dealt no group took none: []

    def sample(self, problems: list[Problem]) -> list[Group]:
        """G completions for each of this rank's problems, with the weights of now."""
        with self.clock("rollout"):
            self.engine.sync(self.policy, self.updates)
            return self._draw(problems, self.rollout_step)

    def _draw(self, problems: list[Problem], step: int) -> list[Group]:
        keys, sampling = (self.seed, "grpo", step), replace(self.sampling, max_new_tokens=self.token_limit(step))
        groups = sample(self.engine, self.policy, self.my_share(problems), self.group_size, sampling, keys)
        getattr(self.engine, "release", lambda: None)()  # what sampling alone needs may go
        return groups

    def look_ahead(self) -> None:
        """Begin the next step's rollouts with the weights that this step's update starts from (`rollout_ahead`)."""
        step = self.rollout_step + 1
        if self.ahead is None or step >= self.steps:
            return
        if self.prompts is None:
            raise ValueError(
                "rollout_ahead needs to know the next step's problems: train on the loader that stage.loader(task) made"
            )
        problems = self.prompts.step(step)[: self.prompts_per_step]
        with self.clock("rollout"):
            self.engine.sync(self.policy, self.updates)
            self.ahead.start(lambda: self._draw(problems, step))

    def compare(self, groups: list[Group]) -> list[Group]:
        """Advantages among the groups of all ranks: some normalisations look beyond a group. This rank's are returned."""
        parts = from_all_ranks(groups)
        first = sum(len(part) for part in parts[: self.global_rank])
        return self.advantage([group for part in parts for group in part])[first : first + len(groups)]

    def token_limit(self, step: int) -> int:
        """What the length schedule allows a completion of this step."""
        return next(limit for start, limit in self.limits if start <= step * self.updates_per_step)

    def refill(self, groups: list[Group], problems: list[Problem]) -> list[Group]:
        """Dynamic sampling (DAPO 3.2): groups without signal give way to groups of further problems that have one, P problems a
        round, until every group speaks or the rounds are over. Without dynamic sampling there are no further problems."""
        for start in range(0, len(problems), self.prompts_per_step):
            (silent,) = self.over_ranks(sum(not has_signal(group) for group in groups))
            if not silent:
                break
            fresh = self.compare(self.score(self.sample(problems[start : start + self.prompts_per_step])))
            groups = sorted([*groups, *fresh], key=has_signal, reverse=True)[: len(groups)]  # a stable sort: silent ones go last
        return groups

    def score(self, groups: list[Group]) -> list[Group]:
        """Rewards, and the KL penalty where it is part of the reward."""
        with self.clock("score"):
            groups = self.reward.at(self.begun)(groups)
        if self.kl_in_reward:
            with self.clock("reference"):
                groups = with_kl(groups, self.kl_in_reward, self.cutting, partial(self.side_by_side, compute=self.logps.kl))
        return groups

    def count_outage(self, groups: list[Group]) -> None:
        """A step in which nothing could be judged changes no weight; `stop_after` of them in a row end the run."""
        traces = [trace for group in groups for trace in group.traces]
        total, judged = self.over_ranks(len(traces), sum(trace.score.total is not None for trace in traces))
        self.unjudged_in_a_row = self.unjudged_in_a_row + 1 if total and not judged else 0
        if self.unjudged_in_a_row >= self.stop_after:
            silent = sorted({name for t in traces for name, value in t.score.parts.items() if math.isnan(value or 0.0)})
            raise RuntimeError(
                f"no completion could be judged in {self.unjudged_in_a_row} steps in a row: reward part {', '.join(silent)} gave no "
                f"verdict (NaN) every time. The weights are as the last judged step left them; see to the part and resume."
            )

    def collate(self, groups: list[Group]) -> list[Minibatch]:
        """The rollout as minibatches of micro-batches, normalised over the groups of all ranks."""
        (total,) = self.over_ranks(len(groups))
        keys, limit = (self.seed, "minibatch", self.rollout_step), self.token_limit(self.rollout_step)
        dealt = self.cutting.deal(groups, int(total), self.global_rank, self.trainer.world_size, *keys)
        return [self.cutting.batches(part, limit, self.over_ranks) for part in dealt]

    def update(self, minibatches: list[Minibatch]) -> tuple[Stats | None, dict[str, float]]:
        """Every optimiser update of this rollout; the statistics of all of them, and the mean of each figure."""
        with self.clock("reference"):
            minibatches = [self.side_by_side(minibatch, self.logps.before_update) for minibatch in minibatches]
        done = []
        with self.clock("update"):
            for minibatch in minibatches * self.epochs:
                done.append(self.optimise(minibatch, self.loss))
                self.updates += 1
                if self.reference is not None:
                    self.reference.after_update(self.policy)
        if self.ahead is not None:
            with self.clock("rollout"):  # what the update did not cover
                self.ahead.finish()
        stats, figures = zip(*done, strict=True)
        means = {name: sum(f[name] for f in figures) / len(figures) for name in figures[0]}
        return added(stats), means | mismatch(list(chain(*minibatches)), from_all_ranks)

    def loss(self, batch: Batch) -> tuple[Tensor, Stats]:
        batch = batch.to(self.device)
        return policy_loss(
            self.policy.hidden(batch), self.policy.head, batch.targets, batch.old_logp, batch.ref_logp, batch.advantage, batch.weight,
            objective=self.objective, sampler_logp=batch.sampler_logp,
        )  # fmt: skip

    def rehearsal(self, loader: PhasedLoader[Problem]) -> Minibatch:
        """The largest micro-batch this run can meet: the longest prompt with completions of full length, reference included."""
        longest = max((self.policy.encode(problem) for problem in loader.items), key=len)
        T = max(limit for _, limit in self.limits)
        rows = max(1, min(self.micro_tokens // (len(longest) + T), self.prompts_per_step * self.group_size))
        trace = Trace(loader.items[0], longest, [min(self.policy.eos_ids)] * T, [-1.0] * T, "", "stop", advantage=1.0)
        batches = self.cutting.batches([Group(trace.problem, (trace,) * rows)], T, lambda *sums: list(sums))  # of this rank alone
        return [self.logps.before_update(batch) for batch in batches[:1]]

    def report(self, groups: list[Group], stats: Stats | None, figures: dict[str, float]) -> None:
        self.last_groups = groups
        rollout_seconds = self.seconds.get("rollout", 0.0)
        values = describe(groups, from_all_ranks)
        tokens = values[metrics.MEAN_LENGTH] * values.pop("rows")
        self.num_tokens += int(tokens)
        values |= figures | (metrics.of_stats(stats.as_dict()) if stats is not None else {})
        values |= {metrics.NUM_TOKENS: float(self.num_tokens), metrics.WEIGHT_VERSION: float(self.updates)}
        values[metrics.STALENESS] = staleness(groups, self.updates - self.updates_per_step, from_all_ranks)
        values[metrics.TOKENS_PER_SECOND] = tokens / rollout_seconds if rollout_seconds else 0.0
        self.log_step(values | self._scheduled())

    def _scheduled(self) -> dict[str, float]:
        """What changes on the way by plan: the token limit, and the weights of parts that begin late (0 before)."""
        weights = self.reward.at(self.begun).weights
        figures = {metrics.part_weight(name): weights.get(name, 0.0) for name, start in self.reward.starts.items() if start}
        return figures | ({metrics.TOKEN_LIMIT: float(self.token_limit(self.rollout_step))} if len(self.limits) > 1 else {})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.ahead is not None:  # the weights that sampled them are gone
            checkpoint["r1"]["ahead"] = pack_groups(from_all_ranks(self.ahead.groups or []))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        sampled = unpack_groups(checkpoint["r1"].get("ahead", []))
        if self.ahead is not None and sampled:
            self.ahead.groups = self.my_share(sampled)
