# %% [markdown]
# # 02: SFT, learn to write chains
#
# <!-- badges -->
#
# Stage 1 of RM-R1 (section 3.1): the model learns chains that a teacher wrote, with the loss only on the chain.
# The paper trains all parameters of a 7B on eight GPUs; here the model's own weights stay frozen in 4 bits and a LoRA adapter learns (QLoRA).
# At the end you have an adapter that writes judgments, which `03_grpo` takes further.
# It takes six to seven minutes without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose_settings

s = choose_settings(
    model="auto",  # with a GPU: qwen2.5-1.5b, qwen2.5-3b or qwen2.5-7b
    preset="auto",  # t4-16gb, l4-24gb or paper
    data="auto",  # with a GPU: the paper's published sets from the hub, or your own folder (see 01_data)
    # the Drive on Colab; the working folder on Kaggle, which is kept after the session with Persistence "Files"
    out="auto",
    fast="auto",  # True: use the embedded nano model even if there is a GPU; "smol": train smol-base in its world
)

# %% [markdown]
# ## Every setting in one place
#
# A preset is a set of settings that fit a card together.
# Change any of them with a keyword: `s.sft(epochs=2, lora_r=16)`.
# Nothing is left to a library's default.

# %%
from dataclasses import asdict

from rmr1_lite.notebook import judging, pictures, show

config = s.sft()
names = (
    "model",
    "lora_r",
    "lora_alpha",
    "lr",
    "epochs",
    "batch_size",
    "micro_batch",
    "max_length",
    "limit",
    "save_every",
    "out",
)
show.table(
    ["setting", "value"],
    [[name, asdict(config)[name]] for name in names],
    f"SFT, preset {s.preset}",
    words=True,
)

# %%
if not s.fast:
    from rmr1_lite.training.planning import plan

    print(plan.describe_plan(plan.make_plan(model=s.model, preset_name=s.preset)))
print(show.memory_in_use())

# %% [markdown]
# ## What the loss covers
#
# The prompt (grey) is given; only the chain and its end token (green) are learned.
# A wrong mask is SFT's most common silent mistake, so the kit checks it before the first step and stops if it is wrong.

# %%
from rmr1_lite.data.chains import read_chains
from rmr1_lite.models.loading import load_tokenizer
from rmr1_lite.notebook.settings import base_of
from rmr1_lite.training.sft import build_rows

chains = read_chains(config.chains).chains
tokenizer = load_tokenizer(base_of(s))
show.mask(build_rows(chains[:1], tokenizer, s.style)[0], tokenizer)

# %%
show.chain(chains[0].text, head="The same chain as readable text")

# %% [markdown]
# ## Before
#
# The base has never judged.
# This is what it writes when asked to.

# %%
pairs = s.held_out(80)
pool = judging.pool_of(s, [base_of(s)])
before = judging.judge_of(s, pool, base_of(s)).compare(pairs[0])
show.judgment(before, head="base")

# %% [markdown]
# ## Train
#
# The curve is drawn under the cell.
# **Lost the connection?** Open the notebook again and run all cells: the run resumes from its last checkpoint in the output folder.
# A finished run says so and does nothing.
# (To train from scratch, delete the run's folder or give another `out=`.)

# %%
from rmr1_lite.notebook.live import live_curves
from rmr1_lite.training.planning.preflight import run_preflight
from rmr1_lite.training.process import train

pool = None
judging.free_memory()
# on a GPU: the longest rows first, with smaller settings if they do not fit
config = run_preflight("sft", config)
print(f"SFT takes {s.estimate(config)}. Its folder: {config.out}")
print(show.memory_in_use())
with live_curves(config.out):
    adapter = train("sft", config)
print(show.memory_in_use())

# %% [markdown]
# ## After
#
# The same pair, and then all held-out pairs in both orders.
# The held-out pairs were never trained on.

# %%
pool = judging.pool_of(s, [str(adapter)])
after = judging.judge_of(s, pool, str(adapter)).compare(pairs[0])
show.judgment(after, head="after SFT")

# %%
print(f"Judging takes {s.looks(4 * len(pairs))}.")
results, judged = judging.judge_all(s, {"base": base_of(s), "sft": str(adapter)}, pairs, [("base", "sft")])
display(show.judges(results, f"{len(pairs)} held-out pairs, each in both orders"))
pictures.draw_judges(results)

# %%
print(judging.describe_difference(results, "base", "sft"))

# %% [markdown]
# ## What does it get wrong?
#
# One pair that it gets wrong, if there is one.
# Look at where the chain goes astray: that is what GRPO has to fix.

# %%
wrong = [pair for pair in pairs if not judging.judgment_of(judged["sft"], pair).right(pair)]
print(f"{len(wrong)} of {len(pairs)} pairs are not right in both orders.")
if wrong:
    display(show.pair(wrong[0]))
    display(show.judgment(judging.judgment_of(judged["sft"], wrong[0]), head="after SFT"))

# %% [markdown]
# ## Keep it
#
# The adapter is a standard PEFT folder with tokenizer and model card.
# `03_grpo` finds it automatically.
# The zip is for download; the push goes to the hub under your name, with a token from the platform's secrets (`HF_TOKEN`), and only when you give a name.

# %%
from rmr1_lite.models.hub import pack_adapter, push_adapter
from rmr1_lite.notebook.platforms import read_secret

PUSH_TO = ""  # OWNER/NAME on the hub

print("Zip:", pack_adapter(adapter, s.out / "sft-adapter.zip"))
print(
    "Pushed:", push_adapter(adapter, PUSH_TO, read_secret("HF_TOKEN")) if PUSH_TO else "no (PUSH_TO is empty)"
)
