from r1.stages.distill import Distill
from r1.stages.grpo import GRPO
from r1.stages.reward_model import RewardModel
from r1.stages.sft import SFT

__all__ = ["GRPO", "SFT", "Distill", "RewardModel"]
