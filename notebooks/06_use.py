# %% [markdown]
# # 06: Use a judge in your own code
#
# <!-- badges -->
#
# Three lines of Python, then: several answers, a score, and a test that shows whether new answers are worse than old ones.
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

# %% [markdown]
# ## Three lines
#
# Any judge spec works here: an adapter, a model folder, a hub id, a server.
# (Nano knows only its toy world: for any other question its verdict means nothing.)

# %%
from rmr1_lite import load_judge

judge = load_judge(s.adapter("grpo"), style=s.style, max_new_tokens=s.max_new_tokens)
result = judge.compare("Sort d a c from first to last.", "a c d", "d a c")
print(result)

# %% [markdown]
# A winner is named only when both orders agree.
# Otherwise there is none, and the result says why.

# %%
print("winner:", result.winner, "| both orders agree:", result.agreement)
print("confidence:", result.confidence, result.confidence_from)
print("reason, if there is no winner:", result.reason or "-")
for call in result.calls:
    print(f"\norder {call.order}: {call.status}, {call.completion_tokens} tokens")
    print(call.text)

# %% [markdown]
# ## The best of several answers
#
# A knockout needs far fewer judge calls than a round robin of all pairs.

# %%
question = "Sort d a c b from first to last."
answers = ["d a c b", "a b c d", "a c b d", "b a c d"][: s.few(4, 3)]
best = judge.best_of(question, answers)
print(best)
print("text:", best.text)

# %%
print(judge.rank(question, answers))

# %% [markdown]
# ## A score for one answer
#
# A judge of pairs needs something to compare with: a reference, or a panel of other answers to the same question.

# %%
print(judge.score(question, "a b c d", reference="d a c b"))
print(judge.score(question, "a b c d", panel=["a c b d", "b a c d", "d c b a"]))

# %% [markdown]
# ## Are the new answers at least as good as the old ones?
#
# For the tests of an application: judge calls continue until the result is clear or the budget is spent.

# %%
from rmr1_lite.api.acceptance import compare_answers

sums = [(a, b) for a in (34, 57, 61, 25)[: s.few(4, 2)] for b in (83, 19, 42, 66)]
prompts = [f"What is {a}+{b}?" for a, b in sums]
old = [str(a + b + 10) for a, b in sums]
new = [str(a + b) for a, b in sums]
print(compare_answers(judge, prompts, old, new, budget=60))

# %% [markdown]
# The other way round it fails and lists what was lost.

# %%
print(compare_answers(judge, prompts, new, old, budget=60))
