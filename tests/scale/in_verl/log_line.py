"""One step as verl's console logger prints it."""

from __future__ import annotations

import numpy as np
from verl.utils.logger.aggregate_logger import LocalLogger

for step in range(1, 13):
    metrics = {
        "critic/rewards/mean": np.float32(0.2 + step / 100),
        "training/rollout_probs_diff_mean": 0.003,
        "training/rollout_probs_diff_valid": 1,
    }
    LocalLogger().log(metrics, step)
