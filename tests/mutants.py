"""Classic trainer bugs, planted one at a time: for each, a test must turn red. Run: python tests/mutants.py [number ...]

A mutant is a line of the code and the mistake that people make in it. The suite proves nothing about a bug that it lets pass. The
numbers are those of docs/reliability.md; bugs that live in losses and kernels are planted by tests/kernels/test_planted_bugs.py.

Each mutant lives in a copy of the repository. One process imports what is heavy and forks for every test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
COPIED = ("r1", "kernels", "conf", "tests", "pyproject.toml", "constraints.txt")

# Bugs that cannot be here, or whose test is another one's, with the reason.
ELSEWHERE: dict[int, str] = {}


class Mutant(NamedTuple):
    """Replace `right` by `wrong` in `file`; then `test` (a pytest -k expression in `tests`) must fail."""

    bug: int
    name: str
    file: str
    right: str
    wrong: str
    tests: str
    test: str


COLLATE, SUMMARY, HF, DRAW, SAMPLER = (
    "r1/rollout/collate.py",
    "r1/stages/summary.py",
    "r1/rollout/hf.py",
    "r1/rollout/draw.py",
    "r1/rollout/sampler.py",
)
FORMAT, VERIFY, PARSE, POOL, VOTE = (f"r1/grading/{name}.py" for name in ("template", "verify", "parse", "pool", "vote"))
LOADER = "r1/tasks/loader.py"
POLICY, STAGE, GRPO, SFT = "r1/policy/policy.py", "r1/stages/base.py", "r1/stages/grpo.py", "r1/stages/sft.py"
CUTTING = "r1/stages/minibatches.py"
SETTINGS, SERVER, RANKS = "r1/stages/settings.py", "r1/rollout/vllm_http.py", "tests/stages/test_two_ranks.py"
MUTANTS = [
    Mutant(1, "log-probabilities shifted by one", POLICY, "[:, batch.S - 1 : -1]\n", "[:, batch.S :]\n",
           "tests/policy/test_policy.py", "loop_over_tokens"),
    Mutant(2, "loss mask shifted by one", "r1/rollout/supervised.py", "weight=learned[:, 1:].float()", "weight=learned[:, :-1].float()",
           "tests/stages/test_sft.py", "body_and_its_end"),
    Mutant(3, "left padding without position ids", POLICY, "self._states(batch.tokens, batch.attention, batch.position_ids)",
           "self._states(batch.tokens, batch.attention, None)",
           "tests/policy/test_policy.py", "loop_over_tokens"),
    Mutant(5, "only the tokenizer's end of sequence", POLICY,
           'for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):',
           "for source in (tokenizer.eos_token_id,):", "tests/policy/test_policy.py", "every_eos"),
    Mutant(7, "end of sequence left out of the loss", SFT, "[*body, eos]", "[*body]", "tests/stages/test_sft.py", "body_and_its_end"),
    Mutant(8, "truncated rows masked in the numerator only", CUTTING, " and not (self.mask_truncated and t.truncated)", "",
           "tests/stages/test_grpo.py", "truncated_completions"),
    Mutant(12, "a group of one", SETTINGS, "if group_size < 2:", "if group_size < 1:", "tests/stages/test_grpo.py", "impossible_settings"),
    Mutant(15, "a mean of micro-batch means", STAGE, "loss * self.trainer.world_size", "loss / rounds",
           "tests/stages/test_grpo.py", "cutting_a_step"),
    Mutant(16, "local denominators", CUTTING, "Normaliser(*map(int, over_ranks(step.rows, step.tokens)))", "step",
           RANKS, "equal_one_process and ddp"),
    Mutant(16, "gradients averaged over ranks", STAGE, "loss * self.trainer.world_size", "loss", RANKS, "equal_one_process and ddp"),
    Mutant(19, "dropout in reinforcement learning", GRPO, "        policy.without_dropout()  # dropout", "        # dropout",
           "tests/stages/test_grpo.py", "first_ratio"),
    Mutant(21, "temperature not in the old log-probabilities", "r1/stages/logps.py", "old_logp=self.policy.logps(batch, self.temperature)[0])",
           "old_logp=self.policy.logps(batch)[0])", "tests/stages/test_grpo.py", "first_ratio"),
    Mutant(23, "top-p in rollouts only", SETTINGS, "if (sampling.top_p < 1 or sampling.top_k > 0) and", "if False and",
           "tests/stages/test_grpo.py", "impossible_settings"),
    Mutant(24, "sampling from a copy that is never refreshed", GRPO, "            self.engine.sync(self.policy, self.updates)\n            return",
           "            import copy\n            self.stale = getattr(self, 'stale', None) or [copy.deepcopy(self.policy)]\n"
           "            self.engine.sync(self.stale[0], self.updates)\n            return", "tests/stages/test_grpo.py", "rewarded_becomes_likely"),
    Mutant(26, "a reference that is the policy", "r1/policy/reference.py", "copy.deepcopy(policy, shared).requires_grad_(False).eval()",
           "policy", "tests/policy/test_policy.py", "copy_that_training"),
    Mutant(27, "the adapter's reference is the bare base", "r1/policy/reference.py", "        self.refresh_every = refresh_every\n",
           "        self.refresh_every = refresh_every\n        for name, weights in self.frozen.named_parameters():\n"
           "            if '.lora_B.' in name:\n                weights.data.zero_()\n",
           "tests/stages/test_adapters.py", "reference_is_the_policy"),
    Mutant(28, "a resume starts with a fresh adapter", STAGE, "        self.must_match(checkpoint)\n",
           "        self.must_match(checkpoint)\n        fresh = {k: v for k, v in self.state_dict().items() if '.lora_' in k}\n"
           "        checkpoint['state_dict'].update(fresh)\n", "tests/stages/test_adapters.py", "resuming_with_an_adapter"),
    Mutant(29, "beginning of sequence twice", POLICY, "while bos is not None and ids[:2] == [bos, bos]:", "while False:",
           "tests/policy/test_policy.py", "one_bos"),
    Mutant(29, "special tokens added to a chat template", POLICY, "add_special_tokens=plain",
           "add_special_tokens=True", "tests/policy/test_policy.py", "chat_template_brings"),
    Mutant(30, "no beginning of sequence", POLICY, "add_special_tokens=plain", "add_special_tokens=False",
           "tests/policy/test_policy.py", "one_bos"),
    Mutant(32, "the template opens the thought, unseen", POLICY, 'return f"<think>{text}" if self.template.opened else text',
           "return text", "tests/policy/test_policy.py", "opens_the_thought"),
    Mutant(43, "a rank without groups leaves what all ranks add up", "r1/callbacks/reflection.py",
           'if hasattr(pl_module, "last_groups"):', "if rollouts(pl_module):", RANKS, "equal_one_process and ddp"),
    Mutant(43, "a rank without groups samples what was sampled ahead", GRPO, "self.sample(problems) if taken is None else taken",
           "taken or self.sample(problems)", RANKS, "equal_one_process and fsdp2"),
    Mutant(43, "ranks with fewer micro-batches stop early", STAGE,
           "for batch in [*batches, *[None] * (rounds - len(batches))]:", "for batch in batches:",
           RANKS, "equal_one_process and ddp"),
    Mutant(14, "minibatches dealt by each rank for itself", CUTTING, "place[rank + ranks * i]", "place[i]",
           RANKS, "equal_one_process and ddp"),
    Mutant(24, "a server's versions not looked at", SERVER, "return not self.label or not spans or", "return True or",
           "tests/rollout/test_vllm_http.py", "restart_between or somebody"),
    Mutant(24, "a server that loads nothing believed", SERVER, "now == before == self._fingerprints[1]", "False",
           "tests/rollout/test_vllm_http.py", "does_not_load"),
    Mutant(24, "keys and values of old weights kept", SERVER, "            self.server.reset_prefix_cache()\n", "",
           "tests/rollout/test_vllm_http.py", "old_ones_are_cleared"),
    Mutant(24, "a restarted server given the policy of now", "r1/rollout/vllm_weights.py", '.to("cpu", copy=True)', '.to("cpu")',
           "tests/rollout/test_vllm_weights.py", "has_become"),
    Mutant(44, "the first rank's figures only", STAGE, "self.stats_over_ranks(added(parts))", "added(parts)",
           RANKS, "equal_one_process and ddp"),
    Mutant(45, "every rank describes its own groups", GRPO, "describe(groups, from_all_ranks)", "describe(groups)", RANKS, "never_saw"),
    Mutant(51, "a rank gathers only as often as it has batches", STAGE, "for _ in range(rounds - len(batches)):", "for _ in range(0):",
           RANKS, "equal_one_process and fsdp2"),
    Mutant(4, "attention to padding", COLLATE, "attention=real.long(),", "attention=torch.ones_like(real).long(),",
           "tests/rollout/test_collate.py", "layout"),
    Mutant(6, "mask from comparing with the padding id", COLLATE, "    sampler_logp = torch.zeros(mask.shape)",
           "    mask = tokens[:, S:] != pad_id\n    sampler_logp = torch.zeros(mask.shape)", "tests/rollout/test_collate.py", "end_of_sequence_id"),
    Mutant(9, "lengths of what the loss keeps", SUMMARY, "metrics.MEAN_LENGTH: [float(len(trace.token_ids)) for trace in traces],",
           "metrics.MEAN_LENGTH: [float(len(trace.token_ids)) for trace in traces if not trace.truncated],", "tests/stages/test_grpo.py", "truncated_completions"),
    Mutant(20, "modes not put back after sampling", HF, "            module.training = training", "            pass",
           "tests/rollout/test_hf_engine.py", "mode_comes_back"),
    Mutant(22, "the sampler's log-probabilities before the temperature", DRAW, "return token.squeeze(1), p.gather",
           "return token.squeeze(1), logits.float().softmax(-1).gather", "tests/rollout/test_hf_engine.py", "distribution_that_was_sampled"),
    Mutant(25, "rollouts with the reference after a resume", GRPO, "            self.engine.sync(self.policy, self.updates)\n            return",
           "            self.engine.sync(self.reference.frozen if self.trainer.ckpt_path and self.reference else self.policy, self.updates)\n            return",
           "tests/resume/test_kill_points.py", "a_killed_run and grpo"),
    Mutant(31, "completions tokenised again", SAMPLER, "token_ids=c.token_ids, logps",
           'token_ids=policy.tokenizer(policy.decode(c.token_ids), add_special_tokens=False)["input_ids"][: len(c.logps)], logps',
           "tests/rollout/test_sampler.py", "trained_as_they_were_sampled"),
    Mutant(33, "format of any text with the tags in it", FORMAT, "_R1_ZERO.fullmatch(", "_R1_ZERO.search(", "tests/grading/test_template.py", ""),
    Mutant(34, "an empty answer is in every string", VERIFY, "    if answer is None or not answer.strip():\n        return False\n",
           '    if not (answer or "").strip():\n        return (answer or "") in (problem.answer or "")\n', "tests/grading/test_verify.py", ""),
    Mutant(35, "the first brace closes the box", PARSE, "            stack.append((piece.end(), False))", "            pass",
           "tests/grading/test_parse.py", "test_answer"),
    Mutant(36, "a worker that hangs is not replaced", POOL, "                self._drop(worker)\n                self._count(",
           "                self._idle.append(worker)\n                self._count(", "tests/grading/test_pool.py", "hung or killed_worker"),
    Mutant(37, "a broken grader makes every answer wrong", POOL, "            raise WorkerFailed(f\"math-verify does not work here",
           "            return\n            raise WorkerFailed(f\"math-verify does not work here", "tests/grading/test_pool.py", "broken_math_verify"),
    Mutant(38, "special tokens in what the reward reads", POLICY, "skip_special_tokens=True", "skip_special_tokens=False",
           "tests/rollout/test_sampler.py", "special_tokens"),
    Mutant(42, "an order that repeats and skips problems", LOADER, "divmod(index, len(self.items) // self.per_step)",
           "divmod(index, len(self.items))", "tests/tasks/test_base.py", ""),
    Mutant(44, "a mean over groups, not over completions", "r1/callbacks/reflection.py", "count, *sums = over_ranks(float(len(texts)),",
           "count, *sums = over_ranks(float(len(groups)),", "tests/callbacks/test_callbacks.py", "behaviour_weighs"),
    Mutant(46, "votes by string", VOTE, "by_form.setdefault(canonical(problem, answer), [])", "by_form.setdefault(answer, [])",
           "tests/grading/test_vote.py", "tie or permut or order or spellings or None or expressions or algebra"),
    Mutant(46, "answers that were not given vote", VOTE, "if answer is not None and answer.strip():", "if True:\n            answer = answer or \"?\"",
           "tests/grading/test_vote.py", "none_never"),
    Mutant(47, "a resume starts the data from the beginning", LOADER, 'self.position = int(state["position"])', "pass",
           "tests/tasks/test_base.py", "resumes"),
    Mutant(47, "a resume starts the examples from the beginning", "r1/stages/examples.py", 'self.position = int(state["position"])', "pass",
           "tests/resume/test_kill_points.py", "a_killed_run and sft"),
    Mutant(47, "metrics of the steps that are made again stand there twice", "r1/resume.py", '<= step]', '<= step + 99]',
           "tests/resume/test_kill_points.py", "a_killed_run"),
    Mutant(47, "the step count starts at 0", STAGE, "            setattr(self, name, value)", "            pass",
           "tests/resume/test_kill_points.py", "a_killed_run"),
    Mutant(48, "figures at an explicit step, which W&B drops when it is late", "r1/loggers.py",
           "super(WandbLogger, self).log_metrics(metrics, step)", "self.experiment.log(dict(metrics), step=step)",
           "tests/test_loggers.py", "late_step"),
    Mutant(49, "evaluation problems in the training set", "r1/tasks/decontaminate.py", "for index in holders.get(gram, ())", "for index in ()",
           "tests/tasks/test_decontaminate.py", ""),
]  # fmt: skip


DRIVER = """
import os, sys
import numpy, torch, pytest, hypothesis, lightning.pytorch, transformers, hydra, wandb, pydantic, tokenizers
import transformers.models.qwen3.modeling_qwen3, transformers.models.gpt2.modeling_gpt2, torch._dynamo
torch.set_num_threads(1)
for line in sys.stdin:
    root, expression, *tests = line.rstrip("\\n").split("\\t")
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        sys.path[:0] = [root, root + "/kernels"]
        os.environ["PYTHONPATH"] = root + ":" + root + "/kernels"
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1); os.dup2(quiet, 2)
        os.chdir(root)
        import signal
        signal.alarm(240)   # ranks that wait for each other for ever
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *(["-k", expression] if expression else []), *tests])))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try: os.killpg(child, 9)
    except ProcessLookupError: pass
    print(status, flush=True)
"""


def copied(folder: Path, mutant: Mutant | None = None) -> Path:
    """A copy of the repository, with the mistake in it."""
    for part in COPIED:
        source = REPO / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / part)
    if mutant is not None:
        text = (folder / mutant.file).read_text(encoding="utf-8")
        (folder / mutant.file).write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    return folder


def misfits() -> list[str]:
    """Mutants whose line is gone, or stands there more than once: they would plant nothing, or something else."""
    found = []
    for mutant in MUTANTS:
        count = (REPO / mutant.file).read_text(encoding="utf-8").count(mutant.right)
        if count != 1 or mutant.right == mutant.wrong:
            found.append(f"bug {mutant.bug} ({mutant.name}): {mutant.file} holds its line {count} times")
    return found


def planted(mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant with whether its tests, green without it, turned red (pytest's status 1, or the time limit)."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        ) as driver,
    ):

        def status(root: Path, tests: str, expression: str) -> int:
            files = [f"{root}/{name}" for name in tests.split(" or ")]
            driver.stdin.write("\t".join([str(root), expression, *files]) + "\n")  # type: ignore[union-attr]
            driver.stdin.flush()  # type: ignore[union-attr]
            return int(driver.stdout.readline())  # type: ignore[union-attr]

        clean, green = copied(Path(scratch) / "clean"), {}
        for i, mutant in enumerate(mutants):
            asked = (mutant.tests, mutant.test)
            green[asked] = green.get(asked) or status(clean, *asked) == 0
            root = copied(Path(scratch) / str(i), mutant)
            yield mutant, green[asked] and status(root, *asked) in (1, -14)
            shutil.rmtree(root)


def covered() -> dict[int, list[str]]:
    """Bug number -> where it is planted."""
    found: dict[int, list[str]] = {}
    for mutant in MUTANTS:
        found.setdefault(mutant.bug, []).append(mutant.name)
    for line in (REPO / "tests/kernels/test_planted_bugs.py").read_text(encoding="utf-8").splitlines():
        if name := re.match(r'    \("(?:kernel: )?(\d+) ([^"]*)"', line):
            found.setdefault(int(name[1]), []).append(name[2])
    return found


def main(numbers: list[int]) -> int:
    if gone := misfits():
        raise SystemExit("update the list:\n" + "\n".join(gone))
    chosen = [mutant for mutant in MUTANTS if not numbers or mutant.bug in numbers]
    survivors = 0
    for mutant, red in planted(chosen):
        survivors += not red
        print(f"bug {mutant.bug:2}  {'red ' if red else 'GREEN'}  {mutant.name}", flush=True)
    print(
        f"{len(chosen) - survivors} of {len(chosen)} red; {len(covered())} of 52 bugs are planted somewhere, {len(ELSEWHERE)} are not"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main([int(number) for number in sys.argv[1:]]))
