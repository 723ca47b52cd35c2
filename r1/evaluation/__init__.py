"""Scoring a policy on a benchmark: exact figures, named intervals, one `evaluate`."""
