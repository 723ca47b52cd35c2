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
# # Two policies: are they different, and in what?
#
# Two R1-Zero runs that differ in their seed alone: another base model (same recipe, another draw), other problems first, other
# samples. Are the two policies that came out the same, as far as one can tell? Three traps on the way to an answer:
#
# - two averages with overlapping intervals may still differ: the problems are the same, so compare problem by problem;
# - a difference between two *policies* is not a difference between two *settings*: for that, several seeds of each are needed
#   (the notebook `reward_ablation`);
# - the more figures are compared, the more of them differ by luck.
#
# Compare runs of your own: `R1_FIRST=... R1_SECOND=...`, each a folder of `r1 train` or `r1 eval`, both evaluated on the same
# benchmark. (`r1 report --compare A B` prints section 1 in a terminal.)

# %%
import matplotlib.pyplot as plt
import numpy as np

from r1.analysis.comparison import compare_runs, markdown, read_side, setting_notes
from r1.analysis.notebook import folder_of, say
from r1.analysis.reading import read_run
from r1.analysis.reflection import mixes_languages, reflects
from r1.analysis.trace_view import correct, place

folders = folder_of("r1_zero", "R1_FIRST"), folder_of("r1_zero_seed3", "R1_SECOND")
names = [folder.name for folder in folders]
sides = [read_side(str(folder)) for folder in folders]
benchmark = next(name for name in sides[0].reports if name in sides[1].reports)

# %% [markdown]
# ## 1. The scores, problem by problem
#
# p asks: if the two policies were alike, how often would flipping which of them a result belongs to give a difference as large?

# %%
rows = compare_runs(*folders, benchmark)
say(markdown(rows, *names, setting_notes(*folders, benchmark)))

# %% [markdown]
# ## 2. On which problems?
#
# Each dot is a problem: its share of right samples under either policy (moved a little, so that dots do not hide each other). On the
# line the two agree. If one policy were better throughout, the cloud would be shifted; if they are good at different things, it
# would be wide.

# %%
shares = [{row["id"]: row["correct"] / row["n"] for row in side.reports[benchmark]["problems"]} for side in sides]
ids = [name for name in shares[0] if name in shares[1]]
points = np.array([[share[name] for name in ids] for share in shares])
shaken = points + np.random.default_rng(0).uniform(-0.02, 0.02, points.shape)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
left.plot([0, 1], [0, 1], color="grey", linewidth=1)
left.plot(*shaken, ".", alpha=0.5)
left.set(xlabel=names[0], ylabel=names[1], title="share of right samples, by problem", aspect="equal")
right.hist(points[1] - points[0], bins=np.linspace(-1.0625, 1.0625, 18))
right.axvline(0, color="grey", linewidth=1)
right.set(xlabel=f"{names[1]} minus {names[0]}", title="difference, by problem")
figure.tight_layout()
plt.show()
better = [(points[1] > points[0]).sum(), (points[1] < points[0]).sum()]
say(f"{names[1]} is better on {better[0]} problems, worse on {better[1]}, the same on {len(ids) - sum(better)}.")

# %% [markdown]
# ## 3. How they write
#
# From the stored samples of the last evaluation (of the shipped data: of the first problems of the file).

# %%
runs = [read_run(folder) for folder in folders]
last = [side.reports[benchmark]["step"] for side in sides]
samples = []
for run, step in zip(runs, last):
    kept = [trace for trace, row in run.traces() if place(row) == (step, f"eval/{benchmark}")]
    samples.append(
        {name: [trace for trace in kept if trace.problem.id == name] for name in dict.fromkeys(t.problem.id for t in kept)}
    )
shared = [name for name in samples[0] if name in samples[1]]
lines = [
    "| | samples | tokens, median | right when reflecting | right when not | in two languages |",
    "|---|---|---|---|---|---|",
]
for name, by_problem in zip(names, samples):
    traces = [trace for problem in shared for trace in by_problem[problem]]
    verdicts = {kind: [bool(correct(t)) for t in traces if reflects(t.text) is kind] for kind in (True, False)}
    cells = [f"{sum(v)}/{len(v)}" if (v := verdicts[kind]) else "–" for kind in (True, False)]
    mixed = sum(mixes_languages(t.text) for t in traces) / max(1, len(traces))
    lines.append(
        f"| {name} | {len(traces)} | {np.median([len(t.token_ids) for t in traces]):.0f} | {cells[0]} | {cells[1]} | {mixed:.0%} |"
    )
say("\n".join(lines))

# %% [markdown]
# ## 4. Where they disagree most
#
# Of the problems whose samples are here, the one with the largest difference; of each policy the first sample that was drawn.

# %%
most = max(shared, key=lambda name: abs(shares[1][name] - shares[0][name]))
lines = [f"**{samples[0][most][0].problem.question}**"]
for name, by_problem, share in zip(names, samples, shares):
    trace = by_problem[most][0]
    lines += [
        f"{name}: right in {share[most]:.0%} of its samples; the first is {'right' if correct(trace) else 'wrong'}:",
        f"```\n{trace.text}\n```",
    ]
say("\n\n".join(lines))

# %% [markdown]
# ## 5. The answer

# %%
told = [row for row in rows if row.verdict != "cannot tell"]
first = next(row for row in rows if row.figure in ("pass@1", "greedy"))
low, high = first.over_problems[1]
unit = {True: 100, False: 1}
lines = [
    f"**Same or not?** {first.figure}: {names[0]} {first.first:.1%}, {names[1]} {first.second:.1%}; difference {100 * low:+.1f} to "
    f"{100 * high:+.1f} points over problems of this kind, p = {first.over_problems[2]:.2g}: "
    + ("they differ." if first.verdict != "cannot tell" else "these problems cannot tell them apart."),
    "**In what else?** " + ("; ".join(f"{row.label} {unit[row.percent] * row.over_problems[0]:+.1f}" for row in told if row is not first) or "nothing that can be told")
    + f". ({len(rows)} figures were compared; by luck alone {0.05 * len(rows):.1f} of them would differ at p < .05.)",
    "**What it does not say.** These are two policies, one of each. What another seed would have done is not in these data.",
]  # fmt: skip
say("\n\n".join(lines))
