"""The one place where metric names are made. They follow TRL where TRL has a name, so that users' panels fit.

train/...                 one value a step        train/rewards/<part>/mean
eval/<benchmark>/...      pass@1, cons@<k>, pass@<k>, each with _low and _high (95 %, over problems)
time/...                  seconds of the step's phases
"""

from __future__ import annotations

STEP = "step"  # the x-axis of every logger: rollout steps of GRPO, optimiser steps of supervised stages

LOSS = "train/loss"
LEARNING_RATE = "train/lr"
GRAD_NORM = "train/grad_norm"
SKIPPED_UPDATES = "train/skipped_updates"  # non-finite loss or gradient: weights left as they were

REWARD = "train/reward"
REWARD_STD = "train/reward_std"
ZERO_STD = "train/frac_reward_zero_std"  # groups whose completions all earned the same: no signal
MASKED = "train/masked_samples"  # completions that could not be judged, or were left out as overlong

MEAN_LENGTH = "train/completions/mean_length"
MIN_LENGTH = "train/completions/min_length"
MAX_LENGTH = "train/completions/max_length"
TOKEN_LIMIT = "train/completions/max_new_tokens"  # where a schedule changes it
CLIPPED = "train/completions/clipped_ratio"  # share that hit the token limit
TERMINATED_LENGTH = "train/completions/mean_terminated_length"

KL = "train/kl"
ENTROPY = "train/entropy"
CLIP_LOW = "train/clip_ratio/low_mean"
CLIP_HIGH = "train/clip_ratio/high_mean"
CLIP_REGION = "train/clip_ratio/region_mean"
RATIO_MEAN = "train/ratio/mean"
RATIO_MAX = "train/ratio/max"
RHO_MEAN = "train/sampler_ratio/mean"  # trainer over sampler; 1 where they agree
TRUNCATED_RATIO = "train/sampler_ratio/truncated"
SAMPLER_DIFFERENCE = "train/sampling/sampling_logp_difference/mean"  # |trainer - sampler| of a token, before the update
SAMPLER_DIFFERENCE_MAX = "train/sampling/sampling_logp_difference/max"
STALENESS = "train/staleness"  # updates that the weights which sampled are behind
NON_FINITE = "train/nonfinite_tokens"

NUM_TOKENS = "train/num_tokens"
TOKENS_PER_SECOND = "train/tokens_per_second"
WEIGHT_VERSION = "train/weight_version"

DIVERGENCE = "train/divergence"  # distillation: between teacher and student, a token
TEACHER_ENTROPY = "train/teacher_entropy"
AGREEMENT = "train/agreement"  # share of tokens whose likeliest continuation is the same for teacher and student

STEP_TIME = "time/step"

PAIR_ACCURACY = "train/accuracy"  # reward model: share of pairs ranked right, of labelled responses on the right side

REFLECTION_RATE = "train/reflection_rate"
MIXING_RATE = "train/language_mixing"  # share of completions with words of two languages
REPETITION = "train/repetition"


# What `r1_kernels.Stats.as_dict` calls a figure, and what it is logged as.
_OF_STATS = {
    "kl_k3": KL,
    "entropy": ENTROPY,
    "clip_low": CLIP_LOW,
    "clip_high": CLIP_HIGH,
    "clip_region": CLIP_REGION,
    "ratio_mean": RATIO_MEAN,
    "ratio_max": RATIO_MAX,
    "rho_mean": RHO_MEAN,
    "truncated": TRUNCATED_RATIO,
    "nonfinite": NON_FINITE,
    "divergence": DIVERGENCE,
    "teacher_entropy": TEACHER_ENTROPY,
    "agreement": AGREEMENT,
}


def of_stats(figures: dict[str, float]) -> dict[str, float]:
    """The logged share of a loss's statistics, under their metric names."""
    return {name: figures[own] for own, name in _OF_STATS.items() if own in figures}


def part_mean(part: str) -> str:
    return f"train/rewards/{part}/mean"


def part_std(part: str) -> str:
    return f"train/rewards/{part}/std"


def part_weight(part: str) -> str:
    """Of a part that begins late: 0 before."""
    return f"train/rewards/{part}/weight"


def signal(part: str) -> str:
    """Share of the squared advantage that a reward part carries; the shares of a step add up to 1."""
    return f"train/signal/{part}"


def phase_time(phase: str) -> str:
    return f"time/{phase}"


def evaluation(benchmark: str, figure: str) -> str:
    """`figure` is "pass@1", "cons@8", "mean_length" ...

    >>> evaluation("aime24", "pass@1")
    'eval/aime24/pass@1'
    """
    return f"eval/{benchmark}/{figure}"


def interval(name: str) -> tuple[str, str]:
    """The names of a figure's two bounds.

    >>> interval("eval/aime24/pass@1")
    ('eval/aime24/pass@1_low', 'eval/aime24/pass@1_high')
    """
    return f"{name}_low", f"{name}_high"
