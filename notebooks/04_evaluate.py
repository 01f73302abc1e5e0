# %% [markdown]
# # 04: Evaluate, in both orders and with intervals
#
# <!-- badges -->
#
# How good is the judge, how sure can we be of that, and does it know when it is wrong?
# This notebook evaluates your adapters on a benchmark, in that benchmark's own convention and in ours (right in both orders), next to the paper's rows.
# It takes about a minute without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(
    model="auto",  # the model of 02_sft and 03_grpo
    preset="auto",  # t4-16gb, l4-24gb or paper
    # as in 02_sft and 03_grpo: the adapters are read from there (Kaggle: add their saved outputs as input)
    out="auto",
    fast="auto",  # True: use the embedded nano model even if there is a GPU
    needs="grpo",  # without one in `out`, the shipped nano adapters are used
)
BENCHMARK = "nano" if s.fast else "rewardbench"  # or rewardbench2, rm-bench, rmb, judgebench, llmbar
DATA = None  # a local copy of the benchmark; None: the hub (nano: the shipped file)
LIMIT = s.few(120, 8)  # questions, the same share of every section; None: all

# %%
from rmr1_lite.notebook.settings import base_of

specs = {"base": base_of(s), "grpo": s.adapter("grpo")}
if not s.cold_start:
    specs = {"base": base_of(s), "sft": s.adapter("sft"), "grpo": specs["grpo"]}

# %% [markdown]
# ## Judge
#
# Every text is kept.
# If the session ends in the middle, the same cell resumes; if everything has been judged, no model is loaded.

# %%
from rmr1_lite.notebook import judging, pictures, show
from rmr1_lite.notebook.evaluation import evaluate_all

print(f"Judging takes {s.looks(2 * len(specs) * (LIMIT or 600))}.")
folders = evaluate_all(s, specs, BENCHMARK, DATA, LIMIT)

# %% [markdown]
# ## All judges compared
#
# **Right in both orders** is the metric to look at: a judge with a favourite position cannot score on it.
# The intervals come from resampling questions; with few questions they are wide, as they should be.

# %%
from rmr1_lite.evaluation.compare import compare_folders
from rmr1_lite.reporting.plots import write_comparison_plot

results = compare_folders(list(folders.values()), s.out / "evaluation" / BENCHMARK, "notebooks/04_evaluate")
write_comparison_plot(results, s.out / "evaluation" / BENCHMARK)
display(show.judges(results, f"{results.data['title']}: {results.data['pairs']} pairs, each in both orders"))
pictures.draw_judges(results)

# %%
last = list(specs)[-1]
for first in list(specs)[:1]:
    print(judging.describe_difference(results, first, last))

# %% [markdown]
# ## By the benchmark's own rule, next to the paper
#
# Every benchmark scores in its own way, and published results use that way.
# Rows marked as quoted come from the paper and were not measured here.

# %%
from rmr1_lite.notebook.evaluation import own_scores_table, paper_table

own_scores_table(results)

# %%
paper_table()

# %% [markdown]
# ## Is it the length?
#
# Judges like long answers.
# Accuracy when the better response is the longer one, and when it is the shorter one:

# %%
from rmr1_lite.reporting.report import length_rows

rows = [
    [row.name, row.n, *(f"{group.strict_accuracy:.1%}" if group else "" for group in row.groups)]
    for row in length_rows(results)
]
show.table(["the better response ...", "pairs", *results.stages], rows, "Right in both orders")

# %% [markdown]
# ## Does it know when it is wrong?
#
# Two sources of confidence: the share of several sampled votes, and the probability of the letter.
# A calibrated judge lies on the dashed line: of the pairs where it is 80 % sure, it gets 80 % right.
# The calibration error is its average distance from that line.

# %%
from rmr1_lite.notebook.evaluation import measure_calibration

voted = measure_calibration(s, specs[last], BENCHMARK, DATA, s.few(60, 6), votes=4)
for source, found in voted.items():
    interval = f"95 % interval {found.ece_low:.1%} to {found.ece_high:.1%}"
    print(f"{source}: calibration error {found.ece:.1%} ({interval}), {found.n} pairs")
    display(show.reliability(found, source))

# %% [markdown]
# ## Does the verdict depend on the reasoning?
#
# A chain could be pure decoration.
# So it is replaced by another pair's chain: does the verdict follow that chain, or the responses that the judge sees?
# And how often is the judge right when the evaluation is left blank?

# %%
from rmr1_lite.notebook.evaluation import describe_reasoning

print(describe_reasoning(s, specs[last], folders[last]))

# %% [markdown]
# ## A report to share
#
# One page with everything, without scripts or external links.

# %%
from rmr1_lite.reporting.report import write_report

print(write_report(s.out / "evaluation" / BENCHMARK))
