"""The suite must go red: each line below breaks one thing in a copy of the packages and runs the tests that should notice.

One process imports torch once and forks for every plant, so that a plant costs a second and not ten.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
K, L = "kernels/r1_kernels", "r1/losses"

# (bug number of the checklist or a name, file, what is there, what is planted, the tests that must notice)
PLANTS = [
    ("1 target shifted by one row", f"{K}/rows.py", "z.gather(1, targets[:, None])", "z.gather(1, targets.roll(1)[:, None])", "test_linear.py"),
    ("2 mask shifted by one", f"{K}/tokens.py", "learned = weight != 0", "learned = weight.roll(1, -1) != 0", "test_tokens.py"),
    ("4 garbage behind the mask is read", f"{K}/tokens.py", "torch.where(live, t.to(logp.dtype), 0)", "t.to(logp.dtype)", "test_tokens.py"),
    ("sign of the surrogate", f"{K}/tokens.py", "return -used * advantage", "return used * advantage", "test_tokens.py"),
    ("sign of the KL slope", f"{K}/tokens.py", "k3(x), -x.expm1()", "k3(x), x.expm1()", "test_tokens.py"),
    ("clip bounds swapped", f"{K}/objective.py", "return 1 - low, 1 + (low if", "return 1 - 2 * low, 1 + (low if", "test_tokens.py"),
    ("edge of the clip", f"{K}/tokens.py", "r <= hi, (r >= lo)", "r < hi, (r > lo)", "test_tokens.py"),
    ("dual clip ignored", f"{K}/tokens.py", 'cap = float("inf") if objective.dual_clip is None else objective.dual_clip', 'cap = float("inf")', "test_tokens.py"),
    ("21 temperature not in the log-probability", f"{K}/rows.py", "logits.mul_(inverse_temperature)", "logits", "test_linear.py"),
    ("21 temperature not in the gradient", f"{K}/rows.py", "self.p.mul_((-inverse_temperature * g)", "self.p.mul_((-g)", "test_linear.py"),
    ("40 mask after exp", f"{K}/tokens.py", "(l - o).clamp(-CLAMP, CLAMP)", "(l - o)", "test_tokens.py"),
    ("40 product by a mask", f"{K}/tokens.py", "torch.where(inside, -r * advantage, 0)", "inside * (d - d + r / 0 * 0 - r) * advantage", "test_tokens.py"),
    ("41 k2 for k3", f"{K}/tokens.py", "value, slope = k3(x), -x.expm1()", "value, slope = k3(x), -x", "test_tokens.py"),
    ("k3 in its textbook form", f"{K}/tokens.py", "x.abs() < limit", "x.abs() < 0", "test_tokens.py"),
    ("44 means of means", f"{K}/stats.py", "self.sums + other.sums, torch", "(self.sums + other.sums) / 2, torch", "test_tokens.py"),
    ("50 all rows in one chunk", f"{K}/rows.py", "return max(1, BUDGET //", "return 10**9 + max(1, BUDGET //", "test_linear.py"),
    ("52 masked rows are computed", f"{K}/linear.py", "weight.reshape(-1).nonzero()[:, 0]", "(weight + 1).reshape(-1).nonzero()[:, 0]", "test_linear.py"),
    ("row classes forget the KL term", f"{K}/linear.py", "if objective.always_has_gradient:", "if False:", "test_linear.py"),
    ("entropy slope sign", f"{K}/linear.py", "-objective.entropy_coef * weight", "objective.entropy_coef * weight", "test_linear.py"),
    ("entropy of a banned token", f"{K}/rows.py", "if not bool(torch.isfinite(cross).all()):", "if False:", "test_linear.py"),
    ("first block -inf", f"{K}/rows.py", "z.clamp_(min=-1e4).sub_(self.log_s)", "z.sub_(self.log_s)", "test_linear.py"),
    ("importance weight on the KL too", f"{K}/tokens.py", "grad + w * objective.beta * slope", "grad + w_policy * objective.beta * slope", "test_tokens.py"),
    ("sequence gradient without siblings", f"{K}/tokens.py", "grad.sum(1, keepdim=True) * share", "grad * share", "test_tokens.py"),
    ("length missing in sequence_mean", f"{K}/tokens.py", 'if objective.ratio == "sequence_mean"', "if False", "test_tokens.py"),
    ("autocast rounds the logits", f"{K}/rows.py", "with torch.autocast(hidden.device.type, enabled=False):  # autocast", "if True:  # autocast", "test_linear.py"),
    ("teacher and student swapped", f"{K}/imitation.py", "times(pt, log_pt - log_ps).sum(1), ps - pt", "times(ps, log_ps - log_pt).sum(1), ps - pt", "test_imitation.py"),
    ("temperature missing in distillation", f"{K}/imitation.py", "[:, None] / temperature)", "[:, None])", "test_imitation.py"),
    ("8 truncated rows stay in the denominator", f"{L}/grpo.py", "rows=int((mask != 0).any(1).sum())", "rows=mask.shape[0]", "test_grpo.py"),
    ("15 local denominators", f"{L}/grpo.py", "rows, tokens = max(step.rows, 1), max(step.tokens, 1)", "rows, tokens = max(own.rows, 1), max(own.tokens, 1)", "test_grpo.py"),
    ("17 one aggregation forgets the step", f"{L}/grpo.py", "return m / (rows * max_length)", "return m / (own.rows * max_length)", "test_grpo.py"),
    ("18 grpo without the length", f"{L}/grpo.py", "(m.sum(1, keepdim=True).clamp(min=1) * rows)", "rows", "test_grpo.py"),
    ("10 no tolerance", f"{L}/advantage.py", "if not values or max(values)", "if not values or 0 * max(values)", "test_advantage.py"),
    ("10 variance by E[x^2] - E[x]^2", f"{L}/advantage.py", "math.fsum((v - mean) ** 2 for v in values) / len(values)", "abs(math.fsum(v * v for v in values) / len(values) - mean**2)", "test_advantage.py"),
    ("11 mean over the batch", f"{L}/advantage.py", "mean, std = _mean(totals), _deviation(totals, tolerance)", "mean, std = _mean(everything), _deviation(totals, tolerance)", "test_advantage.py"),
    ("12 groups of one pass", f"{L}/advantage.py", "if len(group) < 2:", "if len(group) < 1:", "test_advantage.py"),
    ("13 advantages of advantages", f"{L}/advantage.py", "_beyond(_score(t).total, mean, scale)", "_beyond(_score(t).total if t.advantage is None else t.advantage, mean, scale)", "test_advantage.py"),
    ("39 None counts as 0", f"{L}/advantage.py", "return [total for total in totals if total is not None]", "return [total or 0.0 for total in totals]", "test_advantage.py"),
    # and in the Triton kernels
    ("kernel: sign of the surrogate", f"{K}/kernel_tokens.py", "slope = tl.where(inside, -r * a, 0.0)", "slope = tl.where(inside, r * a, 0.0)", "test_triton.py"),
    ("kernel: 41 k3 slope", f"{K}/kernel_tokens.py", "slope = -(value + x)", "slope = -x", "test_triton.py"),
    ("kernel: 2 weight of the neighbour", f"{K}/kernel_tokens.py", "a = tl.load(a_ptr + at, mask=learned", "a = tl.load(a_ptr + at + 1, mask=learned", "test_triton.py"),
    ("kernel: 4 masked tokens are read", f"{K}/kernel_tokens.py", "learned = inside & (w != 0)", "learned = inside", "test_triton.py"),
    ("kernel: 40 no clamp", f"{K}/kernel_tokens.py", "d = clamped(l - o, -_CLAMP, _CLAMP)", "d = l - o", "test_triton.py"),
    ("kernel: sequence gradient without siblings", f"{K}/kernel_tokens.py", "shared = tl.sum(coupled) * share", "shared = tl.max(coupled) * share", "test_triton.py"),
    ("kernel: 1 target shifted by one", f"{K}/kernel_rows.py", "tl.load(z + target, mask", "tl.load(z + target - 1, mask", "test_triton.py"),
    ("kernel: 21 temperature not in the gradient", f"{K}/kernel_rows.py", "return inverse_temperature * tl.where(col", "return tl.where(col", "test_triton.py"),
    ("kernel: ragged tail counted as logits of 0", f"{K}/kernel_rows.py", 'x = tl.load(z + full + lane, mask=full + lane < V, other=float("-inf"))', "x = tl.load(z + full + lane, mask=full + lane < V, other=0.0)", "test_triton.py"),
    ("kernel: first block -inf", f"{K}/kernel_rows.py", "tl.constexpr(-1e30)", 'tl.constexpr(float("-inf"))', "test_triton.py"),
    ("kernel: entropy slope without H", f"{K}/kernel_rows.py", "tl.where(p == 0, 0.0, log_p) + entropy", "tl.where(p == 0, 0.0, log_p)", "test_triton.py"),
    ("kernel: off-target gradient dropped", f"{K}/kernel_rows.py", "d = -g * p", "d = -g * p * 0", "test_triton.py"),
    ("kernel: split merge starts at 0", f"{K}/kernel_stream.py", "tl.constexpr(-1e30)", "tl.constexpr(0.0)", "test_triton.py"),
    ("kernel: last inner block dropped", f"{K}/kernel_stream.py", "for k in range(0, H, BK):", "for k in range(0, H - BK + 1, BK):", "test_triton.py"),
    ("kernel: reverse for forward", f"{K}/kernel_rows.py", "d = p - tl.exp(y - t_lse)", "d = tl.exp(y - t_lse) - p", "test_triton.py"),
    ("rows of zero advantage get a gradient pass of the wrong rows", f"{K}/linear.py", "return rows[moving], rows[~moving]", "return rows[~moving], rows[moving]", "test_triton.py"),
    ("a compilation for every length", f"{K}/kernel_tokens.py", 'do_not_specialize=["N"], do_not_specialize_on_alignment=COLUMNS', 'do_not_specialize_on_alignment=COLUMNS', "test_compile.py"),
    ("a compilation for every offset", f"{K}/kernel_rows.py", 'do_not_specialize=["first"], do_not_specialize_on_alignment=VECTORS', 'do_not_specialize=["first"]', "test_compile.py"),
]  # fmt: skip

DRIVER = """
import os, sys
import numpy, torch, pytest, hypothesis                       # heavy, unchanged: imported once, before the forks
import torch.utils._python_dispatch, torch.testing
torch.set_num_threads(1)
for line in sys.stdin:
    root, test = line.split()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        sys.path[:0] = [root + "/kernels", root]
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1); os.dup2(quiet, 2)
        os.chdir(root)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-k", "not trl", test])))
    print(test, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def copy_of_the_packages(folder: Path, file: str | None = None, old: str = "", new: str = "") -> Path:
    for part in ("r1", "kernels", "tests/kernels", "tests/losses", "pyproject.toml"):
        source, target = REPO / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.yaml"))
        else:
            shutil.copy(source, target)
    if file:
        text = (folder / file).read_text()
        assert text.count(old) >= 1, f"the plant no longer fits: {old!r} is not in {file}"
        (folder / file).write_text(text.replace(old, new))
    return folder


def exit_codes(folders: list[Path], tests: list[str]) -> list[int]:
    lines = [
        f"{root} {root}/tests/{'losses' if test in ('test_grpo.py', 'test_advantage.py') else 'kernels'}/{test}"
        for root, test in zip(folders, tests)
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input="\n".join(lines), text=True, capture_output=True, env=env, check=True
    )
    return [int(line.split()[-1]) for line in done.stdout.strip().splitlines()]


def test_every_plant_still_fits():
    """A plant whose text is gone from the code plants nothing."""
    gone = [plant[0] for plant in PLANTS if plant[2] not in (REPO / plant[1]).read_text() or plant[2] == plant[3]]
    assert not gone


@pytest.mark.slow
def test_every_planted_bug_turns_the_suite_red(tmp_path):
    """Exit code 1 (tests failed) for each plant; 0 for the untouched copy, so that red means the plant."""
    folders = [copy_of_the_packages(tmp_path / str(i), *plant[1:4]) for i, plant in enumerate(PLANTS)]
    files = sorted({plant[4] for plant in PLANTS})
    clean = [copy_of_the_packages(tmp_path / f"clean{i}") for i in range(len(files))]
    codes = exit_codes(clean + folders, files + [plant[4] for plant in PLANTS])
    assert codes[: len(files)] == [0] * len(files), dict(zip(files, codes))
    missed = [(plant[0], code) for plant, code in zip(PLANTS, codes[len(files) :]) if code != 1]
    assert not missed, f"planted and not noticed (or not run): {missed}"
