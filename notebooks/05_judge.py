# %% [markdown]
# # 05: Judge, rank, and the app
#
# <!-- badges -->
#
# Use the judge: on a pair, on several responses, on a file, and in the app.
# It takes less than a minute without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(
    model="auto",  # the model of 02_sft and 03_grpo
    preset="auto",  # t4-16gb, l4-24gb or paper
    # as in 02_sft and 03_grpo: the adapters are read from there (Kaggle: add their saved outputs as input)
    out="auto",
    fast="auto",  # True: use the embedded nano model even if there is a GPU; "smol": what 02 and 03 made of smol
    needs="grpo",  # without one in `out`, the shipped nano adapters are used
)

# %%
from rmr1_lite.notebook import judging, show

spec = s.adapter("grpo")
judge = judging.judge_of(s, judging.pool_of(s, [spec]), spec)

# %% [markdown]
# ## One pair, both orders
#
# This is a question that the judge can answer.
# (Nano knows only its toy world: for any other question its verdict means nothing.)
# The judge sees the pair twice; if it changes its mind in the swapped order, treat it as a tie.

# %%
from rmr1_lite.app.examples import examples_for
from rmr1_lite.app.service import checked_pair

question, first, second = examples_for([spec])[0]
pair = checked_pair(question, first, second)  # or your own three texts
display(show.pair(pair))
judgment = judge.compare(pair)
show.judgment(judgment)

# %% [markdown]
# The same in code: a letter or None, never a guess.

# %%
print("better:", judgment.label, "| same verdict in both orders:", judgment.consistent)
for look in judgment.looks:
    written = look.generation
    print(
        f"order {look.order}: {look.status}, says {look.label}, {written.completion_tokens} tokens, "
        f"{written.seconds:.1f} s"
    )

# %% [markdown]
# ## How sure?
#
# Several sampled votes instead of one greedy verdict.

# %%
votes = judging.judge_of(s, judging.pool_of(s, [spec]), spec, temperature=1.0).vote(pair, s.few(8, 2)).votes
show.table(
    ["", "votes"], [["Response A", votes["A"]], ["Response B", votes["B"]], ["no verdict", votes["none"]]]
)

# %% [markdown]
# ## Rank several responses
#
# Every pair of responses is judged in both orders (a round robin); Bradley-Terry scores turn the games into an order.
# This is how a judge picks the best of N samples.

# %%
from rmr1_lite.app import html as blocks

responses = list(dict.fromkeys([first, second, examples_for([spec])[1][1]]))
ranking = judge.rank(question, responses)
games = len(responses) * (len(responses) - 1) // 2
display(
    show.table(["", "text"], [[f"Response {i}", text] for i, text in enumerate(responses, 1)], words=True)
)
show.html(blocks.ranking(ranking, games, games))

# %% [markdown]
# ## A whole file
#
# JSONL in, JSONL out: one row per judge call, with its text.
# If it is interrupted, the same call resumes.

# %%
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.judging.batch import judge_file

write_pairs(
    s.out / "to-judge.jsonl", [checked_pair(*example) for example in examples_for([spec])[: s.few(10, 3)]]
)
(s.out / "judged.jsonl").unlink(missing_ok=True)
summary = judge_file(judge, s.out / "to-judge.jsonl", s.out / "judged.jsonl", progress=False)

# %% [markdown]
# ## The app
#
# The page opens under the next cell (on Colab and Kaggle through a public link; its password is printed).
# Type a question and two responses, and watch the reasoning appear.
# *Compare* shows several judges next to each other, *Rank* orders up to eight responses, *Blind vote* lets you vote before you see the verdict.
# The last cell closes it.

# %%
from rmr1_lite.app.launch import launch
from rmr1_lite.models import smol
from rmr1_lite.notebook.settings import base_of

judges = [spec, "nano-sft", "nano-base"] if s.model == "nano" else [spec, base_of(s)]
# a real language model, if `python -m rmr1_lite models get smol` was run: fluent, but not taught to judge
judges += [smol.NAME] if smol.is_here() and smol.NAME not in judges else []
app, address, public = launch(judges, port=None, style=s.style, wait=False)

# %%
import urllib.request

print("The page answers:", urllib.request.urlopen(address).status == 200)

# %% [markdown]
# When you are done:

# %%
CLOSE = s.short  # set it to True, or simply stop the notebook
if CLOSE:
    import gradio

    gradio.close_all()
