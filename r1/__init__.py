"""r1: train, ablate and understand R1-style reasoning models. See README.md; `r1 --help` lists the commands."""

import os

__version__ = "0.1.0"

# GNU's OpenMP lets a thread that waits for the others spin 300,000 times before it sleeps. On a machine that others use too, it
# spins against the very thread it waits for: an evaluation took 54 s beside two other jobs, and 12 s with this; alone, both took
# the same (benchmarks/results/step-cpu.md). It is read when torch is first imported.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "20000"
