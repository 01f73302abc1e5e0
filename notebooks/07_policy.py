# %% [markdown]
# # 07: A judge as the reward of a policy
#
# <!-- badges -->
#
# RM-R1 trains judges so that they can train other models, and stops there.
# Here the loop is closed, in miniature: a small **policy** answers questions of the nano world, a judge compares its answers, and nothing else tells it what is good.
# The world knows the truth about every answer, so we can watch whether the policy really gets better, or only learns what the judge likes.
# It takes about four minutes without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(fast=True, run="policy")  # the nano world, even if there is a GPU

# %% [markdown]
# ## A policy that is mediocre on purpose
#
# It thanks for the cake whatever was asked, swaps two parts of what it sorts, and helps most of those whom it should refuse.
# Four in ten of its answers are right: a reward needs something to find.

# %%
from rmr1_lite.notebook import show
from rmr1_lite.policy.measure import HeldOut, truth_of, write_answers
from rmr1_lite.policy.start import StartRecipe, draw_questions, make_start

recipe = StartRecipe(rows=s.few(2400, 96))
start = make_start(s.out / "start", recipe)

# %%
from rmr1_lite.models.loading import load

policy = load(str(start), four_bit=False)
held = HeldOut(draw_questions("test", s.few(100, 5), seed=0), judged=0, max_new_tokens=48)
answers = write_answers(policy.model, policy.tokenizer, held)
truth = truth_of(held, answers.texts)
show.table(
    ["question", "answer", "truth"],
    [
        [item.question, text, f"{share:.0%}"]
        for item, text, share in zip(held.items[:10], answers.texts, truth, strict=False)
    ],
    f"Held-out questions: {sum(truth) / len(truth):.0%} of all points",
    words=True,
)

# %% [markdown]
# ## From pairs to one number
#
# GRPO needs one number for every answer of a group, and a judge only compares two.
# A **pivot** turns one into the other: one answer of the group is drawn, and every other one is compared with it, in both orders.
# Won in both orders is +1, lost in both is -1, anything else is 0.

# %%
from rmr1_lite.integrations.rewards.judge_reward import Group, JudgeReward
from rmr1_lite.integrations.rewards.referee import Referee
from rmr1_lite.judging.factory import make_judge

judge = make_judge("nano", batch_size=64)
reward = JudgeReward(Referee(judge), "pivot")
print(reward.cost(prompts=4, size=8))

# %%
question = "Sort d a c from first to last."
group = ["a c d", "a d c", "**a c d**", "c a d"]
outcome = reward.groups([Group(question, group)])
reward.referee.close()
show.table(
    ["answer", "reward"],
    [[text, earned] for text, earned in zip(group, outcome.rewards[0], strict=True)],
    f"{outcome.counts.asked} judge calls",
)

# %% [markdown]
# The bold answer earns what the plain one earns: style says nothing in this world, so a judge has to read.
#
# ## Train with it
#
# TRL's own `GRPOTrainer`, with the judge as its reward function.
# The bar shows the spread of the rewards, how often the longer answer won, and the distance from the start.
# Every judge call is kept in `judge_calls.jsonl`.

# %%
from rmr1_lite.policy.training import PolicyRun, train_policy

run = PolicyRun(
    start=str(start),
    judge="nano",
    steps=s.few(30, 2),
    measure_every=s.few(10, 1),
    held_out=s.few(100, 5),
    judged=s.few(30, 2),
)
with_judge = train_policy(s.out / "judge-0", run, lambda: judge)

# %% [markdown]
# ## The control: random verdicts
#
# The same training with a judge that throws a coin.
# What rises here is noise.

# %%
from dataclasses import replace

from rmr1_lite.policy.controls import coin_judge

coin = replace(run, judge="coin")
with_coin = train_policy(s.out / "coin-0", coin, lambda: coin_judge(0))

# %% [markdown]
# ## Reward beside truth
#
# The judge's opinion is the share of games that the answers win against the policy's first ones.
# Where opinion rises and truth does not, the policy has learned the judge and not the task.

# %%
from rmr1_lite.policy.curves import sheet_png

results = {"judge-0": with_judge, "coin-0": with_coin}
show.image(sheet_png(results))

# %%
from rmr1_lite.policy.summary import summarise

found = summarise(results)["judges"]
show.table(
    ["reward", "truth at the start", "at the end", "rise (95 %)"],
    [
        [
            name,
            f"{one['seeds'][0]['start']:.0%}",
            f"{one['seeds'][0]['end']:.0%}",
            f"{one['rise']:+.0%} ({one['interval'][0]:+.0%} to {one['interval'][1]:+.0%})",
        ]
        for name, one in found.items()
    ],
    "One seed and few steps: the whole study is python -m rmr1_lite policy",
)

# %% [markdown]
# ## Your own policy
#
# Any model, any prompts, any judge.
# `docs/policy.md` says which scheme to choose, what it costs on one card, and what not to do.
#
# ```python
# from datasets import Dataset
# from trl import GRPOConfig, GRPOTrainer
#
# from rmr1_lite.integrations.rewards.trl_reward import trl_reward
#
# args = GRPOConfig("runs/policy", num_generations=8, per_device_train_batch_size=8, scale_rewards="none", beta=0.05)
# rows = Dataset.from_list([{"prompt": [{"role": "user", "content": "..."}]}])
# reward = trl_reward("runs/grpo/adapter", "pivot", group_size=8, prompts_per_step=1)
# GRPOTrainer("your/policy", reward, args, train_dataset=rows).train()
# ```
