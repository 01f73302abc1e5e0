"""How a judge's requests reach its model: `direct` asks it, `batch` writes them into files for others to
answer. The command line imports this for its help, so everything else is imported where it is used.

    engine = engine_via(Via.batch, "openai:MODEL", "runs/evaluation/batch")
    judge = make_judge("openai:MODEL", "rubrics", engine=engine)
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from rmr1_lite.types import InputError

if TYPE_CHECKING:
    from rmr1_lite.judging.engines.base import Engine


class Via(str, Enum):
    """What `--via` takes."""

    direct, batch = "direct", "batch"


VIA_HELP = "direct: ask the judge; batch: write OpenAI batch files, and read their answers when run again"


def engine_via(
    via: Via,
    spec: str,
    folder: str | Path,
    *,
    style: str | None = None,
    thinking: str = "auto",
    thought_open: bool = False,
) -> Engine | None:
    """The engine for `make_judge`; None with `direct`, where the spec itself names one.

    folder: of the batch files. style, thinking, thought_open: see `make_engine`. Raises InputError for a
    judge that cannot be asked in this way.
    """
    from rmr1_lite.models.judge_specs import parse_spec

    if via is Via.direct:
        parse_spec(spec)  # an endpoint's address must be there: only files do without
        return None
    from rmr1_lite.judging.engines.batch_files import BatchFilesEngine

    if not spec.startswith("openai:"):
        raise InputError(_not_for_files(spec))
    parsed = parse_spec(spec, needs_url=False)
    style = None if style == "auto" else style
    return BatchFilesEngine(parsed.model, folder, parsed.url, style, thought_open, thinking)


def _not_for_files(spec: str) -> str:
    if spec.startswith("replay:"):
        return f"{spec} is a log, which already has its answers. Leave --via out."
    return (
        f"{spec} runs here, and files of requests are for models that run elsewhere. Export it (`export "
        f"{spec} --to vllm --out FOLDER`; a complete model on the hub needs no export), and give the name "
        "that it has there: --judge openai:NAME. Or leave --via out."
    )
