"""Does RL amplify reflection because it pays? Runs of both arms, written by hand, and every verdict."""

from __future__ import annotations

import json

import pytest

from r1.analysis.amplification import answer, as_json, html, markdown, read_arm
from r1.rollout.trace_file import TraceWriter


@pytest.fixture
def arm(tmp_path, aha):
    """Write a seed: at step 0 one of four samples reflects and is right with a share of problems; at step 10 `after` of four do."""
    saved, lost = f"{aha.FIRST} {aha.AGAIN} </think> {aha.RIGHT}", f"{aha.FIRST} </think> {aha.WRONG}"
    vain = f"{aha.FIRST} wait , try 9 minus 2 is 7 want 54 no . </think> {aha.WRONG}"

    def write(name: str, seed: int, pays: bool, after: int, finished: bool = True):
        folder = tmp_path / name / f"seed_{seed}" / "r1_zero"
        good = saved if pays else vain
        writer = TraceWriter(folder / "traces" / "evaluations.jsonl")
        for step, count in ((0, 1), (10, after)):
            for problem in range(4 + seed):  # so that seeds differ a little
                hit = good if problem or not pays else vain
                writer.write(list(aha.group(str(problem), *[hit] * count, *[lost] * (4 - count)).traces), step=step, stage="grpo", phase="eval/x")  # fmt: skip
        (folder / "metrics.csv").write_text("step,train/reward\n10,0.5\n")
        if finished:
            (folder / "summary.json").write_text('{"steps": 10}')
        return tmp_path / name

    return write


def arms(arm, **after):
    for seed in (0, 1, 2):
        folders = [arm(name, seed, name == "informative", counts[seed]) for name, counts in after.items()]
    return answer(*map(read_arm, folders))


def test_yes_where_only_the_paying_arm_grows(arm):
    found = arms(arm, informative=(4, 4, 3), useless=(0, 0, 0))
    assert found.verdict.startswith("Yes: where reflecting pays, RL makes it frequent; where it does not, the same RL removes it")
    assert found.growth["informative"].value == pytest.approx((0.75 + 0.75 + 0.5) / 3)
    assert found.payoff["informative"].value == pytest.approx(
        (3 / 4 + 4 / 5 + 5 / 6) / 3
    )  # one problem of each seed is not saved
    assert found.payoff["useless"].value == 0


@pytest.mark.parametrize(
    ("informative", "useless", "said"),
    [
        ((4, 4, 3), (1, 0, 2), "Yes: RL makes reflecting frequent where it pays; where it does not, no change"),
        ((4, 4, 3), (4, 4, 3), "Not only"),
        ((0, 0, 0), (0, 0, 0), "No:"),
    ],
)
def test_other_verdicts(arm, informative, useless, said):
    assert arms(arm, informative=informative, useless=useless).verdict.startswith(said)


def test_one_seed_or_the_wrong_arms_cannot_tell(arm):
    one = answer(read_arm(arm("informative", 0, True, 4)), read_arm(arm("useless", 0, False, 0)))
    assert one.verdict.startswith("Cannot tell: an arm has one seed")
    for seed in (1, 2):
        arm("informative", seed, True, 4), arm("useless", seed, False, 0)
    good, bad = (read_arm(arm(name, 0, name == "informative", 4)) for name in ("informative", "useless"))
    assert answer(bad, good).verdict.startswith("Cannot tell: the arms differ not as intended")


def test_unfinished_runs_are_left_out_and_named(arm):
    arm("informative", 0, True, 4)
    folder = arm("informative", 1, True, 4, finished=False)
    with pytest.warns(UserWarning, match="seed_1 is not finished"):
        assert [seed.name for seed in read_arm(folder)] == ["seed_0"]
    with pytest.raises(ValueError, match="a folder a seed"):
        read_arm(folder / "nothing")


def test_what_is_written(arm):
    found = arms(arm, informative=(4, 4, 3), useless=(0, 0, 0))
    text = markdown(found)
    assert found.verdict in text
    assert "| seed_0 | +75 (" in text
    assert "25.0% → 100.0%" in text
    page = html(found)
    assert found.verdict in page
    assert page.count("<section") == page.count("</section>")
    facts = json.loads(json.dumps(as_json(found)))
    assert facts["arms"]["useless"]["seed_2"][1]["reflects"] == 0
    assert facts["growth"]["useless"]["value"] == -0.25
