"""verl's dataset and its agent loop's prompt builder on a folder: token ids of every row, as JSON lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from omegaconf import OmegaConf
from verl.utils import hf_tokenizer
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer.continuous_token import ContinuousTokenBuilder

folder, out = map(Path, sys.argv[1:])
tokenizer = hf_tokenizer(str(folder / "model"))
config = OmegaConf.create(
    {
        "cache_dir": str(out.parent / "cache"),
        "prompt_key": "prompt",
        "max_prompt_length": 100_000,
        "return_raw_chat": True,
        "filter_overlong_prompts": True,
        "filter_overlong_prompts_workers": None,
        "truncation": "error",
    }
)
builder = ContinuousTokenBuilder(tokenizer)
with out.open("w", encoding="utf-8") as file:
    for name in ("train", "validation"):
        for row in RLHFDataset(str(folder / f"{name}.parquet"), tokenizer, config):
            ids = builder.build_initial_tokens(list(row["raw_prompt"]))
            held = {**row["extra_info"], "ids": ids, "ground_truth": row["reward_model"]["ground_truth"]}
            file.write(json.dumps(held) + "\n")
print("ours" if any(name.partition(".")[0] == "rmr1_lite" for name in sys.modules) else "verl alone")
