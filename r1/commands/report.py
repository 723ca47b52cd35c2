"""Write report.html for a run, or the table of a sweep; or compare two runs: curves, before and after, traces, what differs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="r1 report", description=__doc__)
    parser.add_argument(
        "run", nargs="?", help="a run folder, as r1 train writes it: runs/<name>/<time>; or the folder of a sweep"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where the page goes (default: report.html in the run folder), or a comparison's Markdown"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="instead: B against A on the problems both answered, paired; each a folder of r1 train or r1 eval, FOLDER@STEP for a "
        "checkpoint's evaluation (runs/x@0 against runs/x is before and after)",
    )
    parser.add_argument("--benchmark", help="with --compare: this benchmark alone")
    parser.add_argument(
        "--traces", type=int, default=4000, metavar="N", help="traces the page's browser holds (default: %(default)s)"
    )
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="run the exported policy (hf/) over these traces, to colour tokens by its entropy and by how it changed them",
    )
    parser.add_argument(
        "--baseline", nargs="+", default=[], metavar="KEY=VALUE", help="of a sweep: what the others are compared with (default: its first cell)"
    )  # fmt: skip
    parser.add_argument(
        "--reward-lab",
        action="store_true",
        help="instead: what each reward part does to the update, as trained and under other weights and normalisations, from the "
        "stored rollouts; writes reward_lab.md and reward_lab.json into the run folder",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="PART=A,B",
        help="with --reward-lab: weights to try, all combinations, e.g. format=0,0.1,1 (each weight cut 100x is always tried)",
    )
    parser.add_argument(
        "--inspect",
        metavar="DIR",
        help="instead: the run's traces as logs for `inspect view`, into this folder (needs the extra view)",
    )
    args = parser.parse_args(argv)
    if args.weights and not args.reward_lab:
        parser.error("--weights belongs to --reward-lab")
    if args.reward_lab and (args.out or args.baseline):
        parser.error("--reward-lab reads one run and writes reward_lab.md and .json there: leave --out and --baseline")
    if bool(args.compare) == bool(args.run):
        parser.error("give one run (or sweep) to report on, or two with --compare")
    if args.benchmark and not args.compare:
        parser.error("--benchmark belongs to --compare")
    if args.compare and (args.baseline or args.reward_lab or args.rescore):
        parser.error("--compare takes two runs, and of the other options --out and --benchmark")
    if args.inspect and (args.out or args.baseline or args.reward_lab):
        parser.error("--inspect writes logs and nothing else: leave --out, --baseline and --reward-lab")
    if args.traces < 0:
        parser.error(f"--traces must be 0 or more, got {args.traces}")
    try:
        if args.compare:
            first, second = args.compare
            return _compare(first, second, args.benchmark, args.out)
        if args.inspect:
            return _inspect(args.run, args.inspect)
        return _reward_lab(args.run, args.weights) if args.reward_lab else _report(args)
    except ValueError as error:
        print(f"r1 report: {error}", file=sys.stderr)
        return 1


def _report(args: argparse.Namespace) -> int:
    from r1.analysis.sweep import is_sweep, unrelated_runs

    if several := unrelated_runs(args.run):
        shown = "".join(f"\n  {run}" for run in several[:10]) + ("\n  ..." if len(several) > 10 else "")
        raise ValueError(f"{args.run} is neither a run nor a sweep; it holds {len(several)} runs, so name one:{shown}")
    if is_sweep(args.run):
        if args.out or args.rescore:
            raise ValueError(
                "--out and --rescore are for the page of one run; a sweep's report.md and report.html go into its folder"
            )
        return _sweep(args.run, args.baseline)
    if args.baseline:
        raise ValueError(f"--baseline is for sweeps, and {args.run} is none")
    return _page(args.run, args.out, args.traces, args.rescore)


def _sweep(folder: str, baseline: Sequence[str]) -> int:
    from r1.analysis.sweep_report import sweep_report

    pairs = [text.partition("=") for text in baseline]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError(f"--baseline takes KEY=VALUE such as reward.weights.format=0.1, got {' '.join(baseline)!r}")
    markdown_path, html_path = sweep_report(folder, {key: value for key, _, value in pairs})
    print(markdown_path.read_text(encoding="utf-8"))
    print(html_path)
    return 0


def _page(run: str, out: str | None, traces: int, rescored: bool) -> int:
    from r1.analysis.reading import read_run
    from r1.analysis.report import report
    from r1.analysis.tables import before_after, before_after_table, show

    path = report(run, out, traces, rescored)
    before, after = before_after(read_run(run))
    if before:
        show(before_after_table({"before": before, "after": after}))
    print(path)
    return 0


def _compare(first: str, second: str, benchmark: str | None, out: str | None) -> int:
    from r1.analysis.comparison import METHOD, compare_runs, comparison_table, markdown, setting_notes
    from r1.analysis.tables import show

    rows, notes = compare_runs(first, second, benchmark), setting_notes(first, second, benchmark)
    for table in comparison_table(rows, first, second):
        show(table)
    print("\n".join([*notes, METHOD]))
    if out:
        Path(out).write_text(markdown(rows, first, second, notes), encoding="utf-8")
        print(out)
    return 0


def _inspect(run: str, out: str) -> int:
    import importlib.util

    from r1.analysis.inspect_log import inspect_logs
    from r1.analysis.reading import read_run
    from r1.schema import pip_hint

    if importlib.util.find_spec("inspect_ai") is None:
        raise ValueError(f"--inspect needs the package 'inspect_ai': {pip_hint('inspect_ai')}")
    logs = inspect_logs(read_run(run), out)
    print(f"{len(logs)} logs; read them: inspect view --log-dir {out}")
    return 0


def _reward_lab(run: str, weights: Sequence[str]) -> int:
    from r1.analysis.reading import read_run
    from r1.analysis.reward_lab import experiment
    from r1.analysis.reward_verdict import table, verdicts, write
    from r1.analysis.tables import show
    from r1.losses.advantage import NORMALISE, advantages

    ways = {name: partial(advantages, normalise=name) for name in NORMALISE}  # type: ignore[arg-type]
    lab = experiment(read_run(run), ways, _axes(weights))
    show(table(lab))
    print("\n".join(["", *verdicts(lab), ""]))
    for path in write(lab, run):
        print(path)
    return 0


def _axes(texts: Sequence[str]) -> dict[str, list[float]]:
    """format=0,0.1 -> {"format": [0.0, 0.1]}"""
    axes = {}
    for text in texts:
        part, equals, values = text.partition("=")
        try:
            axes[part] = [float(value) for value in values.split(",")]
        except ValueError:
            equals = ""
        if not (part and equals):
            raise ValueError(f"--weights takes PART=NUMBER,NUMBER such as format=0,0.1,1, got {text!r}")
    return axes
