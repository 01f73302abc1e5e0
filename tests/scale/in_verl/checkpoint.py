"""A checkpoint in one shard, as verl's FSDP engine leaves it, of a fresh LoRA over a model whose B is not
zero."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

model, actor = Path(sys.argv[1]), Path(sys.argv[2])
torch.manual_seed(0)
base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
config = LoraConfig(
    task_type=TaskType.CAUSAL_LM, r=8, lora_alpha=16, target_modules="all-linear", bias="none"
)
policy = get_peft_model(base, config)
with torch.no_grad():
    for name, value in policy.named_parameters():
        if "lora_B" in name:
            value.normal_(std=1e-3)
actor.mkdir(parents=True)
torch.save(policy.state_dict(), actor / "model_world_size_1_rank_0.pt")
(actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 1, "world_size": 1}))
meta = {"r": 8, "lora_alpha": 16, "task_type": "CAUSAL_LM"}
(actor / "lora_train_meta.json").write_text(json.dumps(meta))
for part in (base.config, AutoTokenizer.from_pretrained(model), GenerationConfig.from_pretrained(model)):
    part.save_pretrained(actor / "huggingface")
ids = torch.arange(3, 40).unsqueeze(0)
with torch.no_grad():
    torch.save({"ids": ids, "logits": policy.eval()(ids).logits}, actor / "logits.pt")
