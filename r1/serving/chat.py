"""Talk to a reasoning model: an exported folder in this process, or anything that answers OpenAI's protocol.

model = LocalModel("tiny-r1-zero")
for kind, text in model.answer([{"role": "user", "content": "..."}]): ...   # ("thought", ...), then ("answer", ...)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from r1.grading.stream import THOUGHT, Kind, Part, ThinkSplitter

if TYPE_CHECKING:
    from rich.console import Console

Message = dict[str, Any]
HELP = "/reset forgets the conversation, /quit (or Ctrl-D) ends; Ctrl-C stops an answer"


class Model(Protocol):
    name: str

    def answer(self, messages: Sequence[Message]) -> Iterator[Part]: ...


class RemoteModel:
    """A model behind a URL. Its thought may come in a field (`reasoning_content`, `reasoning`) or in the text.

    model  its name there; None: the first that the server lists
    Raises ValueError where nobody answers there, or the server refuses.
    """

    def __init__(self, url: str, model: str | None = None, key: str | None = None, **sampling: Any) -> None:
        import os

        import openai

        self._errors = openai.APIError
        self._client: Any = openai.OpenAI(
            base_url=_base(url), api_key=key or os.environ.get("OPENAI_API_KEY", "none"), max_retries=1
        )
        self.sampling = {key: value for key, value in sampling.items() if value is not None}
        self.name = model or self._first(url)

    def _first(self, url: str) -> str:
        try:
            return next(iter(self._client.models.list())).id
        except (self._errors, StopIteration) as error:
            raise ValueError(
                f"{url} lists no model ({error}); is a server running there? Otherwise name one with --model"
            ) from error

    def answer(self, messages: Sequence[Message]) -> Iterator[Part]:
        splitter = ThinkSplitter()
        try:
            chunks = self._client.chat.completions.create(model=self.name, messages=list(messages), stream=True, **self.sampling)
            with chunks:  # closed, and the server told to stop, when nobody reads on
                for chunk in chunks:
                    for choice in chunk.choices:
                        thought = next((t for f in THOUGHT if (t := getattr(choice.delta, f, None))), "")
                        yield from splitter.feed_apart(thought, choice.delta.content or "")
            yield from splitter.finish()
        except self._errors as error:
            raise ValueError(f"the server says: {error.message}") from error


class LocalModel:
    """A folder with a chat template (`r1 export` writes one), run here. ValueError where there is no such folder."""

    def __init__(self, folder: str | Path, temperature: float | None = None, max_tokens: int | None = None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging

        from r1.serving.chat_template import opens_thought

        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise ValueError(f"no model at {folder}: expected a folder that `r1 export` wrote, or a URL")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        if not self.tokenizer.chat_template:
            raise ValueError(f"{folder} has no chat template: export it first, r1 export {folder} --out DIR")
        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device).eval()
        self.name, self.opened = folder.resolve().name, opens_thought(self.tokenizer)
        self.temperature, self.max_tokens = temperature, max_tokens

    def answer(self, messages: Sequence[Message]) -> Iterator[Part]:
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        ids = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop, failed = threading.Event(), []

        def generate() -> None:
            try:
                watch = StoppingCriteriaList([lambda *_, **__: stop.is_set()])
                self.model.generate(**ids.to(self.model.device), **self._limits(ids), streamer=streamer, stopping_criteria=watch)
            except Exception as error:  # told to the reader, which would wait for ever
                failed.append(error)
                streamer.end()

        thread = threading.Thread(target=generate, daemon=True)
        thread.start()
        splitter = ThinkSplitter(self.opened)
        try:
            for text in streamer:
                yield from splitter.feed(text)
            yield from splitter.finish()
        finally:  # also when nobody reads on
            stop.set()
            thread.join()
        if failed:
            raise failed[0]

    def _limits(self, ids: Any) -> dict[str, Any]:
        """Sampling that differs from the folder's generation config. Without any limit generate() would stop after 20 tokens."""
        room = getattr(self.model.config, "max_position_embeddings", 32768) - ids["input_ids"].shape[1]
        found: dict[str, Any] = {"max_new_tokens": self.max_tokens or self.model.generation_config.max_new_tokens or max(1, room)}
        if self.temperature is not None:
            found |= {"do_sample": self.temperature > 0, "temperature": self.temperature or None}
        return found


@dataclass
class Chat:
    """A conversation in a terminal: the thought dimmed, the answer plain.

    keep_thoughts  send earlier thoughts back as `reasoning_content`; whether the model sees them is its chat template's decision
    """

    model: Model
    console: Console
    system: str | None = None
    keep_thoughts: bool = False
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def run(self, ask: Callable[[], str]) -> None:
        """Until /quit or the end of the input. `ask` gives the next line, EOFError when there is none."""
        self.console.print(f"{self.model.name}. {HELP}", style="dim", highlight=False)
        while True:
            try:
                line = ask().strip()
            except (EOFError, KeyboardInterrupt):
                return self.console.print()
            if line in ("/quit", "/exit"):
                return None
            if line == "/reset":
                self.reset()
                self.console.print("forgotten", style="dim")
            elif line.startswith("/"):
                self.console.print(HELP, style="dim", highlight=False)
            elif line:
                self.say(line)

    def say(self, line: str) -> None:
        """One question and its answer. An answer that was stopped, or failed, leaves the conversation as it was."""
        parts: dict[Kind, str] = {"thought": "", "answer": ""}
        asked = [*self.messages, {"role": "user", "content": line}]
        try:
            self._show(self.model.answer(asked), parts)
        except KeyboardInterrupt:
            return self.console.print("\nstopped", style="dim")
        except ValueError as error:
            return self.console.print(str(error), style="red", markup=False, highlight=False)
        thought = {"reasoning_content": parts["thought"]} if self.keep_thoughts and parts["thought"] else {}
        self.messages = [*asked, {"role": "assistant", "content": parts["answer"], **thought}]

    def _show(self, answer: Iterator[Part], parts: dict[Kind, str]) -> None:
        last: Kind | None = None
        for kind, text in answer:
            if last not in (None, kind):
                self.console.print("\n")
            last = kind
            parts[kind] += text
            self.console.print(
                text, style="dim" if kind == "thought" else None, end="", markup=False, highlight=False, soft_wrap=True
            )
        self.console.print()
        if not parts["answer"]:
            self.console.print("(no answer: the thought ran into the token limit)" if last else "(nothing)", style="dim")


def _base(url: str) -> str:
    """The URL of the API: servers have it under /v1, and people leave that out.

    >>> _base("http://localhost:8000/"), _base("https://api.example.com/v1")
    ('http://localhost:8000/v1', 'https://api.example.com/v1')
    """
    from urllib.parse import urlsplit

    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"
