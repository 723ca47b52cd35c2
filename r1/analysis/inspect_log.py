"""A run's traces as logs of Inspect, so that `inspect view` can be used on them (needs the extra `view`).

    inspect_logs(read_run("runs/tiny_r1_zero/..."), "logs")      # then: inspect view --log-dir logs

One log an evaluation, and one of the rollouts at the first, the middle and the last step. A sample is a problem, an epoch one
completion of it; the thought is a reasoning block, every part of the reward a score, the mean of each is the log's result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1.analysis.reading import Run
from r1.analysis.trace_view import EVALUATION, first_middle_last, place
from r1.grading import parse
from r1.rollout.trace_file import read_traces

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

    from r1.records import Trace


def inspect_logs(run: Run, out: str | Path) -> list[Path]:
    """Write the logs into the folder `out` and give their paths. Of a step that a resumed run wrote twice the last counts.

    Raises ValueError for a run without traces, ImportError where inspect-ai is not installed.
    """
    from inspect_ai.log import write_eval_log

    out = Path(out)
    paths: dict[Path, None] = {}
    for file in run.trace_files:
        where = "-".join(file.parent.parent.relative_to(run.folder).parts)
        rank = "".join(file.name.partition("-rank")[1:]).partition(".")[0]  # every rank keeps the rollouts it made
        created = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        for (phase, step), traces in _chosen(file):
            name = "_".join(part for part in (where, phase.replace("/", "-"), f"step{step:g}") if part) + rank
            path = out / f"{name}.eval"
            write_eval_log(_log(run, phase, step, traces, created.isoformat()), str(path))
            paths[path] = None
    if not paths:
        raise ValueError(f"no traces in {run.folder}: a run writes them with callbacks.traces")
    return list(paths)


def _chosen(file: Path) -> Iterator[tuple[tuple[str, float], list[Trace]]]:
    """(phase, step) and its traces, one such group in memory at a time."""
    steps = [place(row)[1::-1] for _, row in read_traces(file)]
    shown = first_middle_last([step for phase, step in steps if not phase.startswith(EVALUATION)])
    for (phase, step), rows in groupby(read_traces(file), key=lambda pair: place(pair[1])[1::-1]):
        if phase.startswith(EVALUATION) or step in shown:
            yield (phase, step), [trace for trace, _ in rows]


def _log(run: Run, phase: str, step: float, traces: Sequence[Trace], created: str) -> EvalLog:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalScore, EvalSpec

    samples = list(_samples(traces, run.name))
    ids = list(dict.fromkeys(str(sample.id) for sample in samples))
    names = list(dict.fromkeys(name for sample in samples for name in sample.scores or {}))
    scores = []
    for name in names:
        values = [float(sample.scores[name].value) for sample in samples if name in (sample.scores or {})]  # type: ignore[arg-type, index]
        mean = {"mean": EvalMetric(name="mean", value=sum(values) / len(values))}
        scores.append(EvalScore(name=name, scorer=name, scored_samples=len(values), metrics=mean))
    packages = {name: version for name, version in (run.manifest.get("packages") or {}).items() if version}
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=created,
            task=f"{phase.removeprefix(EVALUATION)} step {step:g}",
            dataset=EvalDataset(name=phase.removeprefix(EVALUATION), samples=len(ids), sample_ids=ids),
            model=f"r1/{run.name}",
            config=EvalConfig(epochs=max(sample.epoch for sample in samples)),
            packages=packages,
            metadata={"step": step, "phase": phase, "seed": run.config.get("seed")},
        ),
        results=EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=scores),
        samples=samples,
    )


def _samples(traces: Sequence[Trace], model: str) -> Iterator[EvalSample]:
    from inspect_ai.log import EvalSample

    epochs: dict[str, int] = {}
    for trace in traces:
        problem = trace.problem
        epochs[problem.id] = epochs.get(problem.id, 0) + 1
        messages, output = _conversation(trace, model)
        yield EvalSample(
            id=problem.id,
            epoch=epochs[problem.id],
            input=problem.question,
            target=problem.answer or "",
            messages=messages,
            output=output,
            scores=_scores(trace),
            metadata={"tokens": len(trace.token_ids), "advantage": trace.advantage, "seed": trace.seed, "updates": trace.weight_version},
        )  # fmt: skip


def _conversation(trace: Trace, model: str) -> tuple[list[Any], Any]:
    from inspect_ai.model import (
        ChatCompletionChoice,
        ChatMessageAssistant,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
        ModelOutput,
    )

    parsed = parse(trace.text, truncated=trace.truncated)
    content: list[Any] = [ContentReasoning(reasoning=parsed.think)] if parsed.think is not None else []
    content.append(ContentText(text=parsed.summary))
    answer = ChatMessageAssistant(content=content, source="generate", model=model)
    choice = ChatCompletionChoice(message=answer, stop_reason="max_tokens" if trace.truncated else "stop")
    return [ChatMessageUser(content=trace.problem.question), answer], ModelOutput(model=model, choices=[choice])


def _scores(trace: Trace) -> dict[str, Any] | None:
    """The parts that applied, and the weighted total as `reward`; NaN, what could not be judged, is no score."""
    from inspect_ai.scorer import Score

    if trace.score is None:
        return None
    values = {**trace.score.parts, "reward": trace.score.total}
    answer = parse(trace.text, truncated=trace.truncated).answer
    return {name: Score(value=value, answer=answer) for name, value in values.items() if value is not None and value == value}
