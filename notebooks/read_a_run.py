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
# # What did this run learn, when, and because of what?
#
# One R1-Zero run: a 122,560-parameter model that guesses at puzzles ("use two of 11 2 9 to make 9"), then 80 steps of GRPO with an
# accuracy and a format reward. Nobody tells it to think longer. Five things to look at, in this order:
#
# 1. what changed between the first and the last evaluation, and what may be luck;
# 2. when it changed;
# 3. which part of the reward did the pushing;
# 4. what the completions say;
# 5. the answer, in sentences that are computed from the run.
#
# The data beside this notebook are a part of a real run (seed 0; `make_data.py` cut it down). Read a run of your own with
# `R1_RUN=runs/<name>/<time>`; everything below is a function of that folder.

# %%
import matplotlib.pyplot as plt

from r1 import metrics
from r1.analysis.comparison import compare_runs, markdown, setting_notes
from r1.analysis.notebook import folder_of, say
from r1.analysis.onset import MIN_POINTS, onset
from r1.analysis.plots import running_mean
from r1.analysis.reading import read_run
from r1.analysis.trace_view import choose, correct, digest

folder = folder_of("r1_zero")
run = read_run(folder)
benchmark = run.benchmarks[0]
steps = [row["step"] for row in run.evaluations(benchmark)]
say(f"**{run.name}**: {len(run.curves)} metrics; {benchmark} was evaluated at steps {', '.join(map(str, steps))}.")

# %% [markdown]
# ## 1. Before and after
#
# Both evaluations asked the same problems, so each problem is compared with itself. Two intervals, because there are two questions:
# would *other problems* of this kind show the difference, and would *other samples* of these problems?

# %%
before, after = f"{folder}@{steps[0]}", f"{folder}@{steps[-1]}"
rows = compare_runs(before, after, benchmark)
say(markdown(rows, f"step {steps[0]}", f"step {steps[-1]}", setting_notes(before, after, benchmark)))

# %% [markdown]
# ## 2. When
#
# Left: accuracy of one sample and of the vote, with 95 % bands over problems. Middle and right: length and reflection, which no
# reward asks for. The grey band is where the change began (a change-point with its 95 % interval).


# %%
def began(curve):
    """The onset of a curve's change, None where it is short or steady."""
    found = onset(curve.x, curve.y) if len(curve.x) >= MIN_POINTS else None
    return found if found and found.found else None


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.2))
k = max(run.votes[benchmark])
for name, colour in (("pass@1", "C0"), (f"cons@{k}", "C1")):
    key = metrics.evaluation(benchmark, name)
    curve, (low, high) = run.curve(key), (run.curve(bound) for bound in metrics.interval(key))
    left.plot(curve.x, curve.y, "o-", color=colour, label=name)
    left.fill_between(curve.x, low.y, high.y, color=colour, alpha=0.2)
left.set(title=f"accuracy on {benchmark}", ylim=(0, 1), xlabel="step")
left.legend()
for axes, metric, title in (
    (middle, metrics.MEAN_LENGTH, "tokens a completion"),
    (right, metrics.REFLECTION_RATE, "share that reflects"),
):
    curve = run.curve(metric)
    axes.plot(curve.x, curve.y, color="C2", alpha=0.3)
    axes.plot(curve.x, running_mean(curve.y, 7), color="C2")
    if start := began(curve):
        axes.axvspan(start.low, start.high, color="grey", alpha=0.25)
    axes.set(title=title, xlabel="step", ylim=(0, None))
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 3. What pushed
#
# The update of a step is linear in the advantages, so each part of the reward has a share of the squared advantage (`train/signal/...`;
# docs/reward-lab.md derives it). And where all completions of a group earned the same, nothing pushes at all.

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.2))
for i, part in enumerate(run.rewards):
    value, share = run.curve(metrics.part_mean(part)), run.curve(metrics.signal(part))
    left.plot(value.x, running_mean(value.y, 7), color=f"C{i}", label=part)
    if share:
        middle.plot(share.x, running_mean(share.y, 7), color=f"C{i}", label=part)
left.set(title="reward, part by part (raw)", xlabel="step", ylim=(0, 1.02))
left.legend()
middle.set(title="share of the signal", xlabel="step")
silent = run.curve(metrics.ZERO_STD)
right.plot(silent.x, running_mean(silent.y, 7), color="C4")
right.set(title="groups without signal", xlabel="step", ylim=(0, 1))
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 4. What it says
#
# The first problem of the file that went from wrong to right, then the first that is still wrong: by rule, not by taste. One sample
# each, the first that was drawn.

# %%
for story in choose(digest(run).kept, learned=1, failed=1):
    question = next(iter(story.values()))[0].problem.question
    lines = [f"**{question}**", ""]
    for step, (trace, _) in sorted(story.items()):
        verdict = {True: "right", False: "wrong", None: "not judged"}[correct(trace)]
        lines += [f"step {step:g}, {verdict}, {len(trace.token_ids)} tokens:", "", "```", trace.text, "```", ""]
    say("\n".join(lines))

# %% [markdown]
# ## 5. The answer

# %%
found = {row.figure: row for row in rows}
first, length, reflects = found["pass@1"], found["mean_length"], found["reflection_rate"]
low, high = first.over_problems[1]
lines = [
    f"**Learned?** pass@1 went from {first.first:.0%} to {first.second:.0%}: {100 * low:+.0f} to {100 * high:+.0f} points for problems of this kind."
]
reached = f"pass@{k}"
if reached in found:
    lines.append(
        f"**New, or more often?** {found[reached].first:.0%} of the problems had a right answer among {k} samples before: mostly more often."
    )
lines.append(
    f"**Longer thoughts?** {length.first:.0f} to {length.second:.0f} tokens, and {reflects.first:.0%} to {reflects.second:.0%} of the samples reflect."
)
for metric, what in ((metrics.MEAN_LENGTH, "length"), (metrics.REFLECTION_RATE, "reflection")):
    if start := began(run.curve(metric)):
        lines.append(
            f"**When?** The change of {what} began at step {start.step:.0f} (95 %: {start.low:.0f} to {start.high:.0f})."
        )
shares = {part: sum(curve.y) / len(curve.y) for part in run.rewards if (curve := run.curve(metrics.signal(part)))}
if shares:
    lines.append(
        "**Because of what?** Shares of the signal, mean over the steps: "
        + ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        + "."
    )
say("\n\n".join(lines))
