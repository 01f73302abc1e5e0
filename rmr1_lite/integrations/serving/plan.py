"""How a judge is going to be served: the request of a user, and the settled launch."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.integrations.programs import find_llama, find_transformers, find_vllm
from rmr1_lite.integrations.serving.commands import ENGINES, Launch
from rmr1_lite.integrations.serving.target import (
    Target,
    check_engine,
    check_files,
    choose_engine,
    has_card,
    settle_context,
)
from rmr1_lite.types import InputError


@dataclass(frozen=True)
class ServeRequest:
    """judge: an exported folder, a GGUF file, or a spec that is exported first, into export_to. engine: auto
    or one of ENGINES. name, style, reading, context: "auto", "" and None take the judge's own. wait: seconds
    for its first answer. check: stop after the first pair. extra: arguments for the server."""

    judge: str
    engine: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    name: str = ""
    style: str = "auto"
    reading: str = "auto"
    context: int | None = None
    slots: int = 4
    export_to: Path | None = None
    wait: float = 1800.0
    check: bool = False
    dry_run: bool = False
    extra: tuple[str, ...] = ()


def plan_launch(request: ServeRequest, target: Target, card: bool) -> Launch:
    """Settle the engine and everything else. Raises InputError before anything is started."""
    if request.engine not in ("auto", *ENGINES):
        raise InputError(f"engine is {request.engine!r:.40}. Choose from auto, {', '.join(ENGINES)}.")
    engine, why = choose_engine(request.engine, target.form, card, has_vllm())
    check_engine(engine, target)
    check_files(target)
    context = settle_context(request.context, target)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", target.name):
        raise InputError(f"{target.name!r:.60} is no name for a server. Give --name of letters and digits.")
    if engine == "transformers" and "@" in str(target.model):
        raise InputError(
            f"{target.model}: `transformers serve` takes what follows @ for a revision. Give a path "
            "without @, or a link to the folder."
        )
    print(f"Engine: {engine} ({why})")
    return Launch(
        engine=engine,
        program=find_program(engine),
        model=target.model,
        adapter=target.adapter,
        rank=target.rank,
        name=target.name,
        number_type=target.number_type,
        context=context,
        host=request.host,
        port=request.port,
        card=card,
        slots=request.slots,
        extra=request.extra,
    )


def find_program(engine: str) -> tuple[str, ...]:
    """The start of the command. Raises InputError with how to get it."""
    if engine == "vllm":
        # the CPU build's package is not called vllm, so its command `vllm` fails; the module does the same
        return find_vllm(), "-m", "vllm.entrypoints.openai.api_server"
    return (find_llama("llama-server") if engine == "llama.cpp" else find_transformers(),)


def has_vllm() -> bool:
    with suppress(InputError):
        return bool(find_vllm())
    return False


def engine_of(form: str) -> str:
    """The engine that serves an exported form here. Raises InputError where it is not installed."""
    engine = choose_engine("auto", form, has_card(), has_vllm())[0]
    find_program(engine)
    return engine
