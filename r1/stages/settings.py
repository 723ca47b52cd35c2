"""Settings of GRPO that mean nothing together, refused by name and with the way out."""

from __future__ import annotations

from r1_kernels import Objective

from r1.policy import Policy
from r1.rewards import Reward
from r1.rollout.engine import Sampling


def check_grpo(
    objective: Objective,
    sampling: Sampling,
    prompts: int,
    group_size: int,
    minibatches: int,
    epochs: int,
    old_logp: str,
    rounds: int,
    micro_tokens: int,
) -> None:
    """Raises ValueError. `rounds` are those of dynamic sampling."""
    if group_size < 2:
        raise ValueError(f"`group_size` must be at least 2 (advantages compare siblings), got {group_size}")
    if min(prompts, minibatches, epochs) < 1 or rounds < 0:
        raise ValueError(
            f"expected prompts_per_step, minibatches, epochs >= 1 and dynamic_sampling >= 0, got {prompts}, {minibatches}, {epochs}, {rounds}"
        )
    if micro_tokens < 1:
        raise ValueError(f"micro_tokens, of one forward pass, must be at least 1, got {micro_tokens}")
    if minibatches > prompts:
        raise ValueError(f"{minibatches} minibatches need at least as many groups, got prompts_per_step={prompts}")
    if sampling.temperature <= 0:
        raise ValueError("training needs temperature > 0: greedy completions of one prompt are all the same")
    if objective.temperature != sampling.temperature:
        raise ValueError(
            f"objective.temperature ({objective.temperature}) must be the sampling temperature ({sampling.temperature}): ratios "
            f"compare the same distribution"
        )
    if objective.tis_cap is not None and old_logp == "sampler":
        raise ValueError(
            "objective.tis_cap corrects the sampler against the trainer's own old log-probabilities: set stage.old_logp=policy"
        )
    if (sampling.top_p < 1 or sampling.top_k > 0) and old_logp == "sampler":
        raise ValueError(
            "top-p or top-k sampling renormalises the sampler's log-probabilities, so they are no old policy of this loss; "
            "set stage.old_logp=policy (and objective.tis_cap to correct for the difference), or top_p=1 top_k=0"
        )


def token_limits(sampling: Sampling, schedule: dict[int, int], policy: Policy, reward: Reward) -> list[tuple[int, int]]:
    """(first optimiser update, token limit), the latest first. What would fail at a later update is refused at the start."""
    limits = {0: sampling.max_new_tokens} | schedule
    room = getattr(policy.model.config, "max_position_embeddings", None)
    if min(limits) < 0 or min(limits.values()) < 1:
        raise ValueError(f"length_schedule maps optimiser updates (0 or more) to token limits (1 or more), got {schedule}")
    if room is not None and max(limits.values()) >= room:
        raise ValueError(
            f"a completion of {max(limits.values())} tokens does not fit the model's {room} positions beside a prompt: lower "
            f"sampling.max_new_tokens or length_schedule"
        )
    fixed = [name for name, part in reward.parts.items() if hasattr(part, "limit")]
    if schedule and fixed:
        raise ValueError(f"reward parts {', '.join(fixed)} reckon with one token limit: leave out them or the length_schedule")
    return sorted(limits.items(), reverse=True)
