"""Grading: what a completion answers, and whether that is right. No torch here: `r1 score` must start at once."""

from __future__ import annotations

from r1.grading.draft import draft
from r1.grading.equivalence import counts, equivalent
from r1.grading.language import language_share
from r1.grading.parse import Parsed, parse
from r1.grading.template import r1_format, r1_zero_format
from r1.grading.verify import canonical, correct
from r1.grading.vote import Vote, cluster, majority_vote

__all__ = [
    "Parsed",
    "Vote",
    "canonical",
    "cluster",
    "correct",
    "counts",
    "draft",
    "equivalent",
    "language_share",
    "majority_vote",
    "parse",
    "r1_format",
    "r1_zero_format",
]
