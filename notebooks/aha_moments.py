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
# # Does reinforcement learning make a model say "wait" because it pays?
#
# R1-Zero began to write "wait" in the middle of its thoughts, and nobody had asked it to. Three readings of such *aha moments* compete:
#
# 1. the model learns to check itself, because that earns reward;
# 2. base models say "wait" anyway, and it means nothing;
# 3. longer answers are rewarded, and "wait" is what they are filled with.
#
# Here are two tiny base models that say "wait" equally often. One has read solutions in which every try is followed by an honest
# verdict ("want 54 **no** . wait , try ..."). The other has read the same searches without the verdict: it says "wait" as well, but has
# no way to know when. Both get the same pure RL: accuracy and format, 80 steps of GRPO. If the first reading is right, one of them will
# keep its "wait" and the other will not.
#
# Everything below is read from the runs' traces (the first 80 validation problems, 8 samples each, at steps 0, 20, 40, 60, 80; made
# small by `data/shrink.py`) and from the two base models in bf16. A base and its run took 316 and 262 s on one shared CPU core. To
# look at your own runs, set `R1_RUN` and `R1_CONTROL` to folders as `r1 train`, `r1 demo` or `r1 reflection` leave them; where a
# folder holds no base model (`base/hf`), sections 4 and 5 leave it out.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from r1.analysis.aha import formal_ahas
from r1.analysis.importance import importance
from r1.analysis.observatory import checkpoints, reinforced, snapshot
from r1.analysis.onset import onset
from r1.analysis.outcome import OUTCOMES, turns
from r1.analysis.reading import read_run
from r1.analysis.reconsider import reconsider
from r1.analysis.reflection import reflects
from r1.analysis.resampling import spans
from r1.analysis.series import behaviour
from r1.policy import Policy
from r1.rollout.engine import Sampling
from r1.rollout.hf import HFEngine

torch.set_num_threads(1)
HERE = Path(__file__).parent if "__file__" in globals() else Path.cwd()
DATA = next(p for p in (HERE / "data", HERE / "notebooks" / "data") if p.is_dir()) / "aha_moments"
RUNS = {
    "verdicts": Path(os.environ.get("R1_RUN", DATA / "informative")),
    "no verdicts": Path(os.environ.get("R1_CONTROL", DATA / "useless")),
}
COLOURS = {"verdicts": "C0", "no verdicts": "C3"}
runs = {name: reinforced(read_run(folder)) for name, folder in RUNS.items()}
groups = {name: checkpoints(run.traces()) for name, run in runs.items()}
shots = {name: [snapshot(step, found) for step, found in seen.items()] for name, seen in groups.items()}
for name, seen in shots.items():
    print(f"{name:>12}: {len(seen)} evaluations of {seen[0].samples} samples")

# %% [markdown]
# ## 1. What the eye sees
#
# The share of rollouts that reflect, by a rule-based detector (a "wait" counts where it does the job: not in "he had to wait"). The
# shaded band is where the change began, with its 95 % interval; runs without a change show none.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for name, run in runs.items():
    for axis, metric in zip(axes, ("train/reflection_rate", "train/completions/mean_length")):
        curve = run.curve(metric)
        axis.plot(curve.x, curve.y, color=COLOURS[name], label=name)
        began = onset(curve.x, curve.y)
        if began.found and began.after > began.before:
            axis.axvspan(began.low, began.high, color=COLOURS[name], alpha=0.2)
            print(f"{name:>12}, {metric}: rises from step {began.step:.0f} (95 %: {began.low:.0f} to {began.high:.0f})")
axes[0].set(xlabel="step", ylabel="rollouts that reflect", ylim=(0, 1))
axes[1].set(xlabel="step", ylabel="tokens a rollout", ylim=(0, None))
axes[0].legend()
plt.show()

# %% [markdown]
# What else drifts, in the evaluation samples: the tags that they use (distance to the first evaluation's mix), words of both languages
# in one sample, four-word phrases used before. The format reward moves the first in both; the second and the third come with searching.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6))
for name, run in runs.items():
    written = behaviour(run.traces(), phase=f"eval/{run.benchmarks[0]}")
    for axis, what in zip(axes, ("template drift", "two languages", "repetition")):
        axis.plot(written[what].x, written[what].y, color=COLOURS[name], marker=".")
        axis.set(xlabel="step", title=what, ylim=(0, 0.7))
plt.show()

# %% [markdown]
# One problem, before and after RL. Both models were given the same question.

# %%
for name, seen in groups.items():
    for step in (min(seen), max(seen)):
        group = seen[step][0]
        trace = next((t for t in group.traces if reflects(t.text)), group.traces[0])
        print(f"{name}, step {step:.0f}: {trace.problem.question}\n    {trace.text}\n")

# %% [markdown]
# ## 2. Did the reflections matter?
#
# Counting "wait" says nothing about what it did. So take the answer that stood *before* each reflection, read off the text, and compare
# it with the final one.

# %%
example = next(
    t for t in groups["verdicts"][0][0].traces + groups["verdicts"][max(groups["verdicts"])][0].traces if reflects(t.text)
)
for turn in turns(example):
    print(f"before {example.text[turn.start : turn.end]!r}: {turn.before!r:10} finally: {turn.after!r:10} {turn.outcome}")

print(f"\n{'':>12} step  reflects  " + "  ".join(OUTCOMES))
for name, seen in shots.items():
    for shot in seen:
        shares = [f"{shot.outcomes.shares[o].value:>{len(o)}.0%}" for o in OUTCOMES] if shot.outcomes else []
        print(f"{name:>12} {shot.step:4.0f}  {shot.reflects:7.0%}   " + "  ".join(shares))

# %% [markdown]
# In the base with verdicts most reflections already end well; in the other one they turn a wrong answer into a right one about as often
# as a right one into a wrong one. RL starts from this difference.
#
# ## 3. Reflecting against plain samples, within the same problem
#
# Pooled over problems the comparison would mislead: models reflect more where a problem is hard. So only problems that have samples
# of both sorts count, each as its own pair.

# %%
figure, axis = plt.subplots(figsize=(6, 3.2))
for name, seen in shots.items():
    having = [shot for shot in seen if shot.pays]
    value = [shot.pays.difference for shot in having]
    spread = [
        [v - shot.pays.problems[0] for v, shot in zip(value, having)],
        [shot.pays.problems[1] - v for v, shot in zip(value, having)],
    ]
    axis.errorbar([shot.step for shot in having], value, yerr=spread, color=COLOURS[name], marker="o", capsize=3, label=name)
axis.axhline(0, color="grey", linewidth=1)
axis.set(xlabel="step", ylabel="accuracy, reflecting - plain")
axis.legend()
plt.show()
base = {name: seen[0] for name, seen in shots.items()}
for name, shot in base.items():
    low, high = shot.pays.problems
    print(
        f"base, {name}: reflecting samples are right {100 * shot.pays.difference:+.0f} points more often (95 %: {100 * low:+.0f} to {100 * high:+.0f})"
    )

# %% [markdown]
# Where reflecting pays in the base, RL makes nearly every sample reflect, and the gap then *closes*: in the end only samples whose
# first try was right do without it. A small gap late in training is no sign that reflection is useless.
#
# The literature's strictest test looks at single problems: earlier checkpoints failed on it and did not shift, now samples that
# shift are right more often than the rest (2601.00514). Eight samples pass such a test by luck now and then, so luck is counted too.

# %%
for name, seen in groups.items():
    found = formal_ahas(seen)
    print(f"{name:>12}: {len(found.moments)} aha moments among {found.candidates} candidates; {found.expected:.1f} by luck alone")

# %% [markdown]
# ## 4. What is one reflection worth?
#
# Samples that reflect *chose* to. To see what a reflection does, intervene: cut real traces of the two base models in front of their
# first reflection and let the model go on, many times, from there (where it may reflect again) and from behind the reflection's sentence. The
# difference of P(right) is the reflection's *resampling importance*; *counterfactual importance* leaves out the continuations
# that reflect again, and *forced-answer importance* makes the model answer at once on either side. Names as in Thought Anchors
# (2506.19143), which draws 100 samples a side; a sequential rule stops here where the answer is clear.

# %%
bases = {name: folder / "base" / "hf" for name, folder in RUNS.items()}
policies = {name: Policy.load(path, template="tiny") for name, path in bases.items() if path.is_dir()}
sampling = Sampling(max_new_tokens=192)
measures = ("forced_answer", "resampling", "counterfactual")
worth = {}
for name, policy in policies.items():
    reflecting = [trace for group in groups[name][0] for trace in group.traces if reflects(trace.text)]
    first = [found[0] for trace in reflecting if (found := spans(trace, policy))][:24]
    for measure in measures:
        worth[name, measure] = importance(policy, HFEngine(policy), sampling, first, measure)

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True)
for axis, measure in zip(axes, measures):
    for name in policies:
        values = sorted(found.value for found in worth[name, measure] if found.value is not None)
        axis.plot([i / max(1, len(values) - 1) for i in range(len(values))], values, color=COLOURS[name], marker=".", label=name)
        found = worth[name, measure]
        drawn, fixed = sum(f.samples for f in found), 200 * len(found)
        helps, harms = (sum(f.finding and sign * (f.value or 0) > 0 for f in found) for sign in (1, -1))
        print(
            f"{measure:>15}, {name:>11}: mean {sum(values) / len(values):+.2f}; {helps} help and {harms} harm among {len(found)}; {drawn / fixed:.0%} of the fixed samples"
        )
    axis.axhline(0, color="grey", linewidth=1)
    axis.set(title=measure.replace("_", " "), xlabel="reflections, in order")
axes[0].set(ylabel="P(right) kept - replaced", ylim=(-1, 1))
axes[0].legend()
plt.show()

# %% [markdown]
# With verdicts, going on after "wait" is right far more often than not saying it. Without verdicts one reflection is worth about
# nothing. Forced to answer right behind it, even the first model has gained only what one more try finds: the worth of "wait" is the
# search that it opens, not the sentence that follows.
#
# ## 5. Would more reflection help the base model, and where?
#
# Take samples of the bases that did *not* reflect, put "wait ," behind the sentence where the next word is most uncertain, least
# uncertain, or anywhere, and let them go on with and without it.

# %%
for name, policy in policies.items():
    tried = [[t for t in g.traces if not reflects(t.text) and ("try" in t.text or "试" in t.text)] for g in groups[name][0]]
    plain = [samples[0] for samples in tried if samples]  # one sample a problem
    for arm in reconsider(policy, HFEngine(policy), sampling, plain, n=8):
        low, high = arm.comparison.problems
        print(f"{name:>12}, {arm.where:>6} entropy ({arm.entropy:.2f} nats): {arm.without:.0%} -> {arm.with_cue:.0%} right with \"wait ,\" "
              f"({100 * arm.comparison.difference:+.0f} points; 95 %: {100 * low:+.0f} to {100 * high:+.0f})")  # fmt: skip

# %% [markdown]
# These thoughts have one sentence, so the three places are one, and the lines of a model agree: the gate has nothing to choose
# from in a tiny base. What shows is the *intervention*: one inserted "wait ," lifts the base with verdicts and does nothing for the other.
#
# ## 6. Over seeds
#
# Two runs could differ by luck. `r1 reflection` trains both kinds of base and the same RL on each for as many seeds as you like; these
# are the seeds that were run.

# %%
seeds = json.loads((DATA / "answer.json").read_text())
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True)
for (arm, found), name in zip(seeds["arms"].items(), RUNS):
    for rows in found.values():
        for axis, field in zip(axes, ("reflects", "accuracy")):
            axis.plot([row["step"] for row in rows], [row[field] for row in rows], color=COLOURS[name], marker=".")
    pays, growth = seeds["payoff"][arm], seeds["growth"][arm]
    print(f"{name:>12}, {len(found)} seeds: reflecting pays {100 * pays['value']:+.0f} points in the base; RL changes its share by {100 * growth['value']:+.0f} "
          f"points (95 % over seeds: {100 * growth['interval'][0]:+.0f} to {100 * growth['interval'][1]:+.0f})")  # fmt: skip
axes[0].set(xlabel="step", ylabel="samples that reflect", ylim=(0, 1))
axes[1].set(xlabel="step", ylabel="pass@1")
plt.show()
print(seeds["verdict"])

# %% [markdown]
# ## Answer
#
# **Yes, here.** Both bases say "wait" in about one sample of fifteen. Where that leads to a right answer more often than not saying it, RL
# takes it to three samples of four within twenty steps and to nearly nine of ten in the end; length and accuracy rise with it, and no
# reward ever mentioned it. Where it leads nowhere, the same RL leaves it rare, in every seed that was run. Of the three readings, "it
# means nothing" is true of the second base, and "longer is rewarded" of neither: the second model's rollouts grow by two tokens, the
# tags that the format reward asks for.
#
# What this does not say: the habit of checking was *written into* what the first base read; RL made it frequent and did not invent it. These
# are models of 122,560 parameters on one family of puzzles. They show the mechanism, under a control that no large model
# offers; how much of R1's "wait" it explains is for traces of large models to say, and sections 2 to 5 run on those as well.
