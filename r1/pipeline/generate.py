"""`r1 generate`: one data recipe from its config to rows.jsonl, dropped.jsonl, report.json and manifest.json in the run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers

from r1 import repro
from r1.build import ConfigError, build, build_with, plain
from r1.pipeline.desk import Desk
from r1.pipeline.rows import write_result, write_text
from r1.run import sample_bar

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from r1.policy import Policy
    from r1.rollout.engine import Engine

UNCLAIMED = ("paths", "print_config", "tags", "hydra")  # what may differ when a run goes on in its folder


def generate(cfg: DictConfig) -> dict[str, Any]:
    """Run the recipe `cfg.data`; its report. In a folder that holds part of the work, only the rest is done."""
    folder = Path(cfg.paths.run_dir)
    transformers.utils.logging.disable_progress_bar()  # its bars would stand between ours
    repro.seed_everything(cfg.seed)
    desk = Desk(folder, build(cfg.reward), cfg.seed, _writer(cfg), cfg.rows, sample_bar)
    shared = {"task": build(cfg.get("task"))}
    recipe = build_with(cfg.data, **shared)
    try:
        desk.claim({key: value for key, value in plain(cfg).items() if key not in UNCLAIMED})
    except ValueError as error:
        raise ConfigError(f"paths.run_dir: {error}") from error
    rows, more = recipe(desk)
    report = write_result(folder, rows, **more)
    write_text(folder / "manifest.json", json.dumps(repro.manifest(plain(cfg)), indent=2, ensure_ascii=False) + "\n")
    return report


def _writer(cfg: DictConfig) -> Any:
    """What makes the policy and its engine; None where the config has no policy."""
    if cfg.get("policy") is None:
        return None

    def make() -> tuple[Policy, Engine]:
        policy = build(cfg.policy, template=build(cfg.template))
        return policy, build_with(cfg.rollout, policy=policy)

    return make


def table(report: dict[str, Any]) -> str:
    """The report in a few lines: what was read and kept, way by way, and every reason with its count."""
    lines = [f"{report['kept']:,} of {report['read']:,} rows kept"]
    for way, counts in report["by"]["way"].items():
        lines.append(f"  {way}: {counts['kept']:,} of {counts['read']:,}")
        lines += [f"    {count:>8,}  {reason}" for reason, count in sorted(counts["dropped"].items(), key=lambda item: -item[1])]
    return "\n".join(lines)
