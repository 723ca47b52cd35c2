"""Human refinement: rows wait in plain files until a person has looked at them (v1 2.3.1, post-processing by annotators).

    queue.md      to read and edit in any editor            exported.jsonl   what was exported, not to be touched
    queue.jsonl   the same items, one JSON object a line

Edit either file: correct the completion and set the status to accept, or to reject. Nothing is lost on the way: exporting again only
adds items that are new, an item that was edited in both files differently is an error, and so is one that vanished, came twice, or was
never exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from r1.pipeline.desk import Desk
from r1.pipeline.rows import Row, load_rows, write_text
from r1.records import Problem
from r1.tasks.rows import read_rows

STATUSES = ("todo", "accept", "reject")
HEAD = """# Rows to refine

Correct what stands between the fences, then set the status of the item to accept, or to reject. Items with status todo wait.
Leave the lines that begin with `## item` as they are, and put nothing between the items.
"""
_ITEM = re.compile(
    r"^## item (?P<id>[^\n]+)\n(?P<head>(?:(?!^## item |^`{3,}completion).*\n)*)"
    r"^(?P<fence>`{3,})completion\n(?P<text>(?:(?!^(?P=fence)[ \t]*$).*\n)*)^(?P=fence)[ \t]*$",
    re.MULTILINE,
)
_STATUS = re.compile(r"^status:[ \t]*(\S*)[ \t]*$", re.MULTILINE)


class Item(NamedTuple):
    status: str
    completion: str


class Queue:
    """Items in a folder: `export` adds rows, `read` says what people made of them."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.jsonl, self.markdown, self.exported = (self.folder / f for f in ("queue.jsonl", "queue.md", "exported.jsonl"))

    def export(self, rows: Sequence[Row]) -> int:
        """Add the rows that are not in the queue yet; how many. Raises ValueError where one was exported with another text."""
        known = _read_jsonl(self.exported) if self.exported.exists() else {}
        changed = [row.id for row in rows if row.id in known and known[row.id].completion != row.completion.strip()]
        if changed:
            raise ValueError(
                f"{self.folder} holds other texts of {_some(changed)}; the source changed, so start a new queue folder"
            )
        new = [row for row in rows if row.id not in known]
        # The record of what was exported is written last: killed in between, the next export finds the same items to add.
        for file, read, head, write in ((self.jsonl, _read_jsonl, "", _line), (self.markdown, _read_markdown, HEAD, _section)):
            present = read(file) if file.exists() else {}
            _append(file, head, [write(row) for row in new if row.id not in present])
        _append(self.exported, "", [_line(row) for row in new])
        return len(new)

    def read(self) -> dict[str, Item]:
        """Every exported item as it is now. Raises ValueError for anything that would lose or invent a row."""
        exported = _read_jsonl(self.exported)
        copies = {file: read(file) for file, read in ((self.jsonl, _read_jsonl), (self.markdown, _read_markdown))}
        for file, items in copies.items():
            if unknown := sorted(set(items) - set(exported)):
                raise ValueError(
                    f"{file} has items that were never exported: {_some(unknown)}; take them out, new rows come by export"
                )
            if gone := sorted(set(exported) - set(items)):
                raise ValueError(
                    f"{file} lacks items that were exported: {_some(gone)}; put them back, with status reject to drop them"
                )
        return {name: self._merged(name, item, [items[name] for items in copies.values()]) for name, item in exported.items()}

    def _merged(self, name: str, exported: Item, copies: Sequence[Item]) -> Item:
        edits = {copy for copy in copies if copy != exported}
        if len(edits) > 1:
            raise ValueError(
                f"item {name} was edited in {self.jsonl.name} and in {self.markdown.name}, and not alike; keep one of the two edits"
            )
        return edits.pop() if edits else exported


class Human:
    """The way of cold start in which people refine rows. The first run exports them; run it again (in a new run folder) when they have
    been edited. What waits is reported as "waiting", what people refuse as "rejected".

    source  rows.jsonl of an earlier `r1 generate`
    queue   the folder of the queue's files
    """

    def __init__(self, source: str, queue: str) -> None:
        self.source, self.queue = source, queue

    def __call__(self, desk: Desk, problems: Sequence[Problem], name: str) -> list[Row]:
        rows, queue = load_rows(self.source), Queue(self.queue)
        queue.export(rows)
        items = queue.read()
        return [_refined(row, items[row.id], name) for row in rows]


def _refined(row: Row, item: Item, name: str) -> Row:
    if item.status == "todo":
        touched = item.completion != row.completion.strip()
        return replace(_by(row, name), dropped=f"waiting: {'edited, but its status is' if touched else 'status'} todo")
    if item.status == "reject":
        return replace(_by(row, name), dropped="rejected: by a person")
    edited = item.completion != row.completion.strip()
    return replace(_by(row, name, edited=edited), completion=item.completion)


def _by(row: Row, name: str, **more: bool) -> Row:
    return replace(row, provenance={"way": name, **more, "from": dict(row.provenance)})


def _line(row: Row) -> str:
    item = {"id": row.id, "status": "todo", "question": row.problem.question, "answer": row.problem.answer}
    return json.dumps(item | {"completion": row.completion.strip()}, ensure_ascii=False) + "\n"


def _section(row: Row) -> str:
    text = row.completion.strip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    quoted = "\n".join(f"> {line}" for line in [*row.problem.question.splitlines(), f"answer: {row.problem.answer}"])
    return f"\n## item {row.id}\n\nstatus: todo\n\n{quoted}\n\n{fence}completion\n{text}\n{fence}\n"


def _append(file: Path, head: str, parts: Sequence[str]) -> None:
    old = file.read_text(encoding="utf-8") if file.exists() else head
    if parts or not file.exists():
        write_text(file, old + ("\n" if old and not old.endswith("\n") else "") + "".join(parts))


def _read_jsonl(file: Path) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for place, row in read_rows(str(file)):
        if isinstance(row, ValueError) or not all(isinstance(row.get(key), str) for key in ("id", "status", "completion")):
            raise ValueError(f"{file}, {place}: expected an item with id, status and completion, got {row}")
        _add(items, row["id"], Item(row["status"], row["completion"].strip()), f"{file}, {place}")
    return items


def _read_markdown(file: Path) -> dict[str, Item]:
    text = file.read_text(encoding="utf-8").replace("\r\n", "\n")
    text += "" if text.endswith("\n") else "\n"
    items: dict[str, Item] = {}
    for match in _ITEM.finditer(text):
        where = f"{file}, line {text.count(chr(10), 0, match.start()) + 1}"
        status = _STATUS.findall(match["head"])
        if len(status) != 1:
            raise ValueError(
                f"{where}: item {match['id'].strip()} needs one line `status: ...` above its text, it has {len(status)}"
            )
        _add(items, match["id"].strip(), Item(status[0], match["text"].strip()), where)
    if broken := re.findall(r"^## item ([^\n]+)", _ITEM.sub("", text), re.MULTILINE):
        raise ValueError(f"{file}: the text of {_some(broken)} does not stand between a line ```completion and a line ```")
    return items


def _add(items: dict[str, Item], name: str, item: Item, where: str) -> None:
    if name in items:
        raise ValueError(f"{where}: item {name} is there twice; keep one")
    if item.status not in STATUSES:
        raise ValueError(f"{where}: the status of {name} is {item.status!r}, expected one of {', '.join(STATUSES)}")
    if not item.completion:
        raise ValueError(f"{where}: the completion of {name} is empty; reject it to drop it")
    items[name] = item


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
