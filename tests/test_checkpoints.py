"""Checkpoint files that were damaged, written by others, or hold more than tensors; and saving where the disk refuses."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import warnings
from pathlib import Path

import pytest
import torch

from r1 import checkpoints, resume
from r1.checkpoints import BadCheckpoint


def write(folder: Path, step: int, keep: int = 2, **content: object) -> Path:
    folder.mkdir(exist_ok=True)
    ours = {"format": checkpoints.FORMAT, "identity": {}, "state": {"rollout_step": step}}
    torch.save({"r1": ours, "optimizer_states": [], "w": torch.arange(20_000.0), **content}, checkpoints.hidden(folder))
    return checkpoints.install(folder, step, keep)


def test_the_newest_two_stay_and_last_points_to_the_newest(tmp_path: Path) -> None:
    for step in (9, 10, 100):  # 9, 10 and 100 by number, not by name
        write(tmp_path, step)
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path)] == [10, 100]
    assert (tmp_path / checkpoints.LAST).resolve().name == "step=000100.ckpt"
    assert checkpoints.newest(tmp_path) == tmp_path / "step=000100.ckpt"
    assert checkpoints.read(tmp_path / checkpoints.LAST)["r1"]["state"] == {"rollout_step": 100}
    assert not checkpoints.hidden(tmp_path).exists()


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "one byte", "empty"])
def test_a_damaged_one_is_said_and_the_one_before_is_taken(tmp_path: Path, damage: str) -> None:
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    size = bad.stat().st_size
    data = bytearray(bad.read_bytes())
    if damage == "truncated":
        data = data[: size // 2]
    elif damage == "zeroed":
        data = bytearray(size)
    elif damage == "one byte":
        data[size // 2] ^= 1  # in the middle of the numbers: torch.load alone would not notice
    else:
        data = bytearray()
    bad.write_bytes(data)
    with pytest.raises(BadCheckpoint, match=r"step=000002\.ckpt"):
        checkpoints.read(bad)
    with pytest.warns(UserWarning, match="Trying the one before"):
        assert checkpoints.newest(tmp_path) == good


def test_what_cannot_be_read_never_replaces_what_can(tmp_path: Path) -> None:
    good = write(tmp_path, 1)
    checkpoints.hidden(tmp_path).write_bytes(b"half a file")
    with pytest.raises(BadCheckpoint):
        checkpoints.install(tmp_path, 2, keep=1)
    assert checkpoints.newest(tmp_path) == good


def test_going_on_from_an_older_one_puts_the_later_ones_aside(tmp_path: Path) -> None:
    for step in (2, 3, 6, 7):
        write(tmp_path, step, keep=0)
    (tmp_path / "step=000006.ckpt.abandoned").mkdir()  # of an earlier time, from sharded weights
    moved = checkpoints.put_aside(tmp_path, 3)
    assert [path.name for path in moved] == ["step=000007.ckpt.abandoned", "step=000006.ckpt.abandoned"]
    assert all(path.is_file() for path in moved)
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path)] == [2, 3]
    assert (tmp_path / checkpoints.LAST).resolve().name == "step=000003.ckpt"
    assert checkpoints.put_aside(tmp_path, 3) == []
    checkpoints.put_aside(tmp_path, 0)  # to go on from another folder's
    assert checkpoints.all_in(tmp_path) == [] and not (tmp_path / checkpoints.LAST).is_symlink()


@pytest.mark.parametrize("keep", [1, 2])
def test_a_new_one_never_removes_itself(tmp_path: Path, keep: int) -> None:
    for step in (2, 6, 7):
        write(tmp_path, step, keep=0)
    write(tmp_path, 3, keep=keep)
    assert [checkpoints.step_of(path) for path in checkpoints.all_in(tmp_path)] == [2, 3, 6, 7][2 - keep :]
    assert (tmp_path / checkpoints.LAST).resolve() == tmp_path / "step=000003.ckpt"


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"r1": Bomb(tmp_path / "ran")}, tmp_path / "a.ckpt")
    with pytest.raises(BadCheckpoint, match="could run code"):
        checkpoints.read(tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(BadCheckpoint, match="no checkpoint"):
        checkpoints.read(tmp_path / "b.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"w": torch.ones(2)}}, "not written by an r1 stage"),  # a model's weights
        ({"state_dict": {}, "optimizer_states": [], "loops": {}}, "not written by an r1 stage"),  # another Lightning program's
        ([1, 2], "not written by an r1 stage"),
        ({"r1": {"rollout_step": 4}, "optimizer_states": []}, "of format None"),  # before formats had numbers
        ({"r1": {"format": 99}, "optimizer_states": []}, "reads format 1"),
    ],
)
def test_foreign_and_older_ones_are_named_as_such(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(BadCheckpoint, match=message):
        checkpoints.read(tmp_path / "x.ckpt")


def test_none_there_and_an_unfinished_sharded_one(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    with pytest.raises(BadCheckpoint, match="there is no checkpoint at"):
        checkpoints.read(tmp_path / "none.ckpt")
    (tmp_path / "step=000003.ckpt").mkdir()
    with pytest.raises(BadCheckpoint, match=r"without \.metadata and meta\.pt"):
        checkpoints.check(tmp_path / "step=000003.ckpt")


def test_a_sharded_one_says_which_run_it_is(tmp_path: Path) -> None:
    """As a file does: a finished run is recognised, and another config refused, before any rank has started."""
    folder = tmp_path / "step=000003.ckpt"
    folder.mkdir()
    (folder / ".metadata").write_bytes(b"")
    ours = {"format": checkpoints.FORMAT, "identity": {"seed": 1}, "state": {"rollout_step": 3}}
    torch.save({"r1": ours, "r1_loggers": {"WandbLogger": "abc"}, "loops": {}}, folder / "meta.pt")
    assert resume.header(folder) == {"r1": ours, "r1_loggers": {"WandbLogger": "abc"}, "optimizer_states": []}
    assert checkpoints.newest(tmp_path) == folder
    os.truncate(folder / "meta.pt", 100)
    with pytest.warns(UserWarning, match="cannot be read"):
        assert checkpoints.newest(tmp_path) is None


def test_differences_are_named_by_their_path() -> None:
    then = {"reward": {"weights": {"format": 0.1}}, "seed": 0, "stage": {"steps": 5}}
    now = {"reward": {"weights": {"format": 0.5}}, "seed": 0, "stage": {"steps": 5, "packing": True}}
    assert list(checkpoints.differences(then, now)) == [
        "reward.weights.format: 0.1 in the checkpoint, 0.5 now",
        "stage.packing: None in the checkpoint, True now",
    ]


def test_a_full_disk_leaves_appended_and_replaced_files_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: 8,192 bytes and no more."""
    from r1 import files

    (tmp_path / "a").write_bytes(b"x" * 8000)
    (tmp_path / "b").write_bytes(b"old")
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        refused = 0
        for change in (lambda: files.append(tmp_path / "a", b"y" * 500), lambda: files.replace(tmp_path / "b", b"z" * 9000)):
            try:
                change()
            except OSError:
                refused += 1
        files.append(tmp_path / "a", b"y" * 100)  # what fits goes in
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert (tmp_path / "a").read_bytes() == b"x" * 8000 + b"y" * 100
    assert (tmp_path / "b").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_no_warning_when_all_is_well(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.newest(tmp_path) is not None
