from r1.policy.policy import Policy
from r1.policy.prompts import Template
from r1.policy.reference import Reference

__all__ = ["Policy", "Reference", "Template"]
