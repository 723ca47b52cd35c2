"""Nothing that was written is asked for again, and a run that goes on ends with the same rows."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace

import pytest


class Killed(Exception):
    pass


def dying(lab: SimpleNamespace, after: int):
    """A script that is killed at the request after `after` ones."""
    script = lab.Script(lambda problem, i: f"<think> {problem.id} </think> {i}")

    def call(problems, n, keys):
        if len(script.asked) == after:
            raise Killed
        return script(problems, n, keys)

    call.name = "script"  # type: ignore[attr-defined]
    return script, call


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_killed_and_started_again(lab: SimpleNamespace, after: int) -> None:
    """Seven problems, two samples each, six completions at once: three problems a request, three requests."""
    problems = lab.Sums(7).train
    whole = lab.Script(lambda problem, i: f"<think> {problem.id} </think> {i}")
    _, killed = dying(lab, after)
    desk = lab.desk(rows=6)
    if after < 3:
        with pytest.raises(Killed):
            desk.sample("x", killed, problems, 2)
    else:
        desk.sample("x", killed, problems, 2)
    rows = lab.desk(rows=6).sample("x", whole, problems, 2)
    assert whole.asked == [["q/0", "q/1", "q/2"], ["q/3", "q/4", "q/5"], ["q/6"]][after:]
    fresh = lab.Script(lambda problem, i: f"<think> {problem.id} </think> {i}")
    assert rows == lab.desk(rows=6).__class__(desk.folder / "fresh", lab.REWARD, rows=6).sample("x", fresh, problems, 2)
    assert [row.id for row in rows] == [f"q/{p}#{i}" for p in range(7) for i in range(2)]
    assert rows[3].provenance == {"way": "x", "model": "script", "sample": 1, "seed": rows[3].provenance["seed"]}
    assert len({row.provenance["seed"] for row in rows}) == 14


def test_a_chunk_that_was_half_written_is_asked_for_again(lab: SimpleNamespace) -> None:
    problems = lab.Sums(4).train
    script = lab.Script(lambda problem, i: problem.id * 50)
    rows = lab.desk(rows=2).sample("x", script, problems, 1)
    path = lab.desk().folder / "traces/x.jsonl.zst"
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    with pytest.warns(UserWarning, match="not finished"):
        again = lab.desk(rows=2).sample("x", script, problems, 1)
    assert (script.asked[2:], again) == ([["q/2", "q/3"]], rows)
    assert path.read_bytes() == data


def test_rows_carry_the_reward_unless_it_was_not_wanted(lab: SimpleNamespace) -> None:
    script = lab.Script(lambda problem, i: "<think> so </think> 2")
    assert [row.score.parts["accuracy"] for row in lab.desk().sample("x", script, lab.Sums(2).train, 1)] == [0.0, 1.0]
    assert lab.desk().sample("y", script, lab.Sums(2).train, 1, scored=False)[0].score is None


def test_a_folder_with_other_samples_is_refused(lab: SimpleNamespace) -> None:
    script = lab.Script(lambda problem, i: "2")
    lab.desk(rows=2).sample("x", script, lab.Sums(4).train, 1)
    with pytest.raises(ValueError, match="other problems than are asked for now"):
        lab.desk(rows=2).sample("x", script, lab.Sums(4).train[::-1], 1)
    with pytest.raises(ValueError, match="more samples than are asked for now"):
        lab.desk(rows=2).sample("x", script, lab.Sums(2).train, 1)


def test_a_folder_belongs_to_one_config(lab: SimpleNamespace) -> None:
    desk = lab.desk()
    desk.claim({"k": 4, "seed": 0})
    desk.claim({"seed": 0, "k": 4})
    with pytest.raises(ValueError, match=r"another config \(it differs in k, n\)"):
        desk.claim({"k": 5, "seed": 0, "n": 1})


def test_the_policy_is_made_once_and_only_when_somebody_samples(lab: SimpleNamespace, tmp_path: Path) -> None:
    made: list[str] = []

    def writer():
        made.append("policy")
        return "policy", "engine"

    desk = lab.desk().__class__(tmp_path / "w", lab.REWARD, writer=writer)
    wanted = functools.partial(lambda policy, engine, more: (policy, engine, more), more=1)
    assert made == []
    assert desk.sampler(wanted) == ("policy", "engine", 1)
    assert desk.sampler(wanted) == ("policy", "engine", 1)
    assert made == ["policy"]
    with pytest.raises(ValueError, match="none is configured"):
        lab.desk().sampler(wanted)
    with pytest.raises(ValueError, match="at least 1"):
        lab.desk(rows=0)
