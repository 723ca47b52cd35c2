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
# # What does the weight of the format reward do?
#
# R1-Zero is trained with two rules: is the answer right, and is it written between the right tags. How much should the second count?
# Nine short runs on one base model: weights 0, 0.1 and 1, three seeds each, 30 steps (`r1 train experiment=tiny_short
# sweep=reward_weights policy.path=...`). Two guesses to begin with:
#
# - *"more format, less accuracy"*: the parts compete for the update;
# - *"a weight of 0.1 is a tenth of the influence"*.
#
# The data beside this notebook are what those nine runs logged, cut down to the figures used here. Read a sweep of your own with
# `R1_SWEEP=runs/sweeps/<name>/<time>`. Whatever was swept, the first value is the baseline.

# %%
import matplotlib.pyplot as plt
import numpy as np

from r1 import metrics
from r1.analysis.notebook import folder_of, say
from r1.analysis.sweep import curve_over_seeds, difference, mean_over_seeds, read_sweep
from r1.analysis.sweep_report import markdown, seconds, tabulate
from r1.evaluation.intervals import t_quantile

sweep = read_sweep(folder_of("sweep_reward_weights", "R1_SWEEP"))
table = tabulate(sweep)
names = {cell: sweep.name(cell) for cell in sweep.cells}
say(f"{len(sweep.jobs)} runs; swept: " + "; ".join(f"`{axis}` = {', '.join(values)}" for axis, values in sweep.axes.items()))

# %% [markdown]
# ## 1. The table
#
# A mean over seeds with its interval by Student's t, and the difference to the baseline seed by seed. With three seeds the
# quantile of Student's t is 4.3, so only large and steady differences can be told: an ablation with one seed tells nothing.

# %%
say(markdown(table))

# %% [markdown]
# ## 2. The curves
#
# Thick: the mean over seeds. Bands: from the lowest to the highest seed.

# %%
wanted = [(metrics.evaluation(table.benchmark, figure), title) for figure, title in
          (("pass@1", "right at the first sample"), ("format", "right format"), ("reflection_rate", "samples that reflect"))]  # fmt: skip
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4))
for i, (cell, jobs) in enumerate(sweep.cells.items()):
    for place, (metric, title) in zip(axes, wanted):
        steps, mean, low, high = curve_over_seeds([job for job in jobs if job.state == "finished"], metric)
        place.plot(steps, mean, "o-", color=f"C{i}", label=names[cell])
        place.fill_between(steps, low, high, color=f"C{i}", alpha=0.15)
        place.set(title=title, xlabel="step", ylim=(0, 1.02))
axes[0].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 3. Is a weight of 0.1 a tenth of the influence?
#
# What a part carries of the update is its share of the squared advantage, which each run logs (`train/signal/<part>`). GRPO divides by
# the group's standard deviation: in a group where everybody is right, or everybody wrong, only the format differs, and the division
# takes its weight out again (docs/reward-lab.md).

# %%
lines = ["| | share of format, steps 1 to 10 | later | right format at the end |", "|---|---|---|---|"]
shares = {}
for cell, jobs in sweep.cells.items():
    curves = [job.run.curve(metrics.signal("format")) for job in jobs if job.run]
    early = [y for curve in curves for x, y in zip(curve.x, curve.y) if x <= 10]
    late = [y for curve in curves for x, y in zip(curve.x, curve.y) if x > 10]
    last = [value for job in jobs if (value := job.final(metrics.evaluation(table.benchmark, "format"))) is not None]
    shares[cell] = float(np.mean(early + late)) if early + late else 0.0
    lines.append(f"| {names[cell]} | {np.mean(early or [0]):.1%} | {np.mean(late or [0]):.1%} | {np.mean(last):.0%} |")
say("\n".join(lines))

# %% [markdown]
# ## 4. How many seeds would it take?
#
# The fewest seeds whose 95 % interval would leave out zero, if the difference and the spread stayed what they are here. A rough guide:
# the spread of three numbers is itself uncertain.

# %%
cells = list(sweep.cells)
base = sweep.cells[cells[0]]
needed = []
for cell in cells[1:]:
    gap = found.seeds if (found := difference(base, sweep.cells[cell], table.benchmark)) else None
    if gap and gap.interval and gap.value:
        spread = (gap.interval[1] - gap.value) / t_quantile(gap.count - 1) * np.sqrt(gap.count)
        enough = next((n for n in range(2, 200) if t_quantile(n - 1) * spread / np.sqrt(n) < abs(gap.value)), None)
        seeds = f"about {enough} seeds" if enough else "200 seeds are not enough"
        needed.append(
            f"- {names[cell]}: {100 * gap.value:+.1f} points, standard deviation {100 * spread:.1f} between seeds: {seeds}"
        )
say("\n".join(needed))

# %% [markdown]
# ## 5. The answer


# %%
def last_of(cell, figure):
    return mean_over_seeds(
        [v for job in sweep.cells[cell] if (v := job.final(metrics.evaluation(table.benchmark, figure))) is not None]
    )


lines = []
for row in table.rows:
    if row.difference is not None:
        gap = row.difference.seeds
        span = f" ({100 * gap.interval[0]:+.0f} to {100 * gap.interval[1]:+.0f})" if gap.interval else ""
        lines.append(f"- **{names[row.cell]}** against {names[cells[0]]}: pass@1 {100 * gap.value:+.1f} points{span}: {row.difference.verdict}; "
                     f"right format {last_of(row.cell, 'format').value:.0%} against {last_of(cells[0], 'format').value:.0%}.")  # fmt: skip
weighted = [cell for cell in cells if shares[cell] > 0]
if len(weighted) > 1:
    lines.append(
        "- **Is the weight the influence?** Share of the signal: "
        + ", ".join(f"{names[cell]} {shares[cell]:.0%}" for cell in weighted)
        + "."
    )
spent = [value for jobs in sweep.cells.values() if (value := seconds(jobs)) is not None]
if spent:
    lines.append(
        f"- **Cost.** {np.mean(spent):.0f} s a run, {sum(s * len(jobs) for s, jobs in zip(spent, sweep.cells.values())) / 60:.0f} minutes in all."
    )
say("\n".join(lines))
