"""How a judge's requests reach its model: `direct` asks it, `batch` writes them into files for others to
answer, `ray` spreads them over the workers of a Ray cluster. The command line imports this for its help, so
everything else is imported where it is used.

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

    direct, batch, ray = "direct", "batch", "ray"


VIA_HELP = (
    "direct: ask the judge; ray: ask an endpoint, or an exported judge in vLLM, from the workers of a Ray "
    "cluster; batch: write OpenAI batch files, and read their answers when run again"
)


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
    style = None if style == "auto" else style
    if via is Via.ray:
        return _through_ray(spec, style, thinking, thought_open)
    from rmr1_lite.judging.engines.batch_files import BatchFilesEngine

    if not spec.startswith("openai:"):
        raise InputError(_not_for_files(spec))
    parsed = parse_spec(spec, needs_url=False)
    return BatchFilesEngine(parsed.model, folder, parsed.url, style, thought_open, thinking)


def _through_ray(spec: str, style: str | None, thinking: str, thought_open: bool) -> Engine:
    """Over the endpoint that the spec names, or with the exported judge in its folder."""
    from rmr1_lite.extras import need
    from rmr1_lite.judging.engines.endpoint import OpenAIEngine
    from rmr1_lite.judging.engines.ray_data import RayEndpointEngine, RayVllmEngine
    from rmr1_lite.models.exports import read_export
    from rmr1_lite.models.judge_specs import parse_spec

    need("ray", "aiohttp")
    parsed = parse_spec(spec)
    if parsed.kind == "openai":
        client = OpenAIEngine(
            parsed.model, parsed.url, style=style, thinking=thinking, thought_open=thought_open
        )
        return RayEndpointEngine(client)
    if parsed.kind == "replay":
        raise InputError(f"{spec} is a log, which already has its answers. Leave --via out.")
    if thought_open:
        raise InputError(f"{spec} tells by its chat template whether it thinks. Leave --thought-open out.")
    if parsed.folder is None or read_export(parsed.folder) is None:
        raise InputError(
            f"{spec} is not an exported judge, which is what Ray's workers load. Export it: `export {spec} "
            "--to merged --out FOLDER`, and give --judge FOLDER. Or leave --via out."
        )
    return RayVllmEngine(parsed.folder, style, thinking)


def _not_for_files(spec: str) -> str:
    if spec.startswith("replay:"):
        return f"{spec} is a log, which already has its answers. Leave --via out."
    return (
        f"{spec} runs here, and files of requests are for models that run elsewhere. Export it (`export "
        f"{spec} --to vllm --out FOLDER`; a complete model on the hub needs no export), and give the name "
        "that it has there: --judge openai:NAME. Or leave --via out."
    )
