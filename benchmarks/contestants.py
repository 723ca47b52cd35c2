"""One trainer, one GRPO step at a time: what `step.py` starts as a process of its own and asks for step after step.

    python benchmarks/contestants.py r1 '{"profile": "tiny", ...}'

Speaks JSON lines: a step is done for every line on stdin, and answered with its tokens and the seconds of its phases. Everything between
two answers belongs to the step: loader, hooks, logging.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

PROMPT = 14  # tokens


@dataclass(frozen=True)
class Profile:
    """A model's shape and the size of one step; `prompts` x `group` completions of at most `new` tokens."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    prompts: int
    group: int
    new: int
    kv_heads: int | None = None
    device: str = "cpu"
    dtype: str = "float32"


PROFILES = {
    "tiny": Profile(64, 3, 4, 192, 245, 32, 8, 192),  # 0.18 M parameters: the demo's model with a third layer
    "small": Profile(512, 7, 8, 1408, 4096, 4, 8, 96),  # 24.6 M
    "gpu_0_5b": Profile(896, 24, 14, 4864, 151936, 16, 8, 1024, 2, "cuda", "bfloat16"),  # Qwen2.5-0.5B's shape
    "gpu_1_5b": Profile(1536, 28, 12, 8960, 151936, 16, 8, 1024, 2, "cuda", "bfloat16"),
}


@dataclass(frozen=True)
class Setting:
    """What both trainers are given. `ends`: sampled ids that end a completion; 0: all completions have full length."""

    profile: str = "tiny"
    ends: int = 0
    silent: float = 0.0  # share of the prompts whose completions all earn the same
    group: int | None = None
    new: int | None = None
    threads: int = 2
    lr: float = 1e-4
    liger: bool = False  # TRL with Liger's fused loss

    @property
    def shape(self) -> Profile:
        own = PROFILES[self.profile]
        return Profile(**{**own.__dict__, "group": self.group or own.group, "new": self.new or own.new})


def make_model(setting: Setting) -> tuple[Any, Any]:
    """The same random weights for both, and a tokenizer whose end of sequence lies outside the model's vocabulary: it is never drawn,
    and what ends a completion are the first `ends` ids, which the generation config names."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    shape = setting.shape
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.inner, num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads or shape.heads, head_dim=shape.width // shape.heads,
            tie_word_embeddings=True, max_position_embeddings=8192, dtype=shape.dtype, bos_token_id=None, eos_token_id=None,
            pad_token_id=0,
        )
    )  # fmt: skip
    ends = list(range(1, 1 + setting.ends)) or [shape.vocabulary]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=0)
    words = {"<pad>": 0} | {f"w{i}": i for i in range(1, shape.vocabulary)} | {"<eos>": shape.vocabulary}
    raw = Tokenizer(WordLevel(words, unk_token="<pad>"))
    raw.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", padding_side="left")
    return model.to(shape.device, getattr(torch, shape.dtype)), tokenizer


def make_prompts(setting: Setting, count: int) -> list[str]:
    shape, draw = setting.shape, torch.Generator().manual_seed(0)
    ids = torch.randint(setting.ends + 1, shape.vocabulary, (count, PROMPT), generator=draw).tolist()
    return [" ".join(f"w{i}" for i in row) for row in ids]


def is_silent(index: int, setting: Setting) -> bool:
    return index % 100 < round(100 * setting.silent)


def earned(token_ids: list[int], silent: bool) -> float:
    """A reward that every group disagrees about, unless the prompt is silent: the share of even ids."""
    return 0.0 if silent or not token_ids else sum(i % 2 == 0 for i in token_ids) / len(token_ids)


class Baton:
    """Waits for the next "go" and answers with what the step did."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def done(self) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.figures["cuda_mib"] = torch.cuda.max_memory_allocated() / 2**20
        sys.__stdout__.write(json.dumps(self.figures | {"rss_mib": peak}) + "\n")
        sys.__stdout__.flush()
        self.figures = {}

    def wait(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit(0)

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.figures[phase] = self.figures.get(phase, 0.0) + time.perf_counter() - started

    def timed(self, phase: str, work: Callable) -> Callable:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clock(phase):
                return work(*args, **kwargs)

        return wrapped


def run_r1(setting: Setting, baton: Baton) -> None:
    """`stage=grpo` under a Lightning trainer with the CSV log."""
    from functools import partial

    from lightning import Callback, Trainer
    from lightning.pytorch.loggers import CSVLogger
    from r1_kernels import Objective

    from r1.losses import advantages
    from r1.policy import Policy
    from r1.policy.prompts import Template
    from r1.records import Problem
    from r1.rewards import Reward
    from r1.rollout.engine import Sampling
    from r1.rollout.hf import HFEngine
    from r1.stages import GRPO
    from r1.stages.optimizers import adamw

    shape = setting.shape
    policy = Policy(*make_model(setting), Template("bare", "{question}"))
    prompts = make_prompts(setting, 64 * shape.prompts)

    problems = [Problem(f"{i}", text, meta={"silent": is_silent(i, setting)}) for i, text in enumerate(prompts)]
    task = SimpleNamespace(name="benchmark", train=problems, validation=problems[:1], test=problems[:1])

    def part(traces):
        return [earned(t.token_ids, t.problem.meta["silent"]) for t in traces]

    stage = GRPO(
        policy, Reward({"even": part}, {"even": 1.0}), HFEngine(policy), Objective(), partial(advantages, normalise="group_std"),
        partial(adamw, lr=setting.lr), Sampling(max_new_tokens=shape.new), steps=10_000, prompts_per_step=shape.prompts,
        group_size=shape.group, aggregation="dapo",
    )  # fmt: skip

    class Steps(Callback):
        def on_train_batch_start(self, trainer: Any, module: GRPO, batch: Any, batch_idx: int) -> None:
            if batch_idx:
                baton.figures |= self.phases
                baton.done()
            baton.wait()

        def on_train_batch_end(self, trainer: Any, module: GRPO, *_: Any) -> None:
            logged = {k.removeprefix("time/"): float(v) for k, v in trainer.callback_metrics.items() if k.startswith("time/")}
            logged.pop("step")
            tokens = sum(len(t.token_ids) for g in module.last_groups for t in g.traces)
            self.phases = logged | {"tokens": tokens, "loss": float(trainer.callback_metrics["train/loss"])}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="gpu" if shape.device == "cuda" else "cpu", devices=1, max_epochs=1, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            logger=CSVLogger(folder), callbacks=[Steps()], default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(stage, stage.loader(task))


def run_trl(setting: Setting, baton: Baton) -> None:
    """TRL's GRPOTrainer with the same loss, optimiser and batch, generating with transformers."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    shape = setting.shape
    model, tokenizer = make_model(setting)
    prompts = make_prompts(setting, 64 * shape.prompts)
    rows = [{"prompt": text, "silent": is_silent(i, setting)} for i, text in enumerate(prompts)]

    def reward(completions: list, completion_ids: list[list[int]], silent: list[bool], **_: Any) -> list[float]:
        return [earned(ids, quiet) for ids, quiet in zip(completion_ids, silent)]

    class Steps(TrainerCallback):
        started = False

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.started:
                baton.done()
            self.started = True
            baton.wait()

    rows_a_step = shape.prompts * shape.group
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            folder, max_steps=10_000, per_device_train_batch_size=rows_a_step if shape.device == "cpu" else shape.group,
            gradient_accumulation_steps=1 if shape.device == "cpu" else shape.prompts, num_generations=shape.group,
            max_completion_length=shape.new, beta=0.0, loss_type="dapo", temperature=1.0, top_p=1.0, top_k=0, learning_rate=setting.lr,
            adam_beta1=0.9, adam_beta2=0.95, weight_decay=0.0, max_grad_norm=1.0, lr_scheduler_type="constant", logging_steps=1,
            report_to="none", save_strategy="no", use_cpu=shape.device == "cpu", bf16=shape.dtype == "bfloat16",
            gradient_checkpointing=False, disable_tqdm=True, use_liger_kernel=setting.liger,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model, reward, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=[Steps()]
        )
        counted = trainer._generate_single_turn

        def generate(*args: Any, **kwargs: Any) -> Any:
            out = counted(*args, **kwargs)
            baton.figures["tokens"] = baton.figures.get("tokens", 0) + sum(map(len, out[0]))
            return out

        trainer._generate_single_turn = baton.timed("rollout", generate)
        trainer._calculate_rewards = baton.timed("score", trainer._calculate_rewards)
        prepare, update = trainer._generate_and_score_completions, trainer.training_step
        trainer._generate_and_score_completions = baton.timed("sampled", prepare)
        trainer.training_step = baton.timed("trained", update)
        trainer.train()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    wanted = Setting(**json.loads(sys.argv[2]))
    torch.set_num_threads(wanted.threads)
    sys.stdout = sys.stderr  # the answers have stdout for themselves
    {"r1": run_r1, "trl": run_trl}[sys.argv[1]](wanted, Baton())
