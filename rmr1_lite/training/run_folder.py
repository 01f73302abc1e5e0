"""A run folder: the settings, the log, and where to resume after a kill. No torch.

    config.json      settings, data fingerprints, versions
    metrics.jsonl    one row per step
    checkpoint-N/    trainer state; counts only with `complete.json` in it, which is written last
    adapter/         the result; a folder that has it is finished

The same command on the same folder resumes. Other settings are refused, since a mixture of both would be
neither.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rmr1_lite.config import GRPOConfig, SFTConfig, as_json
from rmr1_lite.models.adapters import fingerprint_folder, is_adapter, read_adapter
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.models.judge_specs import find_folder
from rmr1_lite.storage import atomic_write_text, json_line, write_json
from rmr1_lite.types import InputError

MARK = "complete.json"
# may differ between the first start and a resume: they do not change what is trained
FREE = ("report_to", "out", "save_minutes", "preflight")


@dataclass(frozen=True)
class Run:
    """One training in `folder`. checkpoint: where to resume, None at the start. finished: adapter/ is there.
    added: settings that did not exist when it started."""

    folder: Path
    checkpoint: Path | None
    finished: bool
    added: tuple[str, ...] = ()

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def step(self) -> int:
        """The step that a resume starts from."""
        return _checkpoint_step(self.checkpoint) if self.checkpoint else 0


def open_run(config: SFTConfig | GRPOConfig, stage: str, data: str) -> Run:
    """Open or create the run folder. Raises InputError when it belongs to other settings or other data, and
    for an incomplete adapter to start from. A folder in which nothing was computed yet belongs to
    no run: one that an error stopped before its first step can be fixed and started again."""
    folder = Path(config.out)
    wanted = {
        "stage": stage,
        "settings": as_json(config),
        "data": {"path": data, "sha256": file_hash(data)},
        "model": _start_fingerprint(config.model),
    }
    path = folder / "config.json"
    added: tuple[str, ...] = ()
    if path.exists() and _has_results(folder):
        then = json.loads(path.read_text())
        added = tuple(f.name for f in fields(config) if f.name not in then["settings"])
        # a setting that did not exist when the run started had its default
        then["settings"] = {**{f.name: f.default for f in fields(config)}, **then["settings"]}
        _check_same_settings(then, wanted, folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {**wanted, "versions": installed_versions()})
    checkpoint = _latest_checkpoint(folder)
    run = Run(folder, checkpoint, (folder / "adapter" / "adapter_model.safetensors").exists(), added)
    if not run.finished:
        _trim_log(folder / "metrics.jsonl", run.step)
    return run


def steps_of(config: SFTConfig | GRPOConfig, rows: int | None = None) -> int:
    """Optimizer steps of a training, from its settings and the rows of its data (of which too long ones are
    left out later).

    rows: of the SFT data; without it they are counted.
    """
    if isinstance(config, GRPOConfig):
        return config.steps
    rows = count_rows(config.chains) if rows is None else rows
    return math.ceil(min(rows, config.limit or rows) / config.batch_size * config.epochs)


def count_rows(path: str | Path) -> int:
    """Number of rows of a JSONL file, without parsing them."""
    with open(path, "rb") as file:
        return sum(bool(line.strip()) for line in file)


def mark_complete(checkpoint: Path, policy: list[float] | None = None) -> None:
    """Mark a checkpoint as completely written. Called after the last of its files was written.

    policy: the policy's log-probabilities of a fixed text, to be checked after a resume.
    """
    write_json(checkpoint / MARK, {"step": _checkpoint_step(checkpoint), "policy": policy})


def marked_policy(checkpoint: Path) -> list[float] | None:
    """The `policy` given to `mark_complete`."""
    return json.loads((checkpoint / MARK).read_text()).get("policy")


def write_left_out(run: Run, read: Any, limit: int, ids: Sequence[str]) -> None:
    """Write left_out.json: every row over `limit` tokens and every row of the data file that could not be
    used (the console shows only the first few). read: the result of the data's reader."""
    if ids or read.problems:
        problems = [asdict(problem) for problem in read.problems]
        write_json(
            run.folder / "left_out.json", {"limit": limit, "too_long": list(ids), "problems": problems}
        )


def append_row(folder: Path, row: dict[str, Any]) -> None:
    """One row of metrics.jsonl; a killed write leaves at most half a line, which `open_run` removes."""
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json_line(row))


def file_hash(path: str | Path) -> str:
    """Sixteen hex digits of a data file's content."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}. Give a JSONL file; `data nano` makes the nano world's."
        ) from None


def _start_fingerprint(model: str) -> str:
    """Fingerprint of the weights that the training starts from, "" for a hub id: another adapter at the same
    path is another start."""
    folder = find_folder(model)
    if folder and is_adapter(folder):
        read_adapter(folder)  # torch is not loaded yet
    return fingerprint_folder(folder) if folder else ""


def _has_results(folder: Path) -> bool:
    """Whether a training has computed anything yet: a screening, a logged step, a checkpoint,
    the adapter."""
    log = folder / "metrics.jsonl"
    found = [
        *folder.glob(f"checkpoint-*/{MARK}"),
        *folder.glob("adapter/*.safetensors"),
        *folder.glob("screen.jsonl"),
    ]
    return bool(found) or (log.exists() and log.stat().st_size > 0)


def _latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; those killed during saving are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).exists():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=_checkpoint_step, default=None)


def _checkpoint_step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _trim_log(path: Path, step: int) -> None:
    """Leave out rows after `step`, which will be written again, and a half-written last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if line.endswith("\n") and row["step"] <= step and (step > 0):
            kept.append(line)
    atomic_write_text(path, "".join(kept))


def _check_same_settings(then: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    before, after = {**then["settings"], "data": then["data"]}, {**now["settings"], "data": now["data"]}
    changed = [
        f"{k}: {before.get(k)!r} then, {after[k]!r} now"
        for k in after
        if k not in FREE and before.get(k) != after[k]
    ]
    if then.get("model", now["model"]) != now["model"]:
        changed.append(f"the weights in {now['settings']['model']} have changed since")
    if changed or then["stage"] != now["stage"]:
        remedy = (
            f"Use the same settings to resume; give another --out, or delete {folder}, to train from scratch."
        )
        raise InputError(
            f"{folder} contains a {then['stage']} run with other settings: {'; '.join(changed)}. {remedy}"
        )


# Former metric names (logs until 2026-11) -> current names: the only place that knows the
# former ones.
FORMER_METRICS = {
    "seconds": "time/seconds",
    "step_seconds": "time/step_seconds",
    "tokens_per_second": "time/tokens_per_second",
    "verdict/accuracy": "rollout/accuracy",
    "a_share": "rollout/a_share",
    "flip_rate": "rollout/flip_rate",
    "reward/mean": "rollout/reward_mean",
    "reward/std": "rollout/reward_std",
    "zero_variance": "rollout/zero_variance",
    "completion/mean_tokens": "rollout/mean_tokens",
}
FORMER_FAMILIES = {"probe/": "eval/", "status/": "rollout/"}


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl by step, merged, under the current metric names.

    A last line truncated by a kill is left out; any other bad line is an InputError.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    steps: dict[float, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        row = _parse_log_line(line, f"{path}, row {number}", last=number == len(lines))
        if row is not None:
            steps.setdefault(row["step"], {}).update(
                {metric_name(name): value for name, value in row.items()}
            )
    return [steps[step] for step in sorted(steps)]


def metric_name(name: str) -> str:
    """The current name of a metric."""
    for former, family in FORMER_FAMILIES.items():
        if name.startswith(former):
            return family + name.removeprefix(former)
    return FORMER_METRICS.get(name, name)


def _parse_log_line(line: str, where: str, last: bool) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        if last:  # no line end: the process was killed while it wrote
            return None
        raise InputError(f"{where} is not JSON ({error.msg}). Remove the line.") from None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
        raise InputError(f"{where} has no number in field 'step'. Remove the line.")
    return row
