"""One bar with an ETA for a trainer of TRL, in the place of everything that transformers prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def progress_bar(name: str, shown: Mapping[str, str]) -> Any:
    """A callback. shown: what stands beside the bar, as label -> key of the trainer's log."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=name, unit="step")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            found = {label: logs.get(key) for label, key in shown.items()}  # None: nothing was measured
            told = {label: f"{float(value):.3g}" for label, value in found.items() if value is not None}
            self.bar.set_postfix(told, refresh=False)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Bar()
