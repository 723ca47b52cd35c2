"""What the reward lab found, said: sentences first, then the table, for the terminal and for reward_lab.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from r1.analysis.attribution import Signal, hints, percent
from r1.analysis.reward_lab import AS_TRAINED, CUT, Lab, Outcome, Setting, as_json

if TYPE_CHECKING:
    from rich.table import Table

CAVEAT = (
    "These are the run's own rollouts, weighed anew: what other weights would have made of the same update, not where training "
    "would have gone from there. Shares are of the squared advantage; lengths, clipping and the KL term are not in them."
)


def verdicts(lab: Lab) -> list[str]:
    """The findings as plain sentences, most important first."""
    weighted = [part for part, weight in lab.weights.items() if weight]
    said = [_what_drives(lab.trained), *_alone(lab.trained), *hints(lab.trained)]
    if lab.way is None:
        said.append(
            f"No normalisation known here gives the run's own advantages (groups replaced by dynamic sampling under batch_std, or a "
            f"function of your own): what follows compares with {_base_way(lab)}."
        )
    if lab.trained.squared:
        if len(weighted) > 1:
            said += [_cut(lab, part) for part in weighted]
        said += [_flips(setting, outcome) for setting, outcome in lab.outcomes.items() if _worth_saying(lab, setting)]
    return [text[0].upper() + text[1:] + ("" if text.endswith(".") else ".") for text in said]


def table(lab: Lab) -> Table:
    """One row a setting, as rich prints it; the run's own is bold. Narrower than the page: `only <part>` is left to it."""
    from rich import box
    from rich.table import Table

    out = Table(title=_title(lab), title_justify="left", caption=CAVEAT, caption_justify="left", box=box.SIMPLE_HEAD)
    head, rows = _rows(lab)
    kept = [i for i, heading in enumerate(head) if not heading.startswith("only ")]
    for i in kept:
        out.add_column(head[i], justify="left" if i < 2 else "right", no_wrap=i < 2)
    for row in rows:
        out.add_row(*(row[i] for i in kept), style="bold" if row[:2] == [AS_TRAINED, _own_way(lab)] else None)
    return out


def markdown(lab: Lab) -> str:
    """The page reward_lab.md."""
    head, rows = _rows(lab)
    lines = [
        f"# Reward lab: {lab.name}",
        "",
        f"{_title(lab)}.",
        "",
        *[f"- {text}" for text in verdicts(lab)],
        "",
        _markdown_table(head, rows),
        "",
        "`only <part>`: share of the squared advantage in groups where no other weighted part differs. `signs flipped`: of the "
        "completions with an advantage. `direction`: cosine with the run's own advantages.",
        "",
        "## Over the run",
        "",
        _markdown_table(["steps", *lab.weights, "no spread"], _over_the_run(lab)),
        "",
        CAVEAT,
        "",
    ]
    return "\n".join(lines)


def write(lab: Lab, folder: str | Path) -> list[Path]:
    """reward_lab.md and reward_lab.json in this folder."""
    pages = {"reward_lab.md": markdown(lab), "reward_lab.json": json.dumps(as_json(lab), indent=1, allow_nan=False) + "\n"}
    paths = [Path(folder) / name for name in pages]
    for path, text in zip(paths, pages.values()):
        path.write_text(text, encoding="utf-8")
    return paths


def _title(lab: Lab) -> str:
    weights = ", ".join(f"{part} {weight:g}" for part, weight in lab.weights.items())
    size = f"{lab.steps:,} steps, {lab.trained.groups:,} groups, {lab.trained.rows:,} completions"
    return f"{lab.name}: {size}; trained with weights {weights}, normalisation {_own_way(lab)}"


def _own_way(lab: Lab) -> str:
    return lab.way or "its own"


def _what_drives(signal: Signal) -> str:
    if not signal.squared:
        return f"none of the {signal.groups} groups has any signal"
    parts = sorted(signal.shares.items(), key=lambda item: -abs(item[1]))
    shares = [
        f"{part} (weight {signal.weights[part]:g}) carries {percent(share)}" for part, share in parts if signal.weights[part]
    ]
    idle = [part for part, weight in signal.weights.items() if not weight]
    logged = f"; {', '.join(idle)} has weight 0 and is only logged" if idle else ""
    return f"of the squared advantage {', '.join(shares)}{logged}; {percent(signal.silent_share)} of the groups have no spread"


def _alone(signal: Signal) -> list[str]:
    speaking = signal.groups - signal.silent
    return [
        f"in {percent(count / speaking)} of the groups with signal only {part} differs: {percent(signal.alone_shares[part])} of the squared advantage"
        for part, count in signal.alone.items()
        if len([w for w in signal.weights.values() if w]) > 1
    ]


def _cut(lab: Lab, part: str) -> str:
    """Whether this weight does anything: its share before and after it is cut."""
    way = _base_way(lab)
    cut = ((part, CUT * lab.weights[part]),)
    shares = {w: (_share(lab, (), w, part), _share(lab, cut, w, part)) for w in dict.fromkeys(s.way for s in lab.outcomes)}
    before, after = shares[way]
    text = f"cutting the {part} weight {1 / CUT:.0f}x changes its share of the signal {before:.2f} -> {after:.2f}"
    if before < 0.01:
        return f"{text}: there was next to nothing to lose"
    if after < before / 2:
        return f"{text}: under {way} this weight acts"
    acting = [f"{w} ({b:.2g} -> {a:.1g})" for w, (b, a) in shares.items() if w != way and b > 0 and a < b / 10]
    advice = f"; use advantage.normalise={' or '.join(acting)}" if acting else ""
    return f"{text}: under {way} this weight is nearly inert{advice}"


def _share(lab: Lab, weights: tuple[tuple[str, float], ...], way: str, part: str) -> float:
    return lab.outcomes[Setting(weights, way)].signal.shares.get(part, 0.0)


def _base_way(lab: Lab) -> str:
    return lab.way or next(iter(lab.outcomes)).way


def _worth_saying(lab: Lab, setting: Setting) -> bool:
    """Other normalisations at the run's weights, and what the reader asked to try under the run's own normalisation."""
    asked = bool(setting.weights) and setting.way == _base_way(lab) and not _is_cut(lab, setting)
    return asked or (not setting.weights and setting.way != lab.way)


def _is_cut(lab: Lab, setting: Setting) -> bool:
    return any(setting.weights == ((part, CUT * weight),) for part, weight in lab.weights.items())


def _flips(setting: Setting, outcome: Outcome) -> str:
    shift = outcome.shift
    where = f"under {setting.way}" if not setting.weights else f"with {setting.label} under {setting.way}"
    lost = f", {percent(shift.silenced / shift.rows)} lose theirs" if shift.silenced else ""
    won = f", {percent(shift.woken / shift.rows)} gain one" if shift.woken else ""
    direction = "nothing is left of the update" if shift.cosine is None else f"cosine with the run's update {shift.cosine:.2f}"
    flipped = f"{percent(shift.flipped / shift.rows)} of the completions change" if shift.flipped else "no completion changes"
    return f"{where} {flipped} the sign of its advantage{lost}{won}; {direction}"


def _rows(lab: Lab) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of every row; where no setting is the run as it was, that comes first."""
    parts = [p for p in lab.weights if lab.weights[p] or any(p in dict(s.weights) for s in lab.outcomes)]
    head = ["weights", "normalise", *parts, *(f"only {p}" for p in parts), "no spread", "signs flipped", "direction"]
    rows = [] if lab.way else [[AS_TRAINED, _own_way(lab), *_cells(lab.trained, parts), "", ""]]
    for setting, outcome in lab.outcomes.items():
        shift = outcome.shift
        direction = "" if shift.cosine is None else f"{shift.cosine:.3f}"
        flipped = f"{shift.flipped / shift.rows:.3f}" if shift.rows else ""
        rows.append([setting.label, setting.way, *_cells(outcome.signal, parts), flipped, direction])
    return head, rows


def _cells(signal: Signal, parts: Sequence[str]) -> list[str]:
    both = [signal.shares.get(p) for p in parts] + [signal.alone_shares.get(p) for p in parts]
    return ["-" if share is None else f"{share:.3f}" for share in both] + [f"{signal.silent_share:.3f}"]


def _over_the_run(lab: Lab) -> list[list[str]]:
    names = (
        ["first quarter", "second", "third", "last"]
        if len(lab.quarters) == 4
        else [f"part {i + 1}" for i in range(len(lab.quarters))]
    )
    return [
        [
            name,
            *(f"{signal.shares.get(part, 0.0):.3f}" if signal.squared else "-" for part in lab.weights),
            f"{signal.silent_share:.3f}",
        ]
        for name, signal in zip(names, lab.quarters)
    ]


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
