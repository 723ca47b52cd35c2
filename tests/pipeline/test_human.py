"""The queue: nothing is lost, and nothing appears from nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1.pipeline.cold_start import ColdStart
from r1.pipeline.filters import Verdict
from r1.pipeline.human import Human, Queue
from r1.pipeline.rows import report, write_lines

FENCED = "<think> like this:\n```\n## item r/9\n1 + 1\n```\n</think> 2"


@pytest.fixture
def queue(lab: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """Four exported rows: r/0 ... r/3, the last with a fence and a heading in its text."""
    rows = [lab.row(f"<think> so {i} </think> 2", id=f"r/{i}") for i in range(3)] + [lab.row(FENCED, id="r/3")]
    made = Queue(tmp_path / "queue")
    made.export(rows)
    source = tmp_path / "rows.jsonl"
    write_lines(source, [row.as_json() for row in rows])
    return SimpleNamespace(queue=made, rows=rows, source=str(source), folder=str(tmp_path / "queue"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_item(path: Path, name: str, **fields: str) -> None:
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(item | (fields if item["id"] == name else {})) + "\n" for item in items), encoding="utf-8")


def accept(path: Path, name: str, status: str = "accept") -> None:
    edit(path, f"## item {name}\n\nstatus: todo", f"## item {name}\n\nstatus: {status}")


def test_what_is_exported_comes_back_as_it_was(queue: SimpleNamespace) -> None:
    assert {name: (item.status, item.completion) for name, item in queue.queue.read().items()} == {
        row.id: ("todo", row.completion) for row in queue.rows
    }


def test_edits_of_either_file_count(lab: SimpleNamespace, queue: SimpleNamespace) -> None:
    """r/0 is corrected in the Markdown, r/1 accepted in the JSONL, r/2 rejected, r/3 changed but left at todo."""
    accept(queue.queue.markdown, "r/0")
    edit(queue.queue.markdown, "so 0", "so it is 0")
    edit_item(queue.queue.jsonl, "r/1", status="accept")
    accept(queue.queue.markdown, "r/2", "reject")
    edit(queue.queue.markdown, "like this:", "like that:")
    rows, _ = ColdStart(lab.Sums(0), {"human": Human(queue.source, queue.folder)}, {"verdict": Verdict()})(lab.desk())
    assert [row.dropped for row in rows] == [None, None, "rejected: by a person", "waiting: edited, but its status is todo"]
    assert rows[0].completion == "<think> so it is 0 </think> 2"
    assert rows[0].provenance == {"way": "human", "edited": True, "from": {"way": "test"}}
    assert rows[1].provenance["edited"] is False
    assert report(rows)["by"]["way"]["human"] == {"read": 4, "kept": 2, "dropped": {"rejected": 1, "waiting": 1}}


def test_a_person_may_be_wrong(lab: SimpleNamespace, queue: SimpleNamespace) -> None:
    accept(queue.queue.markdown, "r/0")
    edit(queue.queue.markdown, "so 0 </think> 2", "so 0 </think> 3")
    rows, _ = ColdStart(lab.Sums(0), {"human": Human(queue.source, queue.folder)}, {"verdict": Verdict()})(lab.desk())
    assert rows[0].dropped == "wrong: accuracy is 0"


def test_exporting_again_adds_new_rows_and_keeps_every_edit(lab: SimpleNamespace, queue: SimpleNamespace) -> None:
    accept(queue.queue.markdown, "r/0")
    edit(queue.queue.markdown, "so 0", "so edited")
    before = queue.queue.markdown.read_text(encoding="utf-8")
    assert queue.queue.export(queue.rows) == 0
    assert queue.queue.markdown.read_text(encoding="utf-8") == before
    assert queue.queue.export([*queue.rows, lab.row("new", id="r/4")]) == 1
    items = queue.queue.read()
    assert (items["r/0"].completion, items["r/4"].status, len(items)) == ("<think> so edited </think> 2", "todo", 5)


def test_an_export_that_was_killed_is_finished_by_the_next(lab: SimpleNamespace, queue: SimpleNamespace) -> None:
    lines = queue.queue.exported.read_text(encoding="utf-8").splitlines(keepends=True)
    queue.queue.exported.write_text("".join(lines[:2]), encoding="utf-8")  # both files were written, the record was not
    assert queue.queue.export(queue.rows) == 2
    assert len(queue.queue.read()) == 4


def test_removed_items(queue: SimpleNamespace) -> None:
    lines = queue.queue.jsonl.read_text(encoding="utf-8").splitlines(keepends=True)
    queue.queue.jsonl.write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"queue\.jsonl lacks items that were exported: r/0; put them back, with status reject"):
        queue.queue.read()


def test_unknown_items(queue: SimpleNamespace) -> None:
    edit(queue.queue.markdown, "## item r/1\n", "## item r/7\n")
    with pytest.raises(ValueError, match=r"queue\.md has items that were never exported: r/7"):
        queue.queue.read()


def test_items_that_come_twice(queue: SimpleNamespace) -> None:
    edit(queue.queue.markdown, "## item r/1\n", "## item r/0\n")
    with pytest.raises(ValueError, match=r"queue\.md, line \d+: item r/0 is there twice"):
        queue.queue.read()
    lines = queue.queue.jsonl.read_text(encoding="utf-8")
    queue.queue.jsonl.write_text(lines + lines.splitlines(keepends=True)[2], encoding="utf-8")
    with pytest.raises(ValueError, match=r"queue\.jsonl, line 5: item r/2 is there twice"):
        queue.queue.read()


def test_two_edits_that_differ(queue: SimpleNamespace) -> None:
    accept(queue.queue.markdown, "r/0")
    edit_item(queue.queue.jsonl, "r/0", status="accept")
    assert queue.queue.read()["r/0"].status == "accept"  # alike is fine
    edit_item(queue.queue.jsonl, "r/0", completion="<think> else </think> 2")
    with pytest.raises(ValueError, match=r"item r/0 was edited in queue\.jsonl and in queue\.md, and not alike"):
        queue.queue.read()


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("status: todo", "status: done", "the status of r/0 is 'done', expected one of todo, accept, reject"),
        ("status: todo\n", "", "item r/0 needs one line `status: ...`"),
        ("<think> so 0 </think> 2", "", "the completion of r/0 is empty"),
        ("```completion", "", "the text of r/0 does not stand between"),
    ],
)
def test_slips_of_the_pen_are_named(queue: SimpleNamespace, old: str, new: str, match: str) -> None:
    edit(queue.queue.markdown, old, new)
    with pytest.raises(ValueError, match=match):
        queue.queue.read()


def test_broken_json_and_a_changed_source(lab: SimpleNamespace, queue: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="holds other texts of r/0; the source changed"):
        queue.queue.export([lab.row("another text", id="r/0")])
    edit(queue.queue.jsonl, '{"id": "r/1"', '{"id": "r/1')
    with pytest.raises(ValueError, match=r"queue\.jsonl, line 2: expected an item"):
        queue.queue.read()
