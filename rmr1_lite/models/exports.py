"""What an exported folder says about itself: `rmr1_lite_export.json`, written last, so a folder without it is
unfinished.

The merged weights of a judge are a plain model to everyone else. This file lets the kit itself treat it
as the judge it was made from: prompt style, strict reading, number of tokens, and weights that are not
quantised a second time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError

FILE = "rmr1_lite_export.json"


@dataclass(frozen=True)
class ExportInfo:
    """One exported folder.

    form: merged, base, gguf, vllm, ollama or lmstudio. source: the spec that was exported. base: its base's
    spec, fingerprint: of that base. base_weights: over which base the adapter lies, "dequantised" or
    "original". style, thinking: as in `AdapterInfo`. reading: of its verdicts, as before the export.
    number_type: fp32, bf16, fp16, or a GGUF's f16, q8_0, q6_k, q4_k_m. context: in tokens, prompt and chain
    together. max_new_tokens: of a chain. name: of the judge on a server. model: the file or folder that a
    server is given; adapter: the LoRA folder to serve over it ("" without); both below this folder. parity:
    the gate's summary by each engine, empty where it did not run.
    """

    form: str
    source: str
    base: str
    fingerprint: str
    base_weights: str
    style: str
    thinking: str
    number_type: str
    context: int
    max_new_tokens: int
    name: str
    model: str = "."
    adapter: str = ""
    reading: str = "strict"
    parity: list[dict[str, Any]] = field(default_factory=list)

    @property
    def runs_in_transformers(self) -> bool:
        """Whether the folder itself is a model that this kit and transformers load."""
        return self.model == "." and not self.adapter


def write_export(folder: Path, info: ExportInfo) -> None:
    """Write the file that completes an export."""
    write_json(folder / FILE, asdict(info))


def read_export(folder: Path) -> ExportInfo | None:
    """What a folder says, None if it is not an export. Raises InputError for a file that cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_bytes())
        known = {each.name for each in fields(ExportInfo)}
        return ExportInfo(**{name: value for name, value in row.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Export the judge again.") from None
