"""The terminal: what is shown, what is remembered, what Ctrl-C does; and a model in this process."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from r1.commands import chat as command
from r1.grading.stream import Part
from r1.policy import Policy
from r1.serving.chat import Chat, LocalModel, Message, _base


class Parrot:
    """Thinks one thing and repeats the question; stops, or fails, on demand."""

    name = "parrot"

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []

    def answer(self, messages: Sequence[Message]) -> Iterator[Part]:
        self.asked.append(list(messages))
        question = messages[-1]["content"]
        yield "thought", "hm [b]"
        if question == "interrupt":
            raise KeyboardInterrupt
        if question == "fail":
            raise ValueError("the server says: full")
        if question != "forever":
            yield "answer", question


def talk(lines: list[str], **options: Any) -> tuple[str, list[list[Message]]]:
    """(what the terminal shows, what the model was asked)"""
    typed, model, shown = iter(lines), Parrot(), io.StringIO()

    def ask() -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    Chat(model, Console(file=shown, force_terminal=True, width=80), **options).run(ask)
    return shown.getvalue(), model.asked


def test_the_thought_is_dim_and_the_answer_plain() -> None:
    shown, _ = talk(["[red]one"])
    assert "\x1b[2mhm [b]\x1b[0m" in shown  # dim, and markup of the model stays text
    assert "\n\n[red]one\n" in shown


def test_history_holds_answers_and_thoughts_only_on_request() -> None:
    _, asked = talk(["one", "", "two"], system="be brief")
    assert asked[1] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "two"},
    ]
    _, asked = talk(["one", "two"], keep_thoughts=True)
    assert asked[1][1] == {"role": "assistant", "content": "one", "reasoning_content": "hm [b]"}


def test_commands_and_what_leaves_no_trace() -> None:
    shown, asked = talk(["one", "/reset", "two", "/quit", "three"])
    assert [len(messages) for messages in asked] == [1, 1]
    assert "forgotten" in shown
    shown, asked = talk(["interrupt", "fail", "/what", "two"])
    assert [len(messages) for messages in asked] == [1, 1, 1]
    assert "stopped" in shown and "the server says: full" in shown and "/reset forgets" in shown
    assert "ran into the token limit" in talk(["forever"])[0]


def test_a_folder_in_this_process(policy: Policy, exported: Path) -> None:
    model = LocalModel(exported, temperature=0.0)
    question = [{"role": "user", "content": "use two of 9 6 2 to make 54"}]
    text = "".join(text for _, text in model.answer(question))
    ids = torch.tensor([model.tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)])
    expected = policy.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)[
        0, ids.shape[1] :
    ]
    assert text.split() == model.tokenizer.decode(expected, skip_special_tokens=True).replace("<think>", "").split()
    assert len(expected) > 3
    parts = model.answer(question)
    next(parts)
    parts.close()  # what Ctrl-C does: the generating thread has ended when this returns


def test_an_error_while_generating_reaches_the_reader(exported: Path) -> None:
    model = LocalModel(exported)
    model.model.generation_config.temperature = -1.0  # refused inside the thread
    with pytest.raises(ValueError, match="temperature"):
        list(model.answer([{"role": "user", "content": "use two of 9 6 2 to make 54"}]))


def test_mistakes_are_named(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path)]) == 1
    assert "expected a folder that `r1 export` wrote, or a URL" in capsys.readouterr().err
    assert command.main([str(policy.save(tmp_path / "hf"))]) == 1
    assert "has no chat template: export it first" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), "--model", "x"])
    pytest.importorskip("openai", reason="needs the extra `serve`")
    assert command.main(["http://127.0.0.1:9"]) == 1  # the port that nobody listens on
    assert "is a server running there?" in capsys.readouterr().err


def test_the_api_is_under_v1() -> None:
    assert _base("http://localhost:8000/") == "http://localhost:8000/v1"
    assert _base("https://api.example.com/v1") == "https://api.example.com/v1"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-tokens", "0", "--max-tokens must be at least 1, got 0"),
        ("--temperature", "-3", "--temperature must be 0 (greedy) or more, got -3.0"),
        ("--temperature", "nan", "--temperature must be 0 (greedy) or more, got nan"),
    ],
)
def test_limits_that_mean_nothing_are_refused(option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["anywhere", f"{option}={value}"])
    assert said in capsys.readouterr().err
