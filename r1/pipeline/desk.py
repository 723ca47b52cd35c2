"""Where a data recipe works: a folder in which nothing that a model wrote is lost or paid for twice.

Samples are asked for in chunks of a fixed size, and every chunk stands in a trace file before the next is asked for. A run that was
killed reads the whole chunks back and goes on with the one after: the same problems in the same batches, so the same samples.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from r1.pipeline.rows import Row, write_text
from r1.pipeline.samplers import PolicySampler, Sampler
from r1.records import Problem, Trace
from r1.rewards import Reward
from r1.rollout.trace_file import TraceWriter, read_traces

if TYPE_CHECKING:
    from r1.policy import Policy
    from r1.rollout.engine import Engine

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def no_bar(name: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda done, total: None)


class Desk:
    """The folder, the shared reward, the seed, and the samplers of a recipe.

    folder   of the run; trace files go to its traces/
    writer   makes (policy, engine) when a sampler first needs them; None where every sampler is an endpoint
    rows     completions asked for at once
    bar      makes a progress bar for each batch of samples
    """

    def __init__(
        self,
        folder: str | Path,
        reward: Reward,
        seed: int = 0,
        writer: Callable[[], tuple[Policy, Engine]] | None = None,
        rows: int = 512,
        bar: Bar = no_bar,
    ) -> None:
        if rows < 1:
            raise ValueError(f"rows, the completions asked for at once, must be at least 1, got {rows}")
        self.folder, self.reward, self.seed, self.rows, self.bar = Path(folder), reward, seed, rows, bar
        self._make_writer = writer
        self._writer: tuple[Policy, Engine] | None = None

    def claim(self, config: Mapping[str, Any]) -> None:
        """Make the folder this config's. Raises ValueError where it holds the samples of another one."""
        file = self.folder / "claim.json"
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        if not file.exists():
            write_text(file, text)
        elif file.read_text(encoding="utf-8") != text:
            found = json.loads(file.read_text(encoding="utf-8"))
            keys = sorted(key for key in {*found, *config} if found.get(key) != json.loads(text).get(key))
            raise ValueError(
                f"{self.folder} holds data of another config (it differs in {', '.join(keys)}); choose a new folder, or delete this one"
            )

    def sampler(self, wanted: Sampler | functools.partial) -> Sampler:
        """A sampler that is ready; one that a config left open gets the policy and its engine."""
        if not isinstance(wanted, functools.partial):
            return wanted
        if self._make_writer is None:
            raise ValueError(
                "a sampler asks for a policy, but none is configured: give policy.path=..., or data/sampler=endpoint"
            )
        if self._writer is None:
            self._writer = self._make_writer()
        policy, engine = self._writer
        return cast(PolicySampler, wanted(policy=policy, engine=engine))

    def sample(
        self, way: str, wanted: Sampler | functools.partial, problems: Sequence[Problem], n: int, scored: bool = True
    ) -> list[Row]:
        """n rows a problem, kept in traces/<way>.jsonl.zst, with the score of the shared reward unless `scored` is False."""
        if n < 1:
            raise ValueError(f"samples a problem must be at least 1, got {n}")
        path = self.folder / "traces" / f"{way}.jsonl.zst"
        size = max(1, self.rows // n)
        chunks = [problems[i : i + size] for i in range(0, len(problems), size)]
        writer = TraceWriter(path)  # it cuts off a chunk that was not finished
        rows, finished = self._recorded(way, path, chunks, n)
        with self.bar(way) as progress:
            for chunk in chunks[finished:]:
                sampler = self.sampler(wanted)
                groups = sampler(chunk, n, (self.seed, f"generate/{way}", 0))
                traces = [t for group in (self.reward(groups) if scored else groups) for t in group.traces]
                writer.context = {"model": sampler.name, "run": "generate"}
                writer.write(traces, step=0, stage="generate", phase=way)
                rows += [_row(way, sampler.name, trace, i % n) for i, trace in enumerate(traces)]
                progress(len(rows), len(problems) * n)
        return rows

    def _recorded(self, way: str, path: Path, chunks: Sequence[Sequence[Problem]], n: int) -> tuple[list[Row], int]:
        """(rows, number) of the chunks that are on disk already, which must be the first of these."""
        lines = read_traces(path) if path.exists() else iter(())
        rows: list[Row] = []
        finished = 0
        for chunk in chunks:
            part = list(islice(lines, n * len(chunk)))
            if not part:
                break
            if [trace.problem.id for trace, _ in part] != [problem.id for problem in chunk for _ in range(n)]:
                raise ValueError(f"{path} holds samples of other problems than are asked for now; choose a new folder")
            rows += [_row(way, line["model"], trace, i % n) for i, (trace, line) in enumerate(part)]
            finished += 1
        if next(lines, None) is not None:
            raise ValueError(f"{path} holds more samples than are asked for now; choose a new folder")
        return rows, finished


def _row(way: str, model: str, trace: Trace, sample: int) -> Row:
    provenance = {"way": way, "model": model, "sample": sample, "seed": trace.seed}
    return Row(f"{trace.problem.id}#{sample}", trace.problem, trace.text, provenance, trace.truncated, trace.score)
