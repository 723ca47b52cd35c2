"""What CONTRIBUTING.md tells people to write works as written."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from r1 import build, rewards
from r1.records import Problem, Trace

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)[0]


def test_the_example_of_a_reward_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("r1.rewards.brevity")
    exec(compile(block("python"), "CONTRIBUTING.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "r1.rewards.brevity", module)
    monkeypatch.setattr(rewards, "brevity", module, raising=False)
    path = tmp_path / "reward/part/brevity.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(block("yaml"), encoding="utf-8")

    command = re.search(r"^r1 train -m (.*brevity.*)$", TEXT, flags=re.MULTILINE)
    assert command
    overrides = [re.sub(r"=([^,]+),.*", r"=\1", word) for word in command[1].split()]  # the first job of the sweep
    cfg = build.compose(overrides=[f"hydra.searchpath=[file://{tmp_path}]", *overrides, "reward.parts.brevity.words=2"])
    part = build.build(cfg.reward).parts["brevity"]

    def trace(text: str) -> Trace:
        problem = Problem(id="p/0", question="q", answer="a")
        return Trace(problem=problem, prompt_ids=[1], token_ids=[2], logps=[0.0], text=text, finish_reason="stop")

    # Two words are allowed: "a b" earns 1, three words 2 - 3/2 = 0.5, four nothing.
    assert part([trace("a b"), trace("a b c"), trace("a b c d")]) == [1.0, 0.5, 0.0]
