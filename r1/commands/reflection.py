"""Ask whether RL amplifies reflection because it pays: base models whose self-checks are informative or not, over seeds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

ARMS = {"informative": "reflection_pays", "useless": "reflection_useless"}  # arm -> its base's experiment


def main(argv: Sequence[str]) -> int:
    """Train what is missing, read everything, write answer.md, answer.json and answer.html. A run that finished is not repeated."""
    options = _options(argv)
    from r1.analysis.amplification import answer, as_json, html, markdown, read_arm

    try:
        if not options.read:
            _train_all(options)
        found = answer(*(read_arm(options.out / arm) for arm in ARMS))
    except ValueError as error:
        raise SystemExit(f"r1 reflection: {error}") from error
    (options.out / "answer.md").write_text(markdown(found), encoding="utf-8")
    (options.out / "answer.json").write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    (options.out / "answer.html").write_text(html(found), encoding="utf-8")
    print(markdown(found))
    print(options.out / "answer.html")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="r1 reflection", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/reflection"), help="folder for the runs of both arms and the answer"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a base and an RL run of each arm for every seed")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for every run, as of r1 train")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--read", action="store_true", help="train nothing: read the runs that are there")
    return parser.parse_args(list(argv))


def _train_all(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for arm, experiment in ARMS.items():
            _one(options.out / arm / f"seed_{seed}", experiment, seed, options.set)


def _one(folder: Path, experiment: str, seed: int, overrides: Sequence[str]) -> None:
    """A base by its experiment, then R1-Zero on it, the same for both arms."""
    _train(folder / "base", [f"experiment={experiment}", f"seed={seed}", *overrides])
    _train(folder / "r1_zero", ["experiment=tiny_r1_zero", f"policy.path={folder / 'base' / 'hf'}", f"seed={seed}", *overrides])


def _train(run_dir: Path, overrides: Sequence[str]) -> None:
    """One run, unless its summary says that it finished. Half a run is begun anew."""
    if (run_dir / "summary.json").is_file():
        print(f"{run_dir} is finished")
        return
    import shutil

    from r1.build import compose
    from r1.run import train

    shutil.rmtree(run_dir, ignore_errors=True)  # curves and traces of the half run would mix with the new ones
    train(compose("train", list(overrides), run_dir=run_dir))
