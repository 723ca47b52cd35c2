"""r1 audit: exit code and output for a reward that holds and one that pays for a trick; training refuses the second."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1.commands.audit import main
from r1.rewards import Reward
from r1.run import _refuse_hackable


def contains_the_answer(traces):
    """The oldest mistake: paid for the gold answer anywhere in the text (bug 34)."""
    return [float(t.problem.answer in t.text) for t in traces]


def test_the_papers_reward_pays_for_no_trick(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([f"paths.runs={tmp_path}"]) == 0
    assert "no trick is paid for" in capsys.readouterr().out


def test_gold_answers_of_a_task_are_tried(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([f"paths.runs={tmp_path}", "reward=tiny", "task=pair_countdown", "template=tiny"]) == 0
    out = capsys.readouterr().out
    assert "1757 of 1757 gold answers earn full accuracy" in out
    assert "User : use two of" in out


def test_training_refuses_a_reward_that_pays_for_tricks() -> None:
    hackable = Reward({"contains": contains_the_answer}, {"contains": 1.0})
    with pytest.raises(ValueError, match="audit=false trains on it anyway"):
        _refuse_hackable(hackable)
    _refuse_hackable(
        Reward({"contains": contains_the_answer, "length": lambda ts: [0.0] * len(ts)}, {"contains": 0.0, "length": 1.0})
    )
