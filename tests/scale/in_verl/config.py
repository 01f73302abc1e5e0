"""run.sh's settings composed with verl's own defaults and validated by verl: each file of settings in a
folder becomes the configuration next to it."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import verl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

# all of it that the check calls; the module imports vLLM, which needs a card
ranks = types.ModuleType("verl.workers.rollout.vllm_rollout.utils")
ranks.get_vllm_max_lora_rank = lambda rank: rank
sys.modules[ranks.__name__] = ranks

for path in sorted(Path(sys.argv[1]).glob("*.txt")):
    settings = path.read_text(encoding="utf-8").splitlines()
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        config = compose("ppo_trainer", overrides=settings)
    validate_config(config, need_reference_policy(config), need_critic(config))
    held = json.dumps(OmegaConf.to_container(config, resolve=False))
    path.with_suffix(".json").write_text(held, encoding="utf-8")
