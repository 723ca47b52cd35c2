"""Classic trainer bugs, planted one at a time: for each, a test must turn red. Run: python tests/mutants.py [number ...]

A mutant is a line of the code and the mistake that people make in it. The suite proves nothing about a bug that it lets pass.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent


class Mutant(NamedTuple):
    """Replace `right` by `wrong` in `file`; then `test` (a pytest -k expression in `tests`) must fail."""

    bug: int
    name: str
    file: str
    right: str
    wrong: str
    tests: str
    test: str


POLICY, STAGE, GRPO, SFT = "r1/policy/policy.py", "r1/stages/base.py", "r1/stages/grpo.py", "r1/stages/sft.py"
MUTANTS = [
    Mutant(1, "log-probabilities shifted by one", POLICY, "states[:, batch.S - 1 : -1]", "states[:, batch.S :]",
           "tests/policy/test_policy.py", "loop_over_tokens"),
    Mutant(2, "loss mask shifted by one", "r1/rollout/supervised.py", "weight=learned[:, 1:].float()", "weight=learned[:, :-1].float()",
           "tests/stages/test_sft.py", "body_and_its_end"),
    Mutant(3, "left padding without position ids", POLICY, "position_ids=batch.position_ids, ", "",
           "tests/policy/test_policy.py", "loop_over_tokens"),
    Mutant(5, "only the tokenizer's end of sequence", POLICY,
           'for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):',
           "for source in (tokenizer.eos_token_id,):", "tests/policy/test_policy.py", "every_eos"),
    Mutant(7, "end of sequence left out of the loss", SFT, "[*body, eos]", "[*body]", "tests/stages/test_sft.py", "body_and_its_end"),
    Mutant(8, "truncated rows masked in the numerator only", GRPO, " and not (self.mask_truncated and t.truncated)", "",
           "tests/stages/test_grpo.py", "truncated_completions"),
    Mutant(12, "a group of one", GRPO, "if group_size < 2:", "if group_size < 1:", "tests/stages/test_grpo.py", "impossible_settings"),
    Mutant(15, "a mean of micro-batch means", STAGE, "loss * self.trainer.world_size", "loss / rounds",
           "tests/stages/test_grpo.py", "cutting_a_step"),
    Mutant(16, "local denominators", GRPO, "Normaliser(*map(int, self.over_ranks(step.rows, step.tokens)))", "step",
           "tests/stages/test_grpo.py", "two_ranks"),
    Mutant(16, "gradients averaged over ranks", STAGE, "loss * self.trainer.world_size", "loss", "tests/stages/test_grpo.py", "two_ranks"),
    Mutant(19, "dropout in reinforcement learning", GRPO, "        policy.without_dropout()  # dropout", "        # dropout",
           "tests/stages/test_grpo.py", "first_ratio"),
    Mutant(21, "temperature not in the old log-probabilities", GRPO, "self.policy.logps(batch, self.sampling.temperature)[0])",
           "self.policy.logps(batch)[0])", "tests/stages/test_grpo.py", "first_ratio"),
    Mutant(23, "top-p in rollouts only", GRPO, "if (sampling.top_p < 1 or sampling.top_k > 0) and", "if False and",
           "tests/stages/test_grpo.py", "impossible_settings"),
    Mutant(24, "sampling from a copy that is never refreshed", GRPO, "        self.engine.sync(self.policy, self.updates)\n",
           "        import copy\n        self.stale = getattr(self, 'stale', None) or [copy.deepcopy(self.policy)]\n"
           "        self.engine.sync(self.stale[0], self.updates)\n", "tests/stages/test_grpo.py", "rewarded_becomes_likely"),
    Mutant(26, "a reference that is the policy", "r1/policy/reference.py", "copy.deepcopy(policy, shared).requires_grad_(False).eval()",
           "policy", "tests/policy/test_policy.py", "copy_that_training"),
    Mutant(29, "beginning of sequence twice", POLICY, "while bos is not None and ids[:2] == [bos, bos]:", "while False:",
           "tests/policy/test_policy.py", "one_bos"),
    Mutant(29, "special tokens added to a chat template", POLICY, "add_special_tokens=plain",
           "add_special_tokens=True", "tests/policy/test_policy.py", "chat_template_brings"),
    Mutant(30, "no beginning of sequence", POLICY, "add_special_tokens=plain", "add_special_tokens=False",
           "tests/policy/test_policy.py", "one_bos"),
    Mutant(32, "the template opens the thought, unseen", POLICY, 'return f"<think>{text}" if self.template.opened else text',
           "return text", "tests/policy/test_policy.py", "opens_the_thought"),
    Mutant(43, "ranks with fewer micro-batches stop early", STAGE,
           "for batch in [*batches, *[None] * (rounds - len(batches))]:", "for batch in batches:",
           "tests/stages/test_grpo.py", "two_ranks"),
]  # fmt: skip


def plant(mutant: Mutant) -> bool:
    """Whether the test turned red with the bug in place; the file is put back either way."""
    path = REPO / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.right) != 1:
        raise SystemExit(
            f"bug {mutant.bug} ({mutant.name}): {mutant.file} holds the line {text.count(mutant.right)} times; update the list"
        )
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "slow or not slow", mutant.tests, "-k", mutant.test]
    try:
        path.write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
        return subprocess.run(command, cwd=REPO, capture_output=True, timeout=300).returncode == 1
    except subprocess.TimeoutExpired:
        return True  # ranks that wait for each other for ever
    finally:
        path.write_text(text, encoding="utf-8")


def main(numbers: list[int]) -> int:
    chosen = [mutant for mutant in MUTANTS if not numbers or mutant.bug in numbers]
    survivors = 0
    for mutant in chosen:
        red = plant(mutant)
        survivors += not red
        print(f"bug {mutant.bug:2}  {'red ' if red else 'GREEN'}  {mutant.name}", flush=True)
    print(f"{len(chosen) - survivors} passed, {survivors} failed")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main([int(number) for number in sys.argv[1:]]))
