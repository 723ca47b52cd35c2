"""See R1-Zero happen: a tiny base model from scratch, pure reinforcement learning on it, and what changed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SAMPLES = 16  # completions of each test problem, before and after
MARK = ".r1-demo"  # a folder with this file is the demo's own and may be replaced

NOTES = (
    "The base model was trained on a written corpus in which 9 % of the problem documents check themselves and go on. "
    "Reinforcement learning makes that behaviour frequent because it pays; it does not invent it.",
    "pass@{k} of the base is {base_pass:.0%}: nearly every problem is solved by one of {k} guesses before any reinforcement learning. "
    "What rises is how often the first sample is right.",
    "Greedy decoding after training is right in {greedy:.0%}, sampling at temperature 1 in {sampled:.0%}. The papers sample too.",
    "122,560 parameters and one family of puzzles: this shows the mechanism, and says nothing about R1's scores.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate on problems whose number sets were never seen, write the report. 1 if nothing was learned."""
    options = _options(argv)
    out = _fresh(options.out)
    import rich
    import torch

    from r1.analysis.report import report
    from r1.analysis.tables import before_after_table

    torch.set_num_threads(options.threads)
    seconds: dict[str, float] = {}
    with _timed(seconds, "base"):
        base = _train(out / "base", ["experiment=tiny_base", f"seed={options.seed}"])
    with _timed(seconds, "r1_zero"):
        zero = _train(out / "r1_zero", ["experiment=tiny_r1_zero", f"seed={options.seed}", f"policy.path={base}"])
    with _timed(seconds, "evaluation"):
        before, after, greedy = _test(base), _test(zero), _test(zero, greedy=True)
    after |= greedy
    result = {"seed": options.seed, "before": before, "after": after, "seconds": seconds, "notes": _notes(before, after)}
    (out / "summary.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    page = report(out)
    rich.print(before_after_table(result))
    print("\n".join(f"- {note}" for note in result["notes"]))
    print(f"\nread it: {page}\nfigures: {out / 'summary.json'}\ntook {sum(seconds.values()):.0f} s")
    return _verdict(before, after)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="r1 demo", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the base model, the corpus and every sample")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for models, traces, summary.json and report.html"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; 1 is robust on a busy machine")
    return parser.parse_args(sys.argv[2:] if argv is None else argv)


def _fresh(out: Path) -> Path:
    """An empty folder; an earlier demo is replaced, anything else is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise SystemExit(f"r1 demo: {out} is not empty and not an earlier demo; choose another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    return out


def _train(run_dir: Path, overrides: list[str]) -> Path:
    """Run one experiment; the folder of its policy."""
    from r1.build import compose
    from r1.run import train

    train(compose("train", overrides, run_dir=run_dir))
    return run_dir / "hf"


def _test(model: Path, greedy: bool = False) -> dict[str, Any]:
    """The test problems, read once: one side of the before/after table."""
    from dataclasses import replace

    from r1.build import build_named, compose
    from r1.evaluation.benchmark import evaluate, summary
    from r1.policy import Policy
    from r1.rollout.hf import HFEngine
    from r1.run import sample_bar

    name = "pair_countdown_greedy" if greedy else "pair_countdown_test"
    (benchmark,) = build_named(compose("eval", [f"benchmark=[{name}]", f"policy.path={model}"]).benchmark).values()
    if not greedy:
        benchmark = replace(benchmark, k=SAMPLES, pass_k=[SAMPLES])
    policy = Policy.load(model, template="tiny")
    with sample_bar(f"{model.parent.name}, {name}") as progress:
        report, _ = evaluate(policy, HFEngine(policy), benchmark, progress=progress)
    figures = summary(report)
    return {key: value for key, value in figures.items() if key.startswith("greedy")} if greedy else figures


def _notes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    values = {"k": SAMPLES, "base_pass": before[f"pass@{SAMPLES}"], "greedy": after["greedy"], "sampled": after["pass@1"]}
    return [note.format(**values) for note in NOTES]


def _verdict(before: dict[str, Any], after: dict[str, Any]) -> int:
    """0 if pass@1 rose beyond both intervals."""
    if after["pass@1_low"] > before["pass@1_high"]:
        return 0
    print(
        f"r1 demo: nothing was learned: pass@1 {before['pass@1']:.3f} before and {after['pass@1']:.3f} after, intervals overlap. "
        f"Every seed from 0 to 4 learns; please report this with the summary and `r1 doctor`.",
        file=sys.stderr,
    )
    return 1


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[phase] = round(time.perf_counter() - started, 1)
