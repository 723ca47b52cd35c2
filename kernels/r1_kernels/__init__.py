"""Policy losses from log-probabilities, logits or hidden states: exact, with every option honoured, on CPU and GPU.

`from r1_kernels import Objective, linear_loss` is all that is needed; this package imports torch and nothing of r1.
"""

from .imitation import linear_cross_entropy, linear_kl
from .launch import set_backend
from .levels import policy_loss
from .linear import linear_logps, linear_loss
from .logits import logits_loss
from .objective import Objective
from .stats import Stats
from .tokens import token_loss

__all__ = [
    "Objective",
    "Stats",
    "linear_cross_entropy",
    "linear_kl",
    "linear_logps",
    "linear_loss",
    "logits_loss",
    "policy_loss",
    "set_backend",
    "token_loss",
]
