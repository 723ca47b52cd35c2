"""`r1 generate` from its config: what it composes, what it writes, and that a killed run ends with the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1.build import CONF, ConfigError, build, compose
from r1.pipeline.generate import generate, table
from r1.policy.tiny import tiny_policy
from r1.rollout.trace_file import TraceWriter, read_traces
from r1.tasks.words import vocabulary

FILES = ("rows.jsonl", "dropped.jsonl", "report.json", "traces/sample.jsonl.zst")
TINY = ["data/rewriter@data.ways.readable.rewriter=tiny"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("policy")
    tiny_policy(vocabulary(), hidden=16, layers=1, heads=2, inner=16).save(folder)
    return str(folder)


def config(folder: Path, policy: str, *overrides: str):
    small = ["rows=6", "data.limit=5", "data.k=2", "data.sampler.sampling.max_new_tokens=8"]
    return compose("generate", ["policy=tiny_words", f"policy.path={policy}", *small, *overrides], folder)


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


@pytest.fixture(scope="module")
def whole(policy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    generate(config(folder, policy))
    return folder


def test_sampling_writes_rows_traces_and_a_report(whole: Path) -> None:
    rows = [json.loads(line) for line in (whole / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    report = json.loads((whole / "report.json").read_text(encoding="utf-8"))
    traces = [trace for trace, _ in read_traces(whole / "traces/sample.jsonl.zst")]
    assert (report["read"], report["kept"], len(rows), len(traces)) == (10, 10, 10, 10)
    assert [row["completion"] for row in rows] == [trace.text for trace in traces]
    assert all(trace.score is not None and len(trace.token_ids) == len(trace.logps) > 0 for trace in traces)
    assert json.loads((whole / "manifest.json").read_text(encoding="utf-8"))["seed"] == 0
    assert table(report) == "10 of 10 rows kept\n  sample: 10 of 10"


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    """Five problems, two samples each, six at once: requests for 3 and 2 problems. Killed once after the first, and once half way
    through the writing of the second."""
    write = TraceWriter.write

    def dying(self, traces, **more):
        write(self, traces, **more)
        if len(traces) == 4:  # the second chunk is torn
            self.path.write_bytes(self.path.read_bytes()[:-5])
        raise KeyboardInterrupt

    cfg = config(tmp_path, policy)
    for _ in range(2):
        monkeypatch.setattr(TraceWriter, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            generate(cfg)
        monkeypatch.undo()
        assert not (tmp_path / "rows.jsonl").exists()
    with pytest.warns(UserWarning, match="not finished"):
        generate(cfg)
    assert contents(tmp_path) == contents(whole)
    generate(cfg)  # once more changes nothing
    assert contents(tmp_path) == contents(whole)
    with pytest.raises(ValueError, match=r"another config \(it differs in seed\)"):
        generate(config(tmp_path, policy, "seed=1"))


def test_cold_start_and_rejection_run_from_their_configs(policy: str, tmp_path: Path) -> None:
    cold = compose(
        "generate",
        ["data=cold_start", "policy=tiny_words", f"policy.path={policy}", *TINY, "data.limit=3", "data.ways.readable.k=2",
         "data.ways.readable.sampler.sampling.max_new_tokens=8"],
        tmp_path / "cold",
    )  # fmt: skip
    report = generate(cold)
    assert (report["read"], report["kept"], sum(report["dropped"].values())) == (6, 0, 6)  # random weights solve nothing
    mix = config(tmp_path / "mix", policy, "data=rejection", "+data/general=tiny", "data.ratio=[600,200]")
    report = generate(mix)
    assert report["by"]["way"]["general"]["read"] == 143
    assert report["read"] == 153


def test_without_a_policy_everything_comes_from_an_endpoint(serve, tmp_path: Path) -> None:
    server = serve(lambda body: "<think> I multiply. </think> The answer is 9 * 6.")
    overrides = [
        "~policy",
        "data/sampler=endpoint",
        f"data.sampler.url={server.url}",
        "data.sampler.model=m",
        "data.limit=2",
        "data.k=1",
    ]
    report = generate(compose("generate", overrides, tmp_path))
    assert (report["kept"], len(server.requests)) == (2, 2)
    generate(compose("generate", overrides, tmp_path))
    assert len(server.requests) == 2  # nothing is paid for twice


NEEDS = {"policy.path": "some/folder", "task.path": "x.jsonl"}
EVERYTHING = [
    "data=sample",
    "data=cold_start data/filters=tiny +data/way@data.ways.few_shot=few_shot +data/way@data.ways.direct=direct +data/way@data.ways.human=human",
    "data=rejection data/filters=drafts data/sampler=endpoint +task@data.against.aime24=aime24 data.ratio=[600,200] "
    "+data/general=documents +data/sampler@data.general.sampler=endpoint",
    "data=preferences",
]


@pytest.mark.parametrize("overrides", EVERYTHING)
def test_every_option_composes(overrides: str) -> None:
    with pytest.raises(ConfigError) as error:  # what a file leaves to the user is named
        compose("generate", overrides.split())
    lines = str(error.value).splitlines()
    assert all("has no default" in line for line in lines)
    missing = [line.split()[0] for line in lines]
    given = [f"{key}={'http://localhost/v1' if key.endswith('url') else NEEDS.get(key, 'given')}" for key in missing]
    assert compose("generate", [*overrides.split(), *given]).name == "generate"


def test_every_file_of_the_group_is_composed_in_these_tests() -> None:
    text = Path(__file__).read_text(encoding="utf-8") + (CONF / "data/cold_start.yaml").read_text(encoding="utf-8")
    text += (CONF / "data/way/readable.yaml").read_text(encoding="utf-8")
    for file in (CONF / "data").rglob("*.yaml"):
        assert f"={file.stem}" in text or f": {file.stem}" in text, f"{file.name} is in no test"


def test_filters_of_the_configs_are_the_ones_documented() -> None:
    cfg = compose("generate", ["policy.path=x", "data=rejection", "data.filters.code_block=null"])
    filters = build(cfg.data.filters.verdict), build(cfg.data.filters.repetition)
    assert (filters[0].parts, filters[1].n) == (["accuracy"], 20)
    assert list(cfg.data.filters) == [
        "truncated", "format", "verdict", "mixed_language", "other_language", "repetition", "long_paragraph", "code_block",
    ]  # fmt: skip


@pytest.mark.slow
def test_kill_9_and_again(policy: str, tmp_path: Path) -> None:
    """The command itself, killed without warning once its first chunk is on disk."""
    overrides = ["policy=tiny_words", f"policy.path={policy}", "rows=8", "data.limit=60", "data.k=2",
                 "data.sampler.sampling.max_new_tokens=16", "print_config=false"]  # fmt: skip

    def start(folder: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "r1", "generate", *overrides, f"hydra.run.dir={folder}"], stdout=subprocess.DEVNULL
        )

    assert start(tmp_path / "whole").wait(300) == 0
    killed = start(tmp_path / "killed")
    while not (tmp_path / "killed/traces/sample.jsonl.zst").exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed/rows.jsonl").exists()
    assert start(tmp_path / "killed").wait(300) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
