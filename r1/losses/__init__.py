"""From scores to advantages, and from masks to the weights that average tokens into a loss."""

from .advantage import advantages, has_signal
from .grpo import AGGREGATIONS, Normaliser, leave_out, token_weights

__all__ = ["AGGREGATIONS", "Normaliser", "advantages", "has_signal", "leave_out", "token_weights"]
