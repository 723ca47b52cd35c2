"""Settings of GRPO that mean nothing together, refused by name and with the way out."""

from __future__ import annotations

from r1_kernels import Objective

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
) -> None:
    """Raises ValueError. `rounds` are those of dynamic sampling."""
    if group_size < 2:
        raise ValueError(f"`group_size` must be at least 2 (advantages compare siblings), got {group_size}")
    if min(prompts, minibatches, epochs) < 1 or rounds < 0:
        raise ValueError(
            f"expected prompts_per_step, minibatches, epochs >= 1 and dynamic_sampling >= 0, got {prompts}, {minibatches}, {epochs}, {rounds}"
        )
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
