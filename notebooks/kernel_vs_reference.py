# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Are the fused losses right, and what do they cost?
#
# Three questions, each with a picture:
#
# 1. What does rounding the logits to bf16 do to a log-probability, and what does ours do?
# 2. Where does the gradient of the clipped loss live, and what do the Triton kernels say there?
# 3. What does the loss cost in time and memory, chunked and dense?
#
# Everything runs on a CPU: the Triton kernels in their interpreter, which computes what a device would, slowly. On a GPU the same
# cells run the compiled kernels.

# %%
import os
import time

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before a kernel is defined

import matplotlib.pyplot as plt
from r1_kernels import Objective, linear_logps, linear_loss, set_backend, token_loss
from r1_kernels.dense import dense_logps, dense_loss

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
print(torch.__version__, device)

# %% [markdown]
# ## 1. The accuracy of a log-probability
#
# Hidden states and head are bf16, as in training. The truth is float64 *of the same rounded numbers*: what is left is the error of
# the arithmetic. Larger logits, larger rounding: bf16 has 8 bits, so a logit of 40 is known to 0.125.
#
# The grey line is the clip range of PPO, 0.2: an error of its size decides by itself which tokens are clipped.


# %%
def errors(scale: float) -> tuple[float, float, float]:
    """Largest |logp - truth| for logits rounded to bf16, the torch backend and the Triton kernel."""
    hidden = (scale * torch.randn(1, 16, 64)).to(device, torch.bfloat16)
    head = (torch.randn(500, 64) / 8).to(device, torch.bfloat16)
    logits = hidden.double() @ head.double().T
    targets = logits.argmax(-1)  # the tokens that a policy samples most
    truth, _ = dense_logps(logits, targets)
    rounded, _ = dense_logps(logits.bfloat16().double(), targets)
    found = [(rounded - truth).abs().max().item()]
    for backend in ("torch", "triton"):
        set_backend(backend)
        found.append((linear_logps(hidden, head, targets)[0] - truth).abs().max().item())
    set_backend("auto")
    return tuple(found)


scales = [0.5, 1, 2, 4, 8, 16]
table = [errors(s) for s in scales]
figure, axis = plt.subplots(figsize=(6, 3.5))
for column, label in enumerate(("logits rounded to bf16", "torch backend", "Triton kernel")):
    axis.loglog(scales, [max(row[column], 1e-9) for row in table], marker="o", label=label)
axis.axhline(0.2, color="grey", linewidth=1)
axis.set(xlabel="scale of the logits (standard deviation)", ylabel="largest error of a log-probability")
axis.legend()
plt.show()
assert all(row[1] <= 2e-5 and row[2] <= 2e-5 for row in table), table

# %% [markdown]
# ## 2. The gradient of the clipped loss
#
# One token, the ratio r from 0.5 to 2, both signs of the advantage. The gradient is `-r A` inside and exactly 0 where the clip has
# cut; with a dual clip it also stops for A < 0 and r > 1.7. Dots are the Triton kernel, lines the reference in float64.

# %%
objective = Objective(clip_low=0.2, clip_high=0.28, dual_clip=1.7)
ratios = torch.linspace(0.5, 2.0, 61, dtype=torch.float64)
figure, axis = plt.subplots(figsize=(6, 3.5))
for sign, colour in ((1.0, "C0"), (-1.0, "C1")):
    slopes = {}
    for backend, dtype in (("torch", torch.float64), ("triton", torch.float32)):
        set_backend(backend)
        logp = torch.zeros(61, 1, device=device, dtype=dtype, requires_grad=True)
        old = -ratios.log().to(device, dtype)[:, None]
        ones = torch.ones(61, 1, device=device, dtype=dtype)
        token_loss(logp, old, None, sign * ones[:, 0], ones, objective=objective)[0].backward()
        slopes[backend] = logp.grad[:, 0].cpu()
    axis.plot(ratios, slopes["torch"], color=colour, label=f"A = {sign:+.0f}")
    axis.plot(ratios, slopes["triton"], "o", color=colour, markersize=3)
set_backend("auto")
axis.set(xlabel="ratio r", ylabel="dL / d log p")
axis.legend()
plt.show()

# %% [markdown]
# ## 3. Time and memory
#
# The chunked loss makes its gradients while a chunk of logits is there, and keeps none. Half of the rows have advantage 0 (all
# completions of their problem were right, or all wrong): dense autograd multiplies zeros for them, ours leaves them out.


# %%
def cost(rows: int, vocabulary: int, fused: bool, dead: float) -> float:
    """Seconds of one forward and backward, H = 64, the best of three."""
    hidden = torch.randn(8, rows // 8, 64, device=device, requires_grad=True)
    head = torch.randn(vocabulary, 64, device=device, requires_grad=True)
    targets = torch.randint(0, vocabulary, (8, rows // 8), device=device)
    old, weight = torch.full(targets.shape, -8.0, device=device), torch.full(targets.shape, 1.0 / rows, device=device)
    advantage = torch.tensor([0.0] * round(8 * dead) + [1.0] * (8 - round(8 * dead)), device=device)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        if fused:
            loss, _ = linear_loss(hidden, head, targets, old, None, advantage, weight, objective=Objective())
        else:
            loss = dense_loss(hidden @ head.T, targets, old, None, advantage, weight, objective=Objective())
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


vocabularies = [250, 1000, 4000, 16000]
figure, axis = plt.subplots(figsize=(6, 3.5))
for label, fused, dead in (
    ("dense autograd", False, 0.0),
    ("linear_loss", True, 0.0),
    ("linear_loss, half without gradient", True, 0.5),
):
    axis.loglog(vocabularies, [cost(1024, v, fused, dead) for v in vocabularies], marker="o", label=label)
axis.set(xlabel="vocabulary", ylabel="seconds, 1,024 rows")
axis.legend()
plt.show()

# %% [markdown]
# The memory is arithmetic: dense autograd keeps logits, log-probabilities and their gradients, about 4 copies of N V numbers; ours
# one chunk of at most 64 MiB (640 MiB on a GPU) and the products that belong to it, whatever N is. `kernels/bench/loss.py` measures
# both, each in a process of its own.
