"""See R1 happen in small: a tiny base from scratch, R1-Zero on it, then every later stage, and what each changed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.pipeline.driver import Driver, State

RECIPE = "r1_tiny"
SAMPLES = 16  # completions of each test problem that the recipe's evaluations draw
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
    """Run the tiny recipe, or a part of it, and write the report. 1 if nothing was learned or a stage failed."""
    options = _options(argv)
    out = _place(options.out, options.fresh)
    import rich
    import torch

    from r1.analysis.report import report
    from r1.analysis.tables import before_after_table
    from r1.pipeline.driver import NodeFailed

    torch.set_num_threads(options.threads)
    driver = _driver(out, options.seed)
    try:
        states = driver.run(last=options.until)
    except (NodeFailed, ValueError) as failure:
        print(f"r1 demo: {failure}", file=sys.stderr)
        return 1
    if states["r1_zero.eval"].record is None:
        print(f"stopped at {options.until}, before there is anything to compare; `r1 demo` goes on")
        return 0
    result = _summary(driver, states, options.seed)
    (out / "summary.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    page = report(out)
    rich.print(before_after_table(result))
    print("\n".join(f"- {note}" for note in result["notes"]))
    _tell(out, result["ledger"])
    print(f"\nread it: {page}\nfigures: {out / 'summary.json'}\ntook {sum(result['seconds'].values()):.0f} s")
    return _verdict(result["before"], result["after"])


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="r1 demo", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the base model, the corpus and every sample")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder for models, traces, summary.json and report.html"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; 1 is robust on a busy machine")
    parser.add_argument("--until", metavar="NODE", help="stop at this node of the recipe: r1_zero is the first chapter")
    parser.add_argument("--fresh", action="store_true", help="make everything again, even what an earlier demo has made")
    return parser.parse_args(sys.argv[2:] if argv is None else argv)


def _place(out: Path, fresh: bool) -> Path:
    """The demo's folder. An earlier demo in it goes on, or is replaced where `fresh` asks for it; anything else is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise SystemExit(f"r1 demo: {out} is not empty and not an earlier demo; choose another folder with --out")
        if fresh or not (out / "store").is_dir():  # without a store: made by a version that could not go on
            shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    return out


def _driver(out: Path, seed: int) -> Driver:
    from r1.app import quoted
    from r1.build import compose
    from r1.pipeline.commands import driver_of

    store = f"store={quoted(out / 'store')}"
    return driver_of(compose("pipeline", [f"recipe={RECIPE}", f"seed={seed}", store], run_dir=out))


def _summary(driver: Driver, states: Mapping[str, State], seed: int) -> dict[str, Any]:
    """Before and after R1-Zero on the test problems, what every node took, the ledger, and what the figures do not say."""
    from r1.pipeline.ledger import collect

    before, after = (_figures(states[f"{name}.eval"]) for name in ("base", "r1_zero"))
    before = {name: value for name, value in before.items() if not name.startswith("greedy")}
    records = {name: state.record for name, state in states.items() if state.record is not None}
    seconds = {name: record.seconds for name, record in records.items() if not name.endswith(".eval")}
    seconds["evaluation"] = round(sum(record.seconds for name, record in records.items() if name.endswith(".eval")), 2)
    ledger = collect(driver.recipe, states)
    return {"seed": seed, "before": before, "after": after, "seconds": seconds, "notes": _notes(before, after), "ledger": ledger}


def _figures(state: State) -> dict[str, Any]:
    """The test problems of one stage: sampled figures, and the greedy ones beside them."""
    found = json.loads((state.record.folder / "evaluations.json").read_text(encoding="utf-8"))
    greedy = {name: value for name, value in found["pair_countdown_greedy"].items() if name.startswith("greedy")}
    return found["pair_countdown_test"] | greedy


def _tell(out: Path, ledger: Mapping[str, Any]) -> None:
    """Which claims of the papers the ledger shows; nothing where only the first chapter was run."""
    held = [claim for claim in ledger["claims"] if claim["holds"] is not None]
    if held:
        print("\nstage by stage:")
        print("\n".join(f"- {'shown' if c['holds'] else 'NOT shown'}: {c['text']} ({c['reads']})" for c in held))
        print(f"the ledger: {out / 'ledger.md'}, {out / 'ledger.html'}")


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
