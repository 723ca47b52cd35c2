"""A run folder as one page: `report.html`, self-contained, readable offline, in light and dark, on a desk and on a phone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from r1.analysis import figures, ledger_view, observatory
from r1.analysis.browser import MAX_TRACES, Rescore, browser
from r1.analysis.page import Section
from r1.analysis.page import page as shell
from r1.analysis.reading import Run, read_run
from r1.analysis.tables import before_after, changes, html_stats, html_table
from r1.analysis.trace_view import Digest, choose, digest, story


def report(run_folder: str | Path, out: str | Path | None = None, max_traces: int = MAX_TRACES, rescored: bool = False) -> Path:
    """Write the report of a run and give its path: `out`, or report.html in the run folder. It holds up to `max_traces` traces.

    rescored  run the exported policy over these traces, so that tokens can be coloured by its entropy and by its ratio to the
              policy that sampled them; minutes for a large model
    """
    run = read_run(run_folder)
    path = Path(out) if out else Path(run_folder) / "report.html"
    path.write_text(page(run, digest(run), max_traces, _by_policy(run) if rescored else None), encoding="utf-8")
    return path


def _by_policy(run: Run) -> Rescore:
    from r1.analysis.rescore import policy_folder, rescore, temperature_of
    from r1.policy import Policy

    policy = Policy.load(policy_folder(run))
    return lambda traces, phase: rescore(policy, traces, temperature_of(run.config, phase))


def page(run: Run, found: Digest, max_traces: int = MAX_TRACES, rescore: Rescore | None = None) -> str:
    browse = partial(_browser, max_traces=max_traces, rescore=rescore)
    makers = (_ledger, _accuracy, _behaviour, observatory.section, _update, _pretraining, _stories, browse, _record)
    sections = [section for make in makers if (section := make(run, found))]
    footer = f"Written by <code>r1 report</code> from {found.count:,} traces and {len(run.curves)} metrics. Nothing on this page is loaded from elsewhere."
    return shell(run.name, _setting(run), sections, _opening(run), footer)


def _opening(run: Run) -> str:
    """Before and after, and what the run says about its own limits."""
    before, after = before_after(run)
    rows = changes(before, after)
    notes = run.summary.get("notes") or []
    caveats = (
        f'<div class="note"><b>What this shows, and what it does not</b><ul>{"".join(f"<li>{escape(str(n))}</li>" for n in notes)}</ul></div>'
        if notes
        else ""
    )
    if not rows:
        return caveats
    setting = after.get("setting") or before.get("setting") or {}
    stated = f'<p class="setting">Evaluation: {_pairs(setting)}</p>' if setting else ""
    return f"<section>{html_stats(rows)}{html_table(rows)}{stated}{caveats}</section>"


def _ledger(run: Run, found: Digest) -> Section | None:
    """Of a pipeline: every stage side by side."""
    path = run.folder / "ledger.json"
    if not path.is_file():
        return None
    lead = "Every stage of the recipe on the same test problems. Below this table the page is about the first reinforced stage."
    body = ledger_view.html(json.loads(path.read_text(encoding="utf-8")))
    return "ledger", "Stage by stage", f'<p class="lead">{lead}</p>{body}'


def _accuracy(run: Run, found: Digest) -> Section | None:
    charts = "".join([*(figures.accuracy(run, benchmark) for benchmark in run.benchmarks), figures.length(run, found)])
    lead = "The paper's Figure 2 and Figure 3, for this run: accuracy and the length of the answers over training."
    return ("accuracy", "Accuracy and length", f'<p class="lead">{lead}</p><div class="pair">{charts}</div>') if charts else None


def _behaviour(run: Run, found: Digest) -> Section | None:
    lead = "What changes in how the policy writes. Solid: the rollouts it trains on. Dashed: evaluation samples."
    return (
        "behaviour",
        "Reflection and languages",
        f'<p class="lead">{lead}</p><div class="small">{"".join(figures.behaviour(run, found))}</div>',
    )


def _update(run: Run, found: Digest) -> Section | None:
    lead = "Faint: every step. Bold: the running mean."
    charts = "".join(figures.reward(run) + figures.update(run))
    return ("update", "What drove the update", f'<p class="lead">{lead}</p><div class="small">{charts}</div>') if charts else None


def _pretraining(run: Run, found: Digest) -> Section | None:
    """Loss of the other parts of the run: the base that was trained first."""
    charts = [
        figures.one(part, f"Loss of {part.folder.name}", ("train/loss", "loss", 1))
        for part in run.parts
        if not part.curve("train/reward")
    ]
    return ("base", "Before reinforcement", f'<div class="small">{"".join(charts)}</div>') if charts else None


def _stories(run: Run, found: Digest) -> Section | None:
    chosen = choose(found.kept)
    if not chosen:
        return None
    lead = (
        "One sample each, the first that was drawn, at the first, the middle and the last evaluation. Shown are the first two problems of the "
        "file that went from wrong to right and the first that is still wrong. Grey: the thought. Yellow: the answer. Underlined: reflections."
    )
    return "traces", "The same problem, early and late", f'<p class="lead">{lead}</p>{"".join(map(story, chosen))}'


def _browser(run: Run, found: Digest, max_traces: int, rescore: Rescore | None) -> Section | None:
    html = browser(run, found, max_traces, rescore)
    lead = "Pick a problem and a step: its completions side by side, as they were sampled."
    return ("browser", "Trace browser", f'<p class="lead">{lead}</p>{html}') if html else None


def _record(run: Run, found: Digest) -> Section:
    """Everything needed to repeat the run."""
    blocks = [
        f"<details><summary>{title}</summary><pre>{escape(json.dumps(content, indent=2, ensure_ascii=False, default=str))}</pre></details>"
        for title, content in (
            ("Configuration", run.config),
            ("Versions, commit and machine", run.manifest),
            ("Summary", run.summary),
        )
        if content
    ]
    return "record", "To repeat this run", "".join(blocks) or "<p>This folder holds no configuration.</p>"


def _setting(run: Run) -> str:
    """Seed, size of a step, commit, device and time, as far as the folder says."""
    stage, manifest = run.config.get("stage") or {}, run.manifest
    sampling = (run.config.get("rollout") or {}).get("sampling") or {}
    git = manifest.get("git") or {}
    seconds = run.summary.get("seconds")
    total = sum(seconds.values()) if isinstance(seconds, Mapping) else seconds
    facts = {
        "seed": run.config.get("seed", manifest.get("seed")),
        "steps": stage.get("steps"),
        "prompts a step": stage.get("prompts_per_step"),
        "completions a prompt": stage.get("group_size"),
        "temperature": sampling.get("temperature"),
        "token limit": sampling.get("max_new_tokens"),
        "time": f"{total / 60:.1f} min" if total else None,
        "device": manifest.get("device"),
        "commit": (git.get("commit") or "")[:10] + (" + changes" if git.get("dirty") else "") if git else None,
    }
    return _pairs({name: value for name, value in facts.items() if value not in (None, "")})


def _pairs(facts: Mapping[str, Any]) -> str:
    return " · ".join(f"{escape(str(name))} <b>{escape(str(value))}</b>" for name, value in facts.items())
