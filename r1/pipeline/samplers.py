"""Who writes: a policy of ours, or a model behind an OpenAI-compatible endpoint. Problems in, groups of completions out.

A sampler is any `(problems, n, keys) -> [Group]` with a `name`. What is asked of a rewriter or of a model that adds thoughts goes through
the same door: its instruction is the question of a problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from r1 import repro
from r1.policy.placement import AUTO, sampling_on
from r1.policy.prompts import Template, named
from r1.records import Group, Problem, Trace
from r1.rewards.endpoint import Endpoint
from r1.rollout.engine import Engine, Sampling
from r1.rollout.sampler import sample

if TYPE_CHECKING:
    from r1.policy import Policy

Keys = tuple[int | str, ...]


class Sampler(Protocol):
    """n completions of each problem; completion i of a problem is a function of (keys, problem id, i)."""

    @property
    def name(self) -> str: ...

    def __call__(self, problems: Sequence[Problem], n: int, keys: Keys) -> list[Group]: ...


class PolicySampler:
    """Samples from a policy, by any engine. `template` null: the policy's own. `device`: see `policy.placement`."""

    def __init__(
        self,
        policy: Policy,
        engine: Engine,
        sampling: Sampling | None = None,
        template: Template | str | None = None,
        device: str = AUTO,
    ) -> None:
        self.policy, self.engine, self.sampling = policy, engine, sampling or Sampling()
        self.device = device
        self.template = named(template) if isinstance(template, str) else template

    @property
    def name(self) -> str:
        """A hub id, or the last two folders of a local one."""
        return "/".join(str(self.policy.model.name_or_path or "policy").rstrip("/").split("/")[-2:])

    def __call__(self, problems: Sequence[Problem], n: int, keys: Keys) -> list[Group]:
        own = self.policy.template
        self.policy.template = self.template or own
        try:
            with sampling_on(self.policy, self.device, self.engine):
                self.engine.sync(self.policy, 0)
                return sample(self.engine, self.policy, problems, n, self.sampling, keys)
        finally:
            self.policy.template = own


class EndpointSampler:
    """Samples from any server with OpenAI's chat route (vLLM, transformers serve, a hosted model).

    url, model, timeout, retries, max_tokens, key_variable   see `Endpoint`
    template   its system line and, where it is text, its text around the question; null: the question alone
    workers    requests under way at once

    The traces have text but no token ids. A thought that the server returns apart (`reasoning_content`) is put back in its tags.
    Every request carries a seed of its own; whether the server heeds it is the server's affair, so what came back is kept and never
    asked for again. Raises Unavailable when the server stays away: started again, the run goes on from there.
    """

    def __init__(
        self,
        url: str,
        model: str,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 8192,
        template: Template | str | None = None,
        timeout: float = 600.0,
        retries: int = 5,
        key_variable: str = "OPENAI_API_KEY",
        workers: int = 16,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.endpoint = Endpoint(url, model, timeout, retries, max_tokens, key_variable)
        self.temperature, self.top_p, self.workers = temperature, top_p, workers
        self.template = named(template) if isinstance(template, str) else template

    @property
    def name(self) -> str:
        return self.endpoint.name

    def __call__(self, problems: Sequence[Problem], n: int, keys: Keys) -> list[Group]:
        wanted = [(problem, repro.key(*keys, problem.id, i)) for problem in problems for i in range(n)]
        with ThreadPoolExecutor(max_workers=self.workers) as threads:
            traces = list(threads.map(lambda request: self._one(*request), wanted))
        return [Group(problem, tuple(traces[k * n : (k + 1) * n])) for k, problem in enumerate(problems)]

    def _one(self, problem: Problem, seed: int) -> Trace:
        options: dict[str, Any] = {"temperature": self.temperature, "top_p": self.top_p, "seed": seed % 2**31}
        choice = self.endpoint.ask(messages(problem, self.template), **options)
        message, cut = choice["message"], choice.get("finish_reason") == "length"
        text = message["content"] or ""
        if thought := message.get("reasoning_content"):
            text = f"<think>{thought}{'' if cut and not text else '</think>'}{text}"
        return Trace(problem, [], [], [], text, "length" if cut else "stop", seed=seed)


def messages(problem: Problem, template: Template | None) -> list[dict[str, str]]:
    """The chat that a template makes of a problem."""
    text = problem.question if template is None or template.text is None else template.render(problem)
    system = [{"role": "system", "content": template.system}] if template is not None and template.system else []
    return [*system, {"role": "user", "content": text}]
