"""verl's reward workers on a real local Ray cluster: rewards and metrics of recorded rollouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import ray
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopManager

folder, rollouts, out = map(Path, sys.argv[1:])
PAD, LENGTH = 0, 160
rows = [json.loads(line) for line in rollouts.read_text(encoding="utf-8").splitlines()]


def padded(ids: list[int]) -> list[int]:
    return ids + [PAD] * (LENGTH - len(ids))


def objects(values: list) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


responses = torch.tensor([padded(row["ids"]) for row in rows])
mask = torch.tensor([[1] * 4 + [1] * len(row["ids"]) + [0] * (LENGTH - len(row["ids"])) for row in rows])
batch = TensorDict(
    {
        "prompts": torch.ones((len(rows), 4), dtype=torch.long),
        "responses": responses,
        "attention_mask": mask,
    },
    batch_size=len(rows),
)
data = DataProto(
    batch=batch,
    non_tensor_batch={
        "data_source": objects(["rmr1_lite"] * len(rows)),
        "reward_model": objects([{"style": "rule", "ground_truth": row["label"]} for row in rows]),
        "extra_info": objects([{"thought_open": row["thought_open"]} for row in rows]),
    },
)
config = OmegaConf.create(json.loads((folder / "config.json").read_text(encoding="utf-8")))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
scored = RewardLoopManager(config).compute_rm_score(data)
found = {
    "rewards": scored.batch["rm_scores"].sum(dim=1).tolist(),
    # the reward stands at the last token of each answer
    "last": (scored.batch["rm_scores"] != 0).int().argmax(dim=1).tolist(),
    "metrics": {
        name: scored.non_tensor_batch[name].tolist() for name in scored.meta_info["reward_extra_keys"]
    },
}
out.write_text(json.dumps(found), encoding="utf-8")
ray.shutdown()
