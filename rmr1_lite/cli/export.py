"""The command `export`: a judge as files for transformers, vLLM, llama.cpp, Ollama and LM Studio, with a
parity gate."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from rmr1_lite.cli.judge_options import BaseName
from rmr1_lite.config import StyleName
from rmr1_lite.types import InputError


class Form(str, Enum):
    """What to write."""

    merged, base, gguf, vllm, ollama, lmstudio = "merged", "base", "gguf", "vllm", "ollama", "lmstudio"


class Gate(str, Enum):
    """How the verdicts are compared."""

    cheap, full, off = "cheap", "full", "off"


TO = (
    "merged: one plain model; base: the base alone, for any adapter of it; gguf: for llama.cpp; vllm: base "
    "and LoRA; ollama: GGUF and Modelfile; lmstudio: GGUF in its folders"
)
TYPE = (
    "fp32, bf16, fp16 (default: as the base is stored); of a GGUF: f32, f16, bf16, q8_0, q6_k, q4_k_m "
    "(default: q8_0)"
)
BASE = (
    "put the adapter over the dequantised 4-bit base or the original one; auto: the one it was trained over"
)
GATE = (
    "parity gate: cheap reads the files back with transformers; full asks vLLM or llama.cpp; off: not checked"
)


def export(
    judge: Annotated[str, typer.Argument(help="an adapter's folder, nano, or a model", metavar="ADAPTER")],
    to: Annotated[Form, typer.Option("--to", help=TO)],
    out: Annotated[Path, typer.Option(help="folder to write; it must not exist yet")],
    number_type: Annotated[str, typer.Option("--type", help=TYPE)] = "",
    base: Annotated[BaseName, typer.Option(help=BASE)] = BaseName.auto,
    gate: Annotated[Gate, typer.Option(help=GATE)] = Gate.cheap,
    pairs: Annotated[
        Optional[Path],
        typer.Option(help="JSONL of pairs for the gate; default: the nano world's, or English ones"),
    ] = None,
    limit: Annotated[int, typer.Option(help="pairs that the gate judges, in both orders")] = 50,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="keep the export even if too many verdicts change")
    ] = False,
    style: Annotated[StyleName, typer.Option(help="prompt style of a judge that does not say")] = "auto",
    max_new_tokens: Annotated[
        Optional[int], typer.Option(help="longest chain; default: the judge's own")
    ] = None,
    name: Annotated[str, typer.Option(help="name of the judge on a server; default: from ADAPTER")] = "",
) -> None:
    """Write a judge as files that other programs load, and check that its verdicts stay. Exit status 1: too
    many change."""
    from rmr1_lite.integrations.export.card import usage
    from rmr1_lite.integrations.export.export import export_judge
    from rmr1_lite.integrations.export.request import ExportRequest

    done = export_judge(
        ExportRequest(
            spec=judge,
            form=to.value,
            out=out,
            number_type=number_type,
            base=base.value,
            gate=gate.value,
            pairs=str(pairs) if pairs else None,
            limit=limit,
            allow=allow_changes,
            style=None if style == "auto" else style,
            max_new_tokens=max_new_tokens,
            name=name,
        )
    )
    print("\n".join(done.lines()))
    if not done.kept:
        raise InputError(
            f"too many verdicts change, so the export is in {done.folder}, not in {out}. Look at parity.json "
            "there; --allow-changes keeps such an export."
        )
    print("\n".join(["Next:", *usage(done.info, str(done.folder))]))
