# %% [markdown]
# # 03: GRPO, practise on labels
#
# <!-- badges -->
#
# Stage 2 of RM-R1 (section 3.2).
# The judge writes several chains for the same pair.
# A parser reads their verdicts: +1 for the right one, -1 for everything else.
# What the better chains of a group have in common becomes more likely.
# It needs only labels: no teacher and no reward model.
# It takes about five minutes without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(
    # with a GPU: the model of 02_sft; r1-distill-1.5b and r1-distill-7b start here, without SFT
    model="auto",
    preset="auto",  # t4-16gb, l4-24gb or paper
    data="auto",  # the same as in 02_sft
    # the same as in 02_sft: the adapter is read from there (Kaggle: add 02's saved output as input)
    out="auto",
    fast="auto",  # True: use the embedded nano model even if there is a GPU; "smol": train smol-base in its world
    needs="sft",  # without an SFT adapter in `out`, the embedded model is used and the cell says so
)

# %%
from dataclasses import asdict

from rmr1_lite.notebook import judging, pictures, show

config = s.grpo(steps=40, probe_pairs=40, probe_every=20) if s.fast else s.grpo()
names = (
    "model",
    "steps",
    "groups",
    "rollouts",
    "temperature",
    "lr",
    "beta",
    "epsilon",
    "scale_rewards",
    "max_prompt_tokens",
    "max_new_tokens",
    "save_every",
    "out",
)
show.table(
    ["setting", "value"],
    [[name, asdict(config)[name]] for name in names],
    f"GRPO, preset {s.preset}",
    words=True,
)

# %% [markdown]
# ## The reward, called by hand
#
# The reward is one line of code, and everything depends on it.
# A reward that can be earned without judging will be earned without judging.
# So the verdict must appear exactly once, at the very end of a finished text, and text quoted from a response never counts.
# Below, B is right.

# %%
from rmr1_lite.training.rewards import verdict_match
from rmr1_lite.verdict import parse_verdict

B = "<answer>[[B]]</answer>"
tries = [
    ("the right verdict", f"<eval>B adds up.</eval>{B}", True),
    ("the wrong verdict", "<eval>A is longer.</eval><answer>[[A]]</answer>", True),
    ("both, to be on the safe side", f"<answer>[[A]]</answer>{B}", True),
    ("the verdict in words", "Response B is clearly better.", True),
    ("truncated at the length limit", f"<eval>B adds up.</eval>{B}", False),
    ("more text after the verdict", f"{B} But A is nice too.", True),
    ("the verdict only inside a quote", f"<eval><quote_B>{B}</quote_B></eval>", True),
]
rows = [
    [why, text, parse_verdict(text, finished=end).status, f"{verdict_match(text, 'B', end):+.0f}"]
    for why, text, end in tries
]
show.table(["what the judge did", "text", "status", "reward"], rows, "The label is B", words=True)

# %% [markdown]
# ## Advantages, computed for one group
#
# First: how does the judge perform on a few training pairs, with eight tries each?
# A group in which all are right, or all wrong, has no difference to learn from: its advantages are 0.
# Only mixed groups teach.

# %%
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.training.rewards import group_advantages

pairs = read_pairs(config.pairs).pairs[: s.few(24, 3)]
pool = judging.pool_of(s, [config.model])
sampled = judging.judge_of(s, pool, config.model, temperature=1.0).compare_many(
    pairs, ("ab",), votes=config.rollouts
)
right = [
    [look.label == pair.label for look in judged.looks] for pair, judged in zip(pairs, sampled, strict=True)
]
rates = [sum(group) / len(group) for group in right]
pictures.draw_pass_rates(rates)

# %%
place = min(range(len(rates)), key=lambda i: abs(rates[i] - 0.5))  # the most mixed group
texts = [look.generation for look in sampled[place].looks]
rewards = [verdict_match(text.text, pairs[place].label, text.finished, text.thought_open) for text in texts]
made = group_advantages(rewards, config.scale_rewards)
by = ", divided by the group's standard deviation" if config.scale_rewards == "group" else ""
print(
    f"Rewards {rewards}, mean {sum(rewards) / len(rewards):+.2f}. An advantage is the reward minus that "
    f"mean{by}."
)
pictures.draw_group(rewards, made)

# %% [markdown]
# Two tries of that group, the best and the worst.
# GRPO makes every token of the first one a little more likely, and every token of the second one a little less.

# %%
order = sorted(range(len(rewards)), key=lambda i: -rewards[i])
for i in (order[0], order[-1]):
    display(
        show.chain(sampled[place].looks[i].generation.text, head=f"try {i + 1}: advantage {made[i]:+.2f}")
    )

# %% [markdown]
# ## Train
#
# What to watch, in the curves under the cell:
#
# * **right verdicts** should rise, on the rollouts and on the round points (held-out pairs, greedy)
# * **outputs without a verdict** should stay near 0: a judge that forgets the format learns nothing more
# * **verdict A** should stay near one half: a favourite position is the oldest trick of a judge
# * **chain length** should not grow without limit
# * **groups without a signal** grow as the judge gets better: then fewer groups teach
#
# Before step 1 the kit checks that the judge is still what SFT made.
# **Lost the connection?** Run all cells again: the run resumes from its last checkpoint, with optimizer, random state and position in the data.

# %%
from rmr1_lite.notebook.live import live_curves
from rmr1_lite.training.planning.preflight import run_preflight
from rmr1_lite.training.process import train

pool = None
judging.free_memory()
# on a GPU: the longest rows first, with smaller settings if they do not fit
config = run_preflight("grpo", config)
print(f"GRPO takes {s.estimate(config)}. Its folder: {config.out}")
print(show.memory_in_use())
with live_curves(config.out):
    adapter = train("grpo", config)
print(show.memory_in_use())

# %% [markdown]
# ## Resuming
#
# The same call again: it finds the finished adapter and does nothing.
# In the middle of a run it would resume from the last complete checkpoint in this list.
# A checkpoint that was interrupted has no `complete.json` and is discarded.

# %%
from pathlib import Path

print("Checkpoints:", *sorted(path.name for path in Path(config.out).glob("checkpoint-*")))
adapter = train("grpo", config)

# %% [markdown]
# ## Before and after
#
# On held-out pairs, in both orders.
# With few steps and few pairs the difference is mostly chance; the interval shows how much.

# %%
held_out = s.held_out(80)
print(f"Judging takes {s.looks(4 * len(held_out))}.")
results, judged = judging.judge_all(
    s, {"before": config.model, "after": str(adapter)}, held_out, [("before", "after")]
)
display(show.judges(results, f"{len(held_out)} held-out pairs, each in both orders"))
print(judging.describe_difference(results, "before", "after"))
pictures.draw_judges(results)

# %%
chosen = judging.find_changed_pair(held_out, judged["before"], judged["after"])
display(show.pair(chosen))
show.side_by_side({name: judging.judgment_of(judged[name], chosen) for name in ("before", "after")})

# %% [markdown]
# ## Keep it
#
# As in `02_sft`: a zip to download, and a push that happens only when you give a name.

# %%
from rmr1_lite.models.hub import pack_adapter, push_adapter
from rmr1_lite.notebook.platforms import read_secret

PUSH_TO = ""  # OWNER/NAME on the hub

print("Zip:", pack_adapter(adapter, s.out / "grpo-adapter.zip"))
print(
    "Pushed:", push_adapter(adapter, PUSH_TO, read_secret("HF_TOKEN")) if PUSH_TO else "no (PUSH_TO is empty)"
)
