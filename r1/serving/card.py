"""The model card: what was trained, from what, on what, how well it does and how sure that is, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from r1 import metrics
from r1.analysis.reading import Run
from r1.analysis.tables import Figure, changes
from r1.serving.licence import Licence, base_model

PAPER = "https://arxiv.org/abs/2501.12948"


def model_card(
    name: str, run: Run | None, licence: Licence, facts: Mapping[str, Any], evaluations: Sequence[str | Path] = ()
) -> ModelCard:
    """The card of an exported policy.

    facts        what export did: parameters, template, thought, generation (dict), checkpoint (None: the end of training)
    evaluations  folders of `r1 eval` (with evaluations.json) whose figures belong to these weights
    """
    found = [*(_of_run(run) if run else ()), *(row for folder in evaluations for row in _of_eval(folder))]
    base = base_model(run.config) if run else None
    data = ModelCardData(
        license=licence.id,
        license_name="base-model-licence" if licence.id == "other" else None,
        license_link=licence.link,
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=base if base and not Path(base).is_dir() else None,
        tags=["reasoning", "r1"],
        model_name=name,
        eval_results=[result for figures in found for result in _results(figures)] or None,
    )  # fmt: skip
    sections = [_opening(name, run, base, facts), _usage(name, run, facts), _scores(found), _training(run), _licence(licence)]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(section for section in sections if section) + "\n")


def _of_run(run: Run) -> Iterator[dict[str, Any]]:
    """The last evaluation of each of the run's benchmarks: figures, benchmark, setting."""
    for benchmark in run.benchmarks:
        prefix = metrics.evaluation(benchmark, "")
        rows = run.evaluations(benchmark)
        last = {name.removeprefix(prefix): run.curve(name).y[-1] for name in run.names(prefix)}
        yield {**last, "benchmark": benchmark, "setting": rows[-1]["setting"] if rows else {}}


def _of_eval(folder: str | Path) -> Iterator[dict[str, Any]]:
    path = Path(folder) / "evaluations.json"
    if not path.is_file():
        raise ValueError(f"no evaluations.json in {folder}: expected a folder of `r1 eval`")
    yield from json.loads(path.read_text(encoding="utf-8")).values()


def _results(figures: Mapping[str, Any]) -> Iterator[EvalResult]:
    """pass@k, cons@k and greedy, as the hub's leaderboards read them; the interval and the setting travel along."""
    for row in changes({}, figures):
        if "@" in row.key or row.key == "greedy":
            assert row.after is not None
            yield EvalResult(
                task_type="text-generation",
                dataset_type=str(figures["benchmark"]),
                dataset_name=str(figures["benchmark"]),
                metric_type=row.key,
                metric_value=round(row.after.value, 4),
                metric_args=dict(figures["setting"]) | {"interval": [round(bound, 4) for bound in row.after.interval or ()]},
            )


def _opening(name: str, run: Run | None, base: str | None, facts: Mapping[str, Any]) -> str:
    stage = str(((run.config if run else {}).get("stage") or {}).get("_target_", "")).rpartition(".")[2]
    start = f"from {base}" if base else "from scratch" if run and run.config else ""
    how = f" It was trained {start}; its last stage is `{stage}` of the run `{run.name}`." if run and stage else ""
    when = f" These are the weights of the checkpoint `{facts['checkpoint']}`." if facts.get("checkpoint") else ""
    return f"# {name}\n\nA reasoning model of {facts['parameters']:,} parameters, trained the way of [DeepSeek-R1]({PAPER}).{how}{when}"


def _usage(name: str, run: Run | None, facts: Mapping[str, Any]) -> str:
    trace, _ = next(run.traces(), (None, None)) if run else (None, None)  # a question of the kind it was trained on
    question = json.dumps(trace.problem.question if trace else "What is 6 * 9 ?", ensure_ascii=False)
    settings = facts["generation"]
    sampling = ", ".join(f"{key} {value}" for key, value in settings.items())
    if (settings.get("temperature"), settings.get("top_p")) == (0.6, 0.95):
        sampling += ". Temperature and top-p are those of the paper's evaluation; greedy decoding makes reasoning models repeat themselves"
    history = "without their thoughts" if facts["thought"] == "strip" else "with their thoughts"
    return f"""## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("{name}"), AutoModelForCausalLM.from_pretrained("{name}")
messages = [{{"role": "user", "content": {question}}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt)[0]))
```

`r1 serve {name}` answers OpenAI clients with the thought in `reasoning_content`, `r1 chat {name}` talks in the terminal.

The chat template is the prompt of training (`{facts["template"]}`); earlier answers stand in it {history}.
Sampling: {sampling}."""


def _scores(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "## Evaluation\n\nThese weights were not evaluated."
    tables = []
    for figures in found:
        rows = [f"| {row.label} | {_cell(row.after, row.percent)} |" for row in changes({}, figures)]
        setting = ", ".join(f"{key} {value}" for key, value in figures["setting"].items())
        tables.append(
            "\n".join(
                [f"### {figures['benchmark']}", "", setting, "", "| figure | value [95 % over problems] |", "|---|---|", *rows]
            )
        )
    return "\n\n".join(["## Evaluation", *tables])


def _cell(figure: Figure | None, percent: bool) -> str:
    assert figure is not None
    scale, unit = (100, " %") if percent else (1, "")
    low_high = f" [{figure.interval[0] * scale:.1f}, {figure.interval[1] * scale:.1f}]" if figure.interval else ""
    return f"{figure.value * scale:.1f}{unit}{low_high}"


def _training(run: Run | None) -> str:
    """What is needed to repeat it; nothing where the weights came without a run."""
    if run is None or not run.config:
        return ""
    git, packages = run.manifest.get("git") or {}, run.manifest.get("packages") or {}
    commit = f"{git['commit']}{' with local changes' if git.get('dirty') else ''}" if git else "unknown"
    task = run.config.get("task") or {}
    weights = (run.config.get("reward") or {}).get("weights") or {}
    reward = ", ".join(f"{weight:g} × {part}" for part, weight in weights.items() if weight)
    lines = [
        f"- data: `{task.get('_target_')}`" + (f", {task['path']}" if task.get("path") else ""),
        *([f"- reward: {reward}"] if "group_size" in (run.config.get("stage") or {}) else []),  # other stages are not paid
        f"- seed {run.config.get('seed')}, steps {run.summary.get('steps', 'unknown')}, git commit {commit}",
        f"- {', '.join(f'{package} {version}' for package, version in packages.items() if version)}",
    ]
    notes = [f"- {note}" for note in run.summary.get("notes") or []]
    config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=120)
    return "\n".join(["## Training", "", *lines, *notes, "", "<details><summary>Configuration</summary>", "", "```yaml", config.rstrip(), "```", "", "</details>"])  # fmt: skip


def _licence(licence: Licence) -> str:
    return f"## Licence\n\n{licence.id if licence.id != 'other' else 'That of the base model'}: see the file LICENSE."
