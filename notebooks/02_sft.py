# %% [markdown]
# # 02: SFT, learn to write chains
#
# <!-- badges -->
#
# Stage 1 of RM-R1 (section 3.1): the model learns chains that a teacher wrote, with the loss on the chain alone. The
# paper trains all parameters of a 7B on eight GPUs; here the model's own weights stay frozen in 4 bits and a LoRA
# adapter learns (QLoRA). At the end you have an adapter that writes judgments, which `03_grpo` takes further. Six to
# seven minutes without a GPU.

# %%
# setup_cell.py stands here

# %%
from rmr1_lite.notebook.settings import choose

s = choose(
    model="auto",  # with a GPU: qwen2.5-1.5b, qwen2.5-3b or qwen2.5-7b
    preset="auto",  # t4-16gb, l4-24gb or paper
    data="auto",  # with a GPU: the paper's published sets from the hub, or a folder of your own (see 01_data)
    out="auto",  # the Drive on Colab; the working folder on Kaggle, which outlives the session with Persistence "Files"
    fast="auto",  # True takes the embedded nano model also where there is a GPU
)

# %% [markdown]
# ## Every setting in one place
#
# A preset holds what goes together on a card. Change any of them as a keyword: `s.sft(epochs=2, lora_r=16)`. Nothing is
# left to a library's default.

# %%
from dataclasses import asdict

from rmr1_lite.notebook import figures, judging, show

config = s.sft()
names = ("model", "lora_r", "lora_alpha", "lr", "epochs", "batch_size", "micro_batch", "max_length", "limit", "save_every", "out")
show.table(["setting", "value"], [[name, asdict(config)[name]] for name in names], f"SFT, preset {s.preset}", words=True)

# %%
if not s.fast:
    from rmr1_lite import plan

    print(plan.text(plan.plan(model=s.model, preset_name=s.preset)))
print(show.memory())

# %% [markdown]
# ## What the loss stands on
#
# The prompt (grey) is given; only the chain and its end token (green) are learned. This mask is the commonest silent
# mistake of SFT, so the kit checks it before the first step and stops when it is wrong.

# %%
from rmr1_lite.data.chains import read_chains
from rmr1_lite.models import load_tokenizer
from rmr1_lite.notebook.settings import base_of
from rmr1_lite.sft import rows_of

chains = read_chains(config.chains).chains
tokenizer = load_tokenizer(base_of(s))
show.mask(rows_of(chains[:1], tokenizer, s.style)[0], tokenizer)

# %%
show.chain(chains[0].text, head="The same chain, as a person reads it")

# %% [markdown]
# ## Before
#
# The base has never judged. This is what it writes when it is asked to.

# %%
pairs = s.held_out(80)
bank = judging.bank_of(s, [base_of(s)])
before = judging.judge_of(s, bank, base_of(s)).compare(pairs[0])
show.judgment(before, head="base")

# %% [markdown]
# ## Train
#
# The curve is drawn under the cell. **Lost the connection?** Open the notebook again and run all cells: the run goes on
# from its last checkpoint in the output folder. A finished run says so and does nothing. (To train anew, delete the
# run's folder or give another `out=`.)

# %%
from rmr1_lite.notebook.live import live_curves
from rmr1_lite.preflight import settled
from rmr1_lite.training_process import train

bank = None
judging.free()
config = settled("sft", config)  # on a GPU: the longest items first, and smaller settings when they do not fit
print(f"SFT takes {s.estimate(config)}. Its folder: {config.out}")
print(show.memory())
with live_curves(config.out):
    adapter = train("sft", config)
print(show.memory())

# %% [markdown]
# ## After
#
# The same pair, and then all held-out pairs in both orders. The held-out pairs were never trained on.

# %%
bank = judging.bank_of(s, [str(adapter)])
after = judging.judge_of(s, bank, str(adapter)).compare(pairs[0])
show.judgment(after, head="after SFT")

# %%
print(f"Judging takes {s.looks(4 * len(pairs))}.")
results, judged = judging.figures(s, {"base": base_of(s), "sft": str(adapter)}, pairs, [("base", "sft")])
display(show.stages(results, f"{len(pairs)} held-out pairs, each in both orders"))
figures.stages(results)

# %%
print(judging.difference(results, "base", "sft"))

# %% [markdown]
# ## What is it wrong about?
#
# One pair that it gets wrong, if there is any. Look at where the chain goes astray: that is what GRPO has to mend.

# %%
wrong = [pair for pair in pairs if not all(look.label == pair.label for look in judging.of(judged["sft"], pair).looks)]
print(f"{len(wrong)} of {len(pairs)} pairs are not right in both orders.")
if wrong:
    display(show.pair(wrong[0]))
    display(show.judgment(judging.of(judged["sft"], wrong[0]), head="after SFT"))

# %% [markdown]
# ## Keep it
#
# The adapter is a standard PEFT folder with tokenizer and model card. `03_grpo` finds it by itself. The zip is for
# download; the push goes to the hub under your name, with a token from the platform's secrets (`HF_TOKEN`), and only
# when you give a name.

# %%
from rmr1_lite.notebook.places import secret
from rmr1_lite.sharing import pack, push

PUSH_TO = ""  # OWNER/NAME on the hub

print("Zip:", pack(adapter, s.out / "sft-adapter.zip"))
print("Pushed:", push(adapter, PUSH_TO, secret("HF_TOKEN")) if PUSH_TO else "no (PUSH_TO is empty)")
