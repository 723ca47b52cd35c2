from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from r1.tasks.rows import MAX_CELL, BadRow, collect, read_rows


def written(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"\n".join(lines))
    return str(path)


def test_jsonl_rows_with_their_lines(tmp_path: Path) -> None:
    # a byte order mark, a blank line, a line separator character inside a string: none of them moves the line numbers
    path = written(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}', b"", '{"a": "x\u2028y"}'.encode(), b'{"a": 3}\n')
    assert list(read_rows(path)) == [("line 1", {"a": 1}), ("line 3", {"a": "x\u2028y"}), ("line 4", {"a": 3})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": 1', r"line 2: not JSON: .* at column"),
        (b'{"a": "\xff"}', r"line 2: not UTF-8 \(byte 7 is 0xff\)"),
        (b"[1, 2]", "line 2: expected a JSON object, got list"),
        (b'{"a": ' + b"[" * 200_000, "line 2: JSON that cannot be read: maximum recursion depth"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "line 2: JSON that cannot be read: Exceeds the limit"),
        (rb'{"a": "\uD83D"}', r"line 2: it holds half a character, the lone surrogate '\\ud83d'"),
        (rb'{"a": [{"\udc00": 1}]}', "line 2: it holds half a character"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = written(tmp_path / "a.jsonl", b'{"a": 1}', line, b'{"a": 3}')
    with pytest.raises(ValueError, match=message):
        collect(path, read_rows(path), lambda row: row["a"], "error")
    with pytest.warns(UserWarning, match="1 of 3 rows left out: line 2"):
        made, bad = collect(path, read_rows(path), lambda row: row["a"], "skip")
    assert made == [1, 3]
    assert len(bad) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"2,\xff", r"row 2: not UTF-8 \(a byte of '.*' is 0xff\)"),
        (b"2," + b"x" * (MAX_CELL + 1), "row 2: a cell of 16,777,217 characters"),
        (b'2,"' + b"7,8\n" * (MAX_CELL // 4) + b'9"', "row 2: a cell of 16,777,217 characters"),  # its lines are no rows
        (b"2", "row 2: it has not as many cells"),
        (b"2,3,4", "row 2: it has not as many cells"),
    ],
    ids=["bytes", "cell", "lines", "few", "many"],
)
def test_a_bad_row_of_a_csv_file_is_named(tmp_path: Path, row: bytes, message: str) -> None:
    path = written(tmp_path / "a.csv", b"\xef\xbb\xbfa,b", "1,ü".encode(), row, b"3,z")
    with pytest.raises(ValueError, match=message):
        collect(path, read_rows(path), lambda row: row["a"], "error")
    with pytest.warns(UserWarning, match="1 of 3 rows left out: row 2"):
        made, _ = collect(path, read_rows(path), lambda row: (row["a"], row["b"]), "skip")
    assert made == [("1", "ü"), ("3", "z")]


def test_a_csv_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "größe,b".encode("latin-1"), b"1,2")
    with pytest.raises(ValueError, match="row 1: not UTF-8"):
        collect(path, read_rows(path), dict, "error")


def test_a_reader_may_refuse_rows(tmp_path: Path) -> None:
    def odd(row: dict) -> int:
        if row["a"] % 2 == 0:
            raise BadRow(f"{row['a']} is even")
        return row["a"]

    path = written(tmp_path / "a.jsonl", b'{"a": 2}', b'{"a": 4}')
    with pytest.raises(ValueError, match=r"line 1: 2 is even \(on_bad=skip"):
        collect(path, read_rows(path), odd, "error")
    with pytest.warns(UserWarning, match="2 of 2"), pytest.raises(ValueError, match="no usable problem: line 1: 2 is even"):
        collect(path, read_rows(path), odd, "skip")


def test_our_own_mistakes_are_not_bad_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", b'{"b": 2}')
    with pytest.raises(KeyError):
        collect(path, read_rows(path), lambda row: row["a"], "skip")


def test_files_that_are_not_there_or_not_readable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no problem file at .*gone\.jsonl"):
        list(read_rows(str(tmp_path / "gone.jsonl")))
    with pytest.raises(ValueError, match=r"\.jsonl .*, \.csv or \.parquet, got .*table\.tsv"):
        list(read_rows(written(tmp_path / "table.tsv", b"a,b")))
    empty = written(tmp_path / "empty.jsonl", b"")
    with pytest.raises(ValueError, match="it is empty"):
        collect(empty, read_rows(empty), dict, "error")
    with pytest.raises(ValueError, match="on_bad must be"):
        collect(empty, read_rows(empty), dict, "ignore")  # type: ignore[arg-type]


def test_parquet_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow comes with the extra `data`")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"problem": ["1 + 1", "2 + 2"], "answer": [2, 4]}), path)
    assert list(read_rows(str(path))) == [
        ("row 1", {"problem": "1 + 1", "answer": 2}),
        ("row 2", {"problem": "2 + 2", "answer": 4}),
    ]


def test_missing_extras_name_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"needs pyarrow .* pip install 'r1-lab\[data\]'"):
        list(read_rows(written(tmp_path / "a.parquet", b"")))
    with pytest.raises(ValueError, match=r"'owner/name' is no file here.* pip install 'r1-lab\[data\]'"):
        list(read_rows("owner/name"))


def test_hub_rows_and_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Hub:
        @staticmethod
        def load_dataset(path: str, subset: str | None, split: str) -> list[dict]:
            calls.append((path, subset, split))
            if path == "owner/gone":
                raise ConnectionError("Couldn't reach the hub\nmore")
            return [{"question": "1 + 1"}]

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    assert list(read_rows("owner/name", "test", "main")) == [("row 1", {"question": "1 + 1"})]
    assert calls == [("owner/name", "main", "test")]
    with pytest.raises(ValueError, match=r"'owner/gone' is no file here.*split 'train': Couldn't reach the hub \("):
        list(read_rows("owner/gone"))


def test_json_keeps_characters_that_are_written_as_two_escapes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", rb'{"a": "\ud83d\ude00 and C:\\ud83d"}')
    assert list(read_rows(path)) == [("line 1", {"a": "\U0001f600 and C:\\ud83d"})]


def test_json_keeps_big_and_odd_text(tmp_path: Path) -> None:
    row = {"a": "ü 书 \U0001f600 " + "x" * 100_000}
    path = written(tmp_path / "a.jsonl", json.dumps(row, ensure_ascii=False).encode())
    assert list(read_rows(path)) == [("line 1", row)]
