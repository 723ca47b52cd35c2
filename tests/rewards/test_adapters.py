"""TRL-signature functions as parts, with TRL's own among them where TRL is installed."""

from __future__ import annotations

import pytest

from r1.records import Problem, Trace
from r1.rewards import Reward, Trl


def trace(text: str, **meta) -> Trace:
    return Trace(Problem("p/1", "2 + 2?", "4", meta=meta), [1], [5, 6], [-0.1, -0.2], text, "stop")


def test_the_function_gets_what_trl_would_give_it() -> None:
    seen = {}

    def by_length(prompts, completions, completion_ids, solution, level=None, **columns):
        seen.update(prompts=prompts, completions=completions, ids=completion_ids, solution=solution, level=level, columns=columns)
        return [float(len(c)) for c in completions]

    assert Trl(by_length)([trace("ab", level=3), trace("abc")]) == [2.0, 3.0]
    assert seen["prompts"] == ["2 + 2?", "2 + 2?"]
    assert seen["completions"] == ["ab", "abc"]
    assert seen["ids"] == [[5, 6], [5, 6]]
    assert seen["solution"] == ["4", "4"]
    assert seen["level"] == [3, None]
    assert set(seen["columns"]) == {"answer", "ground_truth", "domain", "language", "id"}


def test_conversational_and_arguments() -> None:
    def last_role(completions, bonus, **_):
        return [bonus if c[-1]["role"] == "assistant" else 0.0 for c in completions]

    assert Trl(last_role, conversational=True, arguments={"bonus": 0.5})([trace("a")]) == [0.5]


def test_none_passes_through_and_exceptions_stop_the_run() -> None:
    assert Trl(lambda completions, **_: [None for _ in completions])([trace("a")]) == [None]
    with pytest.raises(KeyError):
        Trl(lambda completions, **columns: [columns["no_such_column"]])([trace("a")])


def test_dotted_paths() -> None:
    assert Trl("builtins.print").function is print
    for wrong in ("r1.rewards.no_such_thing", "no_such_package.f", "f"):
        with pytest.raises(ValueError, match="package.module.function"):
            Trl(wrong)


def test_trls_own_format_reward_pays_for_an_empty_thought() -> None:
    """Why the strict template exists: `<think></think>` earns full reward from TRL's check, 0 from ours."""
    trl_rewards = pytest.importorskip("trl.rewards", reason="TRL is a development extra")
    reward = Reward({"theirs": Trl(trl_rewards.think_format_reward, conversational=True)}, {"theirs": 1.0})
    (scored,) = reward.score([trace("<think></think>")])
    assert scored.score.total == 1.0
    from r1.rewards import Format

    assert Format("r1")([trace("<think></think>")]) == [0.0]
