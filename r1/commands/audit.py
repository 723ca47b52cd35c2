"""Run tricks and honest completions through a reward, before a policy finds the tricks itself (Hydra).

    r1 audit reward=<name> template=<name>                     files of conf/reward and conf/template
    r1 audit reward=<name> task=<name>                         also whether the task's gold answers are accepted for themselves

The exit status is 1 where a trick is paid for, or a gold answer is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from r1.app import hydra_app
from r1.build import build

if TYPE_CHECKING:
    from omegaconf import DictConfig

SHOWN = 10


@hydra_app("audit")
def main(cfg: DictConfig) -> int:
    """1 if the reward pays for a trick, or does not pay for a gold answer of the task."""
    from r1.rewards.audit import audit, refused_golds

    reward, task = build(cfg.reward), build(cfg.get("task"))
    report = audit(reward)
    print(report.text())
    if task is None:
        return 0 if report.ok else 1
    problems = [*task.train, *task.validation, *task.test]
    print(f"\nthe prompt of {problems[0].id}:\n{_prompt(cfg, problems[0])}\n")
    refused = refused_golds(reward, problems)
    print(f"{len(problems) - len(refused)} of {len(problems)} gold answers earn full accuracy")
    for problem in refused[:SHOWN]:
        print(f"  {problem.id}: {problem.answer!r} is not accepted for itself")
    return 0 if report.ok and not refused else 1


def _prompt(cfg: DictConfig, problem: object) -> str:
    """The rendered prompt, where the template is text; a chat template needs the policy's tokenizer."""
    template = build(cfg.template)
    return template.render(problem) if template.text is not None else "(the policy's own chat template)"
