"""kill -9 at random points of a recipe of every kind of node; started again, it ends with the same weights, rows and figures."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
import torch

from r1.pipeline import ledger
from r1.pipeline.driver import Driver
from r1.pipeline.plan import plan
from r1.pipeline.recipe import read_recipe
from r1.pipeline.store import Store

KILLS = 10
SMALL = [
    "logger=csv",
    "audit=false",
    "callbacks.progress=null",
    "callbacks.benchmark=null",
    "callbacks.checkpoint.every_n_steps=1",
]
RECIPE = {
    "name": "micro",
    "nodes": {
        "base": {"set": ["experiment=tiny_base", *SMALL, "policy.hidden=16", "policy.layers=1", "policy.heads=2", "policy.inner=24",
                         "task.size=200", "stage.steps=6", "stage.tokens_per_step=512"]},
        "zero": {"set": ["experiment=tiny_r1_zero", *SMALL, "policy.path=@base/hf", "stage.steps=3", "stage.prompts_per_step=2",
                         "stage.group_size=2", "stage.sampling.max_new_tokens=12"]},
        "rows": {"run": "generate", "set": ["data=sample", "data.k=2", "data.limit=12", "rows=8", "policy.path=@zero/hf", "policy.dtype=float32",
                                            "data.sampler.sampling.max_new_tokens=12"]},
        "dev": {"set": ["experiment=tiny_cold_start", *SMALL, "policy.path=@base/hf", "task.path=@rows/rows.jsonl", "task.on_bad=skip", "stage.epochs=null",
                        "stage.steps=4", "stage.tokens_per_step=256"]},
    },
    "ledger": {
        "eval": ["policy.dtype=float32", "benchmark=[pair_countdown]", "benchmark.pair_countdown.problems.limit=4", "benchmark.pair_countdown.k=2",
                 "benchmark.pair_countdown.cons=[2]", "benchmark.pair_countdown.pass_k=[2]", "benchmark.pair_countdown.sampling.max_new_tokens=12"],
        "stages": {"base": "base", "zero": "zero", "dev": "dev"},
    },
}  # fmt: skip


class Micro:
    """The recipe, planned once; every run of it is a forked process, so that the imports are paid once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.recipe = folder, read_recipe(RECIPE)
        self.steps = plan(self.recipe)
        for step in self.steps.values():
            _ = step.code, step.files

    def driver(self, name: str) -> Driver:
        root = self.folder / name
        after = lambda states: ledger.write(root, self.recipe, states)  # noqa: E731
        return Driver(self.recipe, self.steps, Store(root / "store"), root, after=after, say=lambda line: None)

    def start(self, name: str, kill_at: int | None = None) -> int:
        """Run it in a child, which kills itself when it opens its `kill_at`-th file; how many files it opened, -1 where killed."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            self._child(name, kill_at, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return -1
        assert os.WEXITSTATUS(status) == 0, told
        return int(told)

    def _child(self, name: str, kill_at: int | None, writing: int) -> None:
        opened = 0

        def count(event: str, arguments: tuple) -> None:
            nonlocal opened
            if event == "open" and str(self.folder) in str(arguments[0]):
                opened += 1
                if opened == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(count)
            self.driver(name).run()
            os.write(writing, str(opened).encode())
            code = 0
        except BaseException as error:
            os.write(writing, repr(error).encode()[:2000])
        finally:
            os._exit(code)

    def outputs(self, name: str) -> dict[str, dict[str, str]]:
        """Node -> content hashes of what it made: weights, rows, figures."""
        states = self.driver(name).states()
        return {node: states[node].record.outputs for node in self.steps}


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Micro:
    torch.set_num_threads(1)
    return Micro(tmp_path_factory.mktemp("micro"))


@pytest.mark.slow
def test_a_recipe_that_is_killed_ends_like_one_that_is_not(micro: Micro) -> None:
    opened = micro.start("whole")
    expected = micro.outputs("whole")
    assert all(expected.values())
    points = sorted(random.Random(7).sample(range(1, opened + 1), KILLS))
    for point in points:
        name = f"killed-{point}"
        assert micro.start(name, kill_at=point) == -1, point
        micro.start(name)
        assert micro.outputs(name) == expected, point
    columns = [json.loads((micro.folder / name / "ledger.json").read_text())["columns"] for name in ("whole", name)]
    assert [c["evaluations"] for c in columns[0]] == [c["evaluations"] for c in columns[1]]


@pytest.mark.slow
def test_killed_again_and_again_it_still_arrives(micro: Micro) -> None:
    opened = micro.start("whole")  # done before, or made now
    del opened
    draws, kills = random.Random(11), 0
    while kills < KILLS and micro.start("again", kill_at=draws.randrange(1, 150)) == -1:
        kills += 1
    micro.start("again")
    assert kills >= 3
    assert micro.outputs("again") == micro.outputs("whole")
