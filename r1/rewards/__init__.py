"""Rewards: parts that judge a completion, and the weighted sum of them. Usable without Hydra:

reward = Reward({"accuracy": Accuracy(), "format": Format()}, {"accuracy": 1.0, "format": 0.1})
groups = reward(groups)
"""

from __future__ import annotations

from r1.rewards.accuracy import Accuracy
from r1.rewards.adapters import Trl
from r1.rewards.base import Part, Reward, read
from r1.rewards.format import Format
from r1.rewards.guarded import Guarded
from r1.rewards.gym import ReasoningGym
from r1.rewards.judge import Judge
from r1.rewards.language import Language
from r1.rewards.preference import Preference
from r1.rewards.shaping import AnswerOnce, Cosine, Overlong, Repetition

__all__ = [
    "Accuracy",
    "AnswerOnce",
    "Cosine",
    "Format",
    "Guarded",
    "Judge",
    "Language",
    "Overlong",
    "Part",
    "Preference",
    "ReasoningGym",
    "Repetition",
    "Reward",
    "Trl",
    "read",
]
