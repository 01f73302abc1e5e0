"""What to write for verl, and everything that can be refused before a row is rendered or a weight is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rmr1_lite.config import GRPOConfig, check_config, preset
from rmr1_lite.extras import need
from rmr1_lite.integrations.export.request import GATES, MERGED, ExportRequest, check_out, check_request
from rmr1_lite.models.adapters import is_nano, is_smol
from rmr1_lite.models.model_files import read_config
from rmr1_lite.training.planning.plan import GPUS
from rmr1_lite.types import InputError

VERL = "0.9.1"  # the version that the folder is written for and was checked with
MODEL = "model"  # in the folder: the merged judge
FILE = "rmr1_lite_verl.json"  # what the folder says about itself
# TRL's names, which the kit's settings use -> verl's. bnpo averages over the tokens of a part of the batch
LOSS = {
    "dapo": "token-mean",
    "bnpo": "token-mean",
    "grpo": "seq-mean-token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
}
DIVIDED = {"none": "False", "group": "True"}  # scale_rewards -> norm_adv_by_std_in_grpo


@dataclass(frozen=True)
class VerlRequest:
    """model: an SFT adapter, or a model for a cold start. preset: of GRPO; "auto" takes `nano` or `smol` for
    these and `paper` for others. validation: a JSONL of pairs; None holds a share of the conversations out.
    max_prompt_tokens, max_new_tokens: None takes the preset's. gpu: for the estimates, and for the size of a
    micro-batch. number_type, gate: of the exported model, as in `ExportRequest`."""

    model: str
    pairs: Path
    out: Path
    validation: Path | None = None
    validation_share: float = 0.02
    preset: str = "auto"
    style: str | None = None
    seed: int = 0
    max_prompt_tokens: int | None = None
    max_new_tokens: int | None = None
    number_type: str = ""
    gate: str = "cheap"
    gpu: str = "h100"

    @property
    def export(self) -> ExportRequest:
        """How the model is written: merged, in the folder that becomes `out`."""
        return ExportRequest(
            spec=self.model,
            form=MERGED,
            out=unfinished(self.out) / MODEL,
            number_type=self.number_type,
            gate=self.gate,
            style=self.style,
            max_new_tokens=self.max_new_tokens,
        )


def unfinished(out: Path) -> Path:
    """The folder that is written, next to `out`."""
    return out.with_name(f"{out.name}.unfinished")


def check_verl_request(request: VerlRequest) -> GRPOConfig:
    """The settings of the run. Raises InputError with the remedy for whatever cannot work."""
    need("pyarrow")
    if not 0 < request.validation_share < 1:
        raise InputError(
            f"validation share is {request.validation_share}. Give a number between 0 and 1: verl needs "
            "validation rows."
        )
    if request.gpu not in GPUS:
        raise InputError(f"gpu is {request.gpu!r:.40}. Choose one of {', '.join(GPUS)}.")
    if request.gate not in GATES:
        raise InputError(f"gate is {request.gate!r:.40}. Choose from {', '.join(GATES)}.")
    check_out(request.out)
    for path in (request.pairs, request.validation):
        if path is not None and not path.is_file():
            raise InputError(f"{path} does not exist. Give a JSONL file of labelled pairs.")
    source = check_request(request.export)
    config = replace(_settings(request), seed=request.seed)
    check_config(config)
    _check_names(config)
    return _within_context(config, source.base)


def _settings(request: VerlRequest) -> GRPOConfig:
    given = {
        name: value
        for name in ("max_prompt_tokens", "max_new_tokens")
        if (value := getattr(request, name)) is not None
    }
    return preset("grpo", preset_name(request), **given)


def preset_name(request: VerlRequest) -> str:
    """The preset of GRPO that the settings come from."""
    if request.preset != "auto":
        return request.preset
    return "nano" if is_nano(request.model) else "smol" if is_smol(request.model) else "paper"


def _check_names(config: GRPOConfig) -> None:
    """Settings that verl has no word for."""
    if config.scale_rewards not in DIVIDED:
        raise InputError(
            f"scale_rewards is {config.scale_rewards}, which verl does not have. Choose a preset with group "
            "or none."
        )
    if config.lr_schedule != "constant":
        raise InputError(
            f"lr_schedule is {config.lr_schedule}, which verl does not have. Choose a preset with constant."
        )


def _within_context(config: GRPOConfig, base: str) -> GRPOConfig:
    """Prompt and answer together have to fit into the model's context; a shorter prompt limit is said."""
    context = getattr(read_config(base), "max_position_embeddings", None)
    left = (context or 2**31) - config.max_new_tokens
    if left < 1:
        raise InputError(
            f"{base} takes {context} tokens, and an answer may have {config.max_new_tokens} alone. Give a "
            "smaller --max-new-tokens."
        )
    if config.max_prompt_tokens > left:
        print(
            f"{base} takes {context} tokens: prompts may have {left} ({config.max_new_tokens} are reserved "
            f"for the answer), not {config.max_prompt_tokens}."
        )
        return replace(config, max_prompt_tokens=left)
    return config
