"""Templates: a problem in, the prompt's text out.

`r1_zero` is the R1-Zero training template (v1 Table 1): it fixes the structure, never the content. Its wording is ours where
wording is free; the tags are exact. The prompt ends before the thought, so the policy itself must open `<think>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1.records import Problem

R1_ZERO = (
    "A User and an Assistant talk. The User asks a question and the Assistant solves it. The Assistant first thinks the "
    "problem through and only then gives the answer. The thought stands inside <think> </think> tags and the answer inside "
    "<answer> </answer> tags: <think> thought here </think> <answer> answer here </answer>. "
    "User: {question} Assistant:"
)
TINY = "User : {question} Assistant :"
PLAIN = "{question}"
CHAT_SYSTEM = (
    "Think the problem through inside <think> </think>, then give a short solution. Put the final answer inside \\boxed{}."
)


@dataclass(frozen=True)
class Template:
    """How a problem becomes a prompt.

    text    a format string with {question}; None: the tokenizer's own chat template is used, with `system` in front
    opened  True where the prompt itself ends inside an open `<think>`: completions then begin inside the thought
    """

    name: str
    text: str | None = PLAIN
    system: str | None = None
    opened: bool = False

    def __post_init__(self) -> None:
        if self.text is not None and "{question}" not in self.text:
            raise ValueError(f"template {self.name!r} needs the place holder {{question}} in its text, got {self.text!r}")

    def render(self, problem: Problem, tokenizer: Any = None) -> str:
        """The prompt's text. Chat templates add their own special tokens, so `Policy.encode` adds none to them."""
        if self.text is not None:
            return self.text.replace("{question}", problem.question)  # not str.format: questions are full of braces
        messages = [{"role": "user", "content": problem.question}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        # Templates of reasoning models end in "<think>\n"; the completion must then be read as already inside the thought.
        if text.rstrip().endswith("<think>") != self.opened:
            raise ValueError(
                f"template {self.name!r} says opened={self.opened}, but the tokenizer's chat template "
                f"{'opens' if not self.opened else 'does not open'} <think> by itself; set policy.template.opened={not self.opened}"
            )
        return text


TEMPLATES = {
    template.name: template
    for template in (
        Template("r1_zero", R1_ZERO),
        Template("tiny", TINY),
        Template("plain", PLAIN),
        Template("chat", None, CHAT_SYSTEM),
    )
}


def named(name: str) -> Template:
    """A template by name.

    >>> named("tiny").text
    'User : {question} Assistant :'
    """
    if name not in TEMPLATES:
        raise ValueError(f"no template {name!r}; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
