"""r1: train, ablate and understand R1-style reasoning models. See README.md; `r1 --help` lists the commands."""

__version__ = "0.1.0"
