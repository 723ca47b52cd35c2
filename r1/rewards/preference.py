"""Reward models of human preference (R1 v2 3.1, Eq. 9): helpfulness reads the final summary only, harmlessness the whole response.

Helpfulness judged on the thought would train the thought to please; harm may hide anywhere, so there everything is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from r1.records import Problem, Trace
from r1.rewards.base import read

if TYPE_CHECKING:  # torch is imported when a model is loaded
    from r1.policy.scorer import Scorer


class Preference:
    """The score of a Hugging Face sequence-classification model with one output; None for problems of other domains.

    model     folder or hub id, e.g. what `stage=reward_model` saved; loaded at the first call
    judged    "summary" (what follows the last closed thought) or "whole" (all of it, thought included)
    template  how the prompt is rendered: the one the model was trained with
    domains   the problems' domains that are scored; null for all
    squash    sigmoid of the score, 0 ... 1, so that weights of several models can be compared; else the score itself
    max_tokens   a longer response is read without its middle
    device    "auto": this process's GPU where there is one
    missing   the value of a completion without a summary (a thought that was cut off): the worst there is
    """

    def __init__(
        self,
        model: str,
        judged: Literal["summary", "whole"],
        template: str = "chat",
        domains: Sequence[str] | None = ("general",),
        squash: bool = True,
        missing: float = 0.0,
        batch_size: int = 16,
        max_tokens: int = 8192,
        device: str = "auto",
    ) -> None:
        if judged not in ("summary", "whole"):
            raise ValueError(f"a preference model judges the 'summary' or the 'whole' response, got {judged!r}")
        self.model, self.judged, self.template, self.squash, self.missing = model, judged, template, squash, missing
        self.domains = None if domains is None else frozenset(domains)
        self.batch_size, self.max_tokens, self.device = batch_size, max_tokens, device
        self._scorer: Scorer | None = None

    def __call__(self, traces: Sequence[Trace]) -> list[float | None]:
        values: list[float | None] = [None] * len(traces)
        asked: list[tuple[int, str]] = []
        for i, trace in enumerate(traces):
            if self.domains is not None and trace.problem.domain not in self.domains:
                continue
            text = read(trace).summary if self.judged == "summary" else trace.text.strip()
            if text:
                asked.append((i, text))
            else:
                values[i] = self.missing
        for start in range(0, len(asked), self.batch_size):
            chunk = asked[start : start + self.batch_size]
            for (i, _), score in zip(chunk, self._scores([(traces[i].problem, text) for i, text in chunk]), strict=True):
                values[i] = score
        return values

    def _scores(self, texts: Sequence[tuple[Problem, str]]) -> list[float]:
        import torch

        if self._scorer is None:
            self._scorer = self._load()
        rows = [self._scorer.encode(problem, text, self.max_tokens) for problem, text in texts]
        with torch.no_grad():
            scores = self._scorer(rows)
        return (torch.sigmoid(scores) if self.squash else scores).tolist()

    def _load(self) -> Scorer:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from r1.policy.placement import device_of
        from r1.policy.prompts import named
        from r1.policy.scorer import Scorer

        tokenizer = AutoTokenizer.from_pretrained(self.model)
        model = AutoModelForSequenceClassification.from_pretrained(self.model).to(device_of(self.device)).eval()
        if model.config.num_labels != 1:
            raise ValueError(f"a preference model has one output, {self.model!r} has {model.config.num_labels}")
        if tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {self.model!r} has no end-of-sequence token, where the score is read")
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        return Scorer(model, tokenizer, named(self.template), tokenizer.eos_token_id, pad)
