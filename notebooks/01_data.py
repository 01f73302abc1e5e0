# %% [markdown]
# # 01: Data, from pairs to chains
#
# <!-- badges -->
#
# A judge is trained on two kinds of rows.
# A **pair** is a question, two responses, and a label that says which is better.
# A **chain** is a text about one pair that reasons its way to the right verdict.
# This notebook shows both, checks your own data for what gives the label away, reads the paper's published sets, and has a teacher write chains.
# It takes less than a minute without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(
    model="auto",  # with a GPU: qwen2.5-1.5b, qwen2.5-3b, qwen2.5-7b, r1-distill-1.5b or r1-distill-7b
    preset="auto",  # t4-16gb, l4-24gb or paper
    data="auto",  # with a GPU: the paper's published sets from the hub, or your own folder
    out="auto",  # the Drive on Colab, the working folder on Kaggle
    fast="auto",  # True: use the embedded nano model even if there is a GPU
)

# %% [markdown]
# ## Pairs
#
# The next cell makes or loads the training files.
# It then shows their row counts and one pair.

# %%
from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.notebook import show

files = s.files()
pairs, chains = read_pairs(files / "train.jsonl").pairs, []
if not s.cold_start:  # the reasoning family needs no chains
    chains = read_chains(files / "chains.jsonl").chains
labels = {letter: sum(pair.label == letter for pair in pairs) for letter in "AB"}
rows = [["train.jsonl (labels, for GRPO)", len(pairs), labels["A"], labels["B"]]]
labels = {letter: sum(chain.pair.label == letter for chain in chains) for letter in "AB"}
rows += [["chains.jsonl (for SFT)", len(chains), labels["A"], labels["B"]]]
show.table(["file", "rows", "A is better", "B is better"], rows, f"in {files}")

# %%
show.pair(pairs[0])

# %% [markdown]
# ## Your own pairs
#
# JSONL, JSON, CSV, Parquet or a hub id; `prompt` with `chosen` and `rejected`, or two responses with a label, under any of the usual field names.
# Below are six realistic rows, two of them broken.
# Nothing is guessed, and a bad row does not stop the rest: bad rows are reported by file, row, field and remedy, good rows are kept.

# %%
import json

mine = s.out / "mine.jsonl"
rows = [
    {"id": "1", "prompt": "Name a prime above 10.", "chosen": "11 is prime.", "rejected": "12 is prime."},
    {"id": "2", "prompt": "What is 2 + 2?", "response_a": "5", "response_b": "4", "label": "B"},
    {"id": "3", "question": "Capital of France?", "output_1": "Lyon", "output_2": "Paris", "label": 2},
    {
        "id": "4",
        "prompt": "Say hello in Spanish.",
        "response_a": "Hola",
        "response_b": "Bonjour",
        "label": "C",
    },
    {"id": "5", "prompt": "Say no.", "chosen": "No."},
    {"id": "6", "prompt": "Name a prime above 10.", "chosen": "11 is prime.", "rejected": "12 is prime."},
]
_ = mine.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

# %%
from rmr1_lite.config import PrepareConfig
from rmr1_lite.data.prepare import prepare

done = prepare([mine], PrepareConfig(out=str(s.out / "prepared"), validation=0.0), progress=False)
print(done.text())

# %% [markdown]
# `prepare` also removes near-duplicates, questions of a benchmark (`--against` on the command line), and prompts that are too long for your model, and lists everything that it leaves out in `dropped.jsonl`.
#
# ## How long are they?
#
# A prompt that does not fit is left out, never truncated: a truncated prompt is a different question.

# %%
from rmr1_lite.models.token_lengths import chain_lengths, prompt_lengths
from rmr1_lite.notebook import pictures
from rmr1_lite.notebook.settings import base_of

some = s.few(500, 50)
counts = {"judge prompts": prompt_lengths(base_of(s), s.style)(pairs[:some])}
if chains:
    counts["prompts with their chains"] = chain_lengths(base_of(s), s.style)(chains[:some])
pictures.draw_lengths(counts, f"Tokens of {some} rows", s.longest_prompt)

# %% [markdown]
# ## What gives the label away?
#
# A judge learns the cheapest signal that is rewarded.
# If the better response ends with a blank line in nine rows of ten, it learns blank lines.
# The audit counts surface signals (words, layout, lengths, turns) and tests each against the label.
# For the files above:

# %%
from rmr1_lite.data.audit import audit

found = audit([files / "train.jsonl"], progress=False)
print(found.text())

# %% [markdown]
# Now the same pairs with a planted leak: 95 % of the better responses get a friendly last line.
# The danger is real.
# In the data released with the paper the misspelling "Chabot B" appears in multi-turn rows exactly when A is better; the audit finds that too.

# %%
import random
from dataclasses import replace

from rmr1_lite.data.pairs import write_pairs

rng, told = random.Random(0), []
for pair in pairs[: s.few(1500, 120)]:
    side = "response_a" if (pair.label == "A") == (rng.random() < 0.95) else "response_b"
    told.append(replace(pair, **{side: getattr(pair, side) + "\n\nI hope this helps!"}))
write_pairs(s.out / "leaky.jsonl", told)
leaky = audit([s.out / "leaky.jsonl"], progress=False)
pictures.draw_leaks(leaky.signals)

# %% [markdown]
# ## Chains
#
# A teacher writes one chain per pair.
# If its verdict is wrong the chain is discarded, and a second pass gets the right verdict and the failed chain.
# Such a chain may reveal that it was given the verdict ("the correct verdict is B"), so those are found and left out as well.

# %%
from rmr1_lite.notebook.settings import found_data

if chains:
    display(show.chain(chains[0].text, head="A chain"))
counts = found_data(s).get("teacher") or {}
show.table(
    ["the teacher's passes", "pairs"], [[name.replace("_", " "), count] for name, count in counts.items()]
)

# %% [markdown]
# ### Have a teacher write chains for your pairs
#
# Any server that speaks the OpenAI protocol will do: your own vLLM, or a paid one.
# You set prices and a budget first, every reply is stored as it arrives, and running the cell again resumes where it stopped.
# The key is read from the environment and never stored.
# With an empty `TEACHER` this cell does nothing.

# %%
TEACHER, BASE_URL = "", "http://127.0.0.1:8000/v1"

if TEACHER:
    from rmr1_lite.config import DistillConfig
    from rmr1_lite.training.distill.distill import distill

    mine, out = str(s.out / "prepared" / "train.jsonl"), str(s.out / "distilled")
    made = distill(DistillConfig(pairs=mine, teacher=TEACHER, base_url=BASE_URL, out=out, limit=100))
else:
    print("Skipped: TEACHER is empty.")

# %% [markdown]
# ### The paper's published sets
#
# `data="published"` in the settings (the default with a GPU) loads them from the hub: 8.7 K chains and 64 K labelled pairs.
# Their rows contain rendered prompts; the kit splits them into question and responses, so that pairs can be swapped and shown in any prompt style (and the misspelt "Chabot" is gone).
# Without the hub, give a folder with a copy.

# %%
from rmr1_lite.data.released_sets import SETS

rows = [[name, one.hub_id, one.holds, one.rows] for name, one in SETS.items()]
show.table(["set", "on the hub", "holds", "rows (as published)"], rows, words=True)

# %% [markdown]
# ## To train on your own data
#
# Put `chains.jsonl`, `train.jsonl` and, if you have them, labelled pairs for the curves as `validation.jsonl` into one folder and give that folder as `data=` in the settings of `02_sft` and `03_grpo`.
