"""What vLLM must be told about an exported judge, whoever starts it: a server or a cluster's workers."""

from __future__ import annotations

import os

from rmr1_lite.types import InputError

# number type of an export -> vLLM's dtype
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vllm.config.lora.MaxLoRARanks
# the files are here, and nothing is sent home
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
SILENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def process_variables(card: bool) -> dict[str, str]:
    """Environment variables of a vLLM process. card: whether it runs on a GPU."""
    found = {**OFFLINE, **SILENT}
    found["PYTHONDONTWRITEBYTECODE"] = ""  # its processes would compile a thousand modules at every start
    if not card:
        found["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2")  # GB
    return found


def smallest_rank(rank: int) -> int:
    """The smallest of vLLM's ranks that holds the adapter. Raises InputError beyond vLLM's largest."""
    for allowed in RANKS:
        if rank <= allowed:
            return allowed
    raise InputError(
        f"The adapter's rank is {rank}; vLLM serves at most {RANKS[-1]}. Export the judge merged instead."
    )
