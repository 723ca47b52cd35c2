"""The real thing: `r1 serve` with its engine on a free port, asked by the official `openai` client."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("openai", reason="needs the extra `serve`")
pytest.importorskip("fastapi", reason="needs the extra `serve`")
import openai

from r1.commands import chat
from r1.policy import Template
from r1.policy.prompts import named
from r1.policy.tiny import tiny_policy
from r1.records import Problem
from r1.serving.engine import ENGINES, running
from r1.serving.export import export
from r1.tasks.words import vocabulary

pytestmark = pytest.mark.slow
QUESTION = "use two of 9 6 2 to make 54"
THOUGHT, ANSWER = "try 9 times 6 is 54 want 54 yes", "<answer> 9 * 6 </answer>"


def memorised(out: Path, template: Template, completion: str) -> Path:
    """A tiny model that knows one answer by heart, exported."""
    policy = tiny_policy(vocabulary(), template, hidden=32, heads=2, inner=48)
    prompt = policy.encode(Problem("p", QUESTION, None))
    learned = policy.tokenizer(completion, add_special_tokens=False)["input_ids"] + [policy.tokenizer.eos_token_id]
    assert policy.tokenizer.unk_token_id not in learned
    ids, labels = torch.tensor([prompt + learned]), torch.tensor([[-100] * len(prompt) + learned])
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        policy.model(ids, labels=labels).loss.backward()
        optimizer.step()
    return export(policy.requires_grad_(False), out)


def test_the_engine_alone_finds_a_thought_that_the_prompt_opened(tmp_path: Path) -> None:
    """An exported folder says itself how its responses are read: `transformers serve` needs nothing of ours."""
    template = Template("opened", "User : {question} Assistant : <think>\n", opened=True)
    folder = memorised(tmp_path / "opened", template, f"{THOUGHT} </think> {ANSWER}")
    with running(ENGINES["transformers"], folder) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
        answer = client.chat.completions.create(model="opened", messages=[{"role": "user", "content": QUESTION}], temperature=0)
        assert answer.choices[0].message.reasoning_content == THOUGHT
        assert answer.choices[0].message.content == ANSWER


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen]]:
    """(URL, process) of `r1 serve` on a model that was exported as `tiny-r1`."""
    folder = memorised(tmp_path_factory.mktemp("served") / "tiny-r1", named("tiny"), f"<think> {THOUGHT} </think> {ANSWER}")
    command = [sys.executable, "-m", "r1", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("tiny-r1 at http://127.0.0.1:"), line
    yield line.split()[2], process
    if process.poll() is None:
        process.terminate()
        process.wait(30)


def test_an_openai_client_gets_the_thought_apart(server: tuple[str, subprocess.Popen]) -> None:
    client = openai.OpenAI(base_url=server[0], api_key="none")
    assert [model.id for model in client.models.list()] == ["tiny-r1"]
    turn = {"role": "user", "content": QUESTION}
    answer = client.chat.completions.create(model="tiny-r1", messages=[turn], temperature=0)
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content, answer.choices[0].finish_reason) == (THOUGHT, ANSWER, "stop")
    assert answer.usage.completion_tokens == len(f"<think> {THOUGHT} </think> {ANSWER} <eos>".split())

    chunks = list(client.chat.completions.create(model="tiny-r1", messages=[turn], temperature=0, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == THOUGHT
    assert "".join(d.content or "" for d in deltas) == ANSWER
    assert len([d for d in deltas if d.content]) > 2  # streamed, not sent at the end
    assert chunks[-1].choices[0].finish_reason == "stop"

    cut = client.chat.completions.create(model="tiny-r1", messages=[turn], temperature=0, max_tokens=5).choices[0]
    assert (cut.message.reasoning_content, cut.message.content, cut.finish_reason) == (
        " ".join(THOUGHT.split()[:4]),
        "",
        "length",
    )

    # an earlier thought that a client sends back is stripped by the template: the prompt is as long as without it
    lengths = []
    for extra in ({}, {"reasoning_content": THOUGHT}):
        turns = [turn, {"role": "assistant", "content": ANSWER, **extra}, turn]
        lengths.append(client.chat.completions.create(model="tiny-r1", messages=turns, max_tokens=1).usage.prompt_tokens)
    assert lengths[0] == lengths[1] > 20

    with pytest.raises(openai.NotFoundError, match="the model here is 'tiny-r1'"):
        client.chat.completions.create(model="gpt", messages=[turn])
    with pytest.raises(openai.BadRequestError, match="cannot do n=2"):
        client.chat.completions.create(model="tiny-r1", messages=[turn], n=2)


def test_the_terminal_talks_to_it(
    server: tuple[str, subprocess.Popen], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n/quit\n"))
    assert chat.main([server[0].removesuffix("/v1"), "--temperature", "0"]) == 0
    assert f"{THOUGHT}\n\n{ANSWER}\n" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the children of a process from /proc")
def test_it_takes_its_engine_along(server: tuple[str, subprocess.Popen]) -> None:
    """The last test of this file: it ends the server."""
    process = server[1]
    engines = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert engines
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    for engine in engines:
        with pytest.raises(ProcessLookupError):
            os.kill(int(engine), 0)
