"""Which code a node depends on: what is followed, what is not, and which edits count."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from r1.pipeline import sources
from r1.pipeline.sources import code_of, digests, module_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of the user's own; `write` changes a file, as an editor would between two starts."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / "mine" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for cached in (sources._file, sources._digest, sources._imported):
            cached.cache_clear()

    write(
        __init__="from mine.reward import Reward\nfrom mine.other import Other\n",
        stage="from typing import TYPE_CHECKING\nfrom mine import Reward\nimport json\nif TYPE_CHECKING:\n    import mine.types\n\n"
        "def fit():\n    from . import late\n    return late\n",
        reward="class Reward:\n    pass\n",
        other="class Other:\n    pass\n",
        types="X = 1\n",
        late="Y = 1\n",
    )
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def test_imports_are_followed_to_where_a_name_is_defined(package):
    # not mine.other, which the package offers beside; not mine.types, which only type checkers import; not json
    assert list(digests(["mine.stage"])) == ["mine.late", "mine.reward", "mine.stage"]
    assert list(digests(["mine.stage"], follow=False)) == ["mine.stage"]


def test_a_target_is_the_module_that_defines_it(package):
    assert module_of("mine.Reward") == ["mine.reward"]
    assert module_of("mine.stage.fit") == ["mine.stage"]
    assert module_of("r1.stages.SFT") == ["r1.stages.sft"]
    assert module_of("r1.policy.Policy.load") == ["r1.policy.policy"]
    assert module_of("torch.optim.SGD") == module_of("json.dumps") == module_of("no.such.thing") == []


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("class Reward:\n    '''Now with words.'''\n\n    pass  # and a remark\n", True),
        ("class Reward:\n    weight = 1\n", False),
    ],
)
def test_code_counts_and_words_do_not(package, text, same):
    before = digests(["mine.stage"])
    package(reward=text)
    assert (digests(["mine.stage"]) == before) is same


def test_docstrings_of_every_kind_are_left_out():
    assert (
        code_of('"""File."""\nclass A:\n    """Class."""\n    def f(self):\n        """Function."""\n')
        == "class A:\n\n    def f(self):\n        pass"
    )
    assert code_of('x = """kept"""') == "x = 'kept'"


def test_a_stage_does_not_depend_on_the_others():
    code = digests(["r1.stages.sft"])
    assert {"r1.stages.base", "r1.rollout.collate", "r1_kernels.imitation"} <= set(code)
    assert not {"r1.stages.reward_model", "r1.rewards.judge", "r1.analysis.plots", "r1.callbacks.progress"} & set(code)
