"""Score a policy on benchmarks, with the evaluation that training uses (Hydra).

    r1 eval policy.path=<run folder>/hf template=<of its training>              on the benchmark pair_countdown
    r1 eval policy.path=<run folder>/hf 'benchmark=[aime24, math500]'           files of conf/benchmark
    r1 eval policy.path=<run folder>/hf benchmark.pair_countdown.k=16           16 samples a problem

Prints a table; the run folder gets the figures (evaluations.json) and every answer (evaluations.jsonl), for `r1 report --compare`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1.app import hydra_app

if TYPE_CHECKING:
    from omegaconf import DictConfig


@hydra_app("eval")
def main(cfg: DictConfig) -> float | None:
    from r1.run import evaluate_all

    return evaluate_all(cfg)
