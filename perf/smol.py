"""smol on a CPU, compared in one run: judging against stock `generate` and llama.cpp's server, GRPO and
SFT against TRL's own trainers. Each at the best of its tested settings, two threads, nothing else computing.

    make serve-env      # once, for llama.cpp's server
    python perf/smol.py --pairs PAIRS.jsonl --chains CHAINS.jsonl --out perf/results/smol-cpu.json

PAIRS: labelled pairs of real text; CHAINS: chains for them (`data convert`). Finished parts are not repeated:
the file is rewritten after each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "servers"))

from rmr1_lite.config import preset
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.storage import write_json
from rmr1_lite.training.run_folder import read_log

ROOM = 160  # tokens of a judge's text
STEP = 16  # rows of an SFT step
SLOTS = (8, 16, 32)
THREADS = {"OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}


# ---- judging


def stock(pairs: list[Any], batch: int = 8) -> dict[str, Any]:
    """transformers' `generate` in padded batches, the longest prompts first."""
    import torch

    from rmr1_lite.models.loading import load
    from rmr1_lite.models.render import render_ids
    from rmr1_lite.prompts import judge_messages, pair_as_shown

    loaded = load("smol-base")
    rows = [
        render_ids(loaded.tokenizer, judge_messages(pair_as_shown(pair, order), "compact"))
        for pair in pairs
        for order in ("ab", "ba")
    ]
    rows.sort(key=lambda row: -len(row))
    started, written = time.perf_counter(), 0
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        width = max(map(len, part))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in part])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part])
        with torch.inference_mode():
            out = loaded.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=ROOM, do_sample=False, pad_token_id=0
            )
        written += sum(row.index(2) + 1 if 2 in row else len(row) for row in out[:, width:].tolist())
    prompts = sum(map(len, rows))
    return {"seconds": time.perf_counter() - started, "written": written, "prompt_tokens": prompts}


def judged(judge: Any, pairs: list[Any]) -> dict[str, Any]:
    """A judge of the kit on the pairs, both orders."""
    started = time.perf_counter()
    looks = [look for made in judge.compare_many(pairs, progress=False) for look in made.looks]
    failed = [look.generation.error for look in looks if look.generation.error]
    if failed:
        raise SystemExit(f"{len(failed)} judge calls failed: {failed[0]}")
    written = sum(look.generation.completion_tokens for look in looks)
    prompts = sum(look.generation.prompt_tokens for look in looks)
    return {"seconds": time.perf_counter() - started, "written": written, "prompt_tokens": prompts}


def kit(pairs: list[Any], slots: int) -> dict[str, Any]:
    from rmr1_lite.judging.factory import make_judge

    judge = make_judge("smol-base", batch_size=slots, max_new_tokens=ROOM)
    judge.compare_many(pairs[:1], progress=False)
    return judged(judge, pairs)


def llama(pairs: list[Any], slots: int, gguf: Path) -> dict[str, Any]:
    from running import free_port, launched

    from rmr1_lite.integrations.programs import find_llama
    from rmr1_lite.integrations.serving.commands import Launch
    from rmr1_lite.judging.engines.endpoint import OpenAIEngine
    from rmr1_lite.judging.factory import make_judge

    launch = Launch(
        engine="llama.cpp",
        program=(find_llama("llama-server"),),
        model=gguf,
        name="judge",
        number_type="",
        context=2048,
        port=free_port(),
        slots=slots,
        extra=("--threads", "2"),
    )
    with tempfile.TemporaryDirectory() as place, launched(launch, Path(place) / "log", THREADS):
        engine = OpenAIEngine("judge", f"{launch.root}/v1", concurrency=slots, style="compact")
        spec = launch.spec
        judge = make_judge(spec, "compact", engine=engine, max_new_tokens=ROOM)
        judge.compare_many(pairs[:1], progress=False)
        return judged(judge, pairs)


def first_word(pairs: list[Any]) -> dict[str, Any]:
    """How long a single user waits for the first word, for the prompt nearest to 500 tokens; nothing
    cached."""
    from rmr1_lite.judging.factory import make_judge

    judge = make_judge("smol-base", max_new_tokens=8)
    other = pairs[-1]
    sizes = {pair.id: judge.compare(pair, ("ab",)).looks[0].generation.prompt_tokens for pair in pairs[:12]}
    pair = min(pairs[:12], key=lambda pair: abs(sizes[pair.id] - 500))
    waited = []
    for _ in range(3):
        judge.compare(other, ("ab",))
        started = time.perf_counter()
        next(judge.engine.stream(judge.request(pair, "ab"), judge.sampling))
        waited.append(time.perf_counter() - started)
    return {"prompt_tokens": sizes[pair.id], "seconds": [round(x, 3) for x in waited]}


# ---- training, each setting in a process of its own


@contextmanager
def merged_rollouts() -> Iterator[None]:
    """The best a TRL user can do without a second engine: the adapter merged while rollouts are generated."""
    import trl

    plain = trl.GRPOTrainer._generate_single_turn

    def generate(self: Any, *arguments: Any, **more: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        model.merge_adapter()
        try:
            return plain(self, *arguments, **more)
        finally:
            model.unmerge_adapter()

    trl.GRPOTrainer._generate_single_turn = generate
    yield


def train_once(asked: dict[str, Any]) -> None:
    """One training in this process."""
    more = {"out": asked["out"], "save_every": 0, "preflight": "off", "micro_batch": asked["micro"]}
    if asked["stage"] == "grpo":
        from rmr1_lite.training.grpo import train_grpo

        config = preset(
            "grpo",
            "smol",
            model="smol-base",
            pairs=asked["file"],
            steps=3,
            max_new_tokens=64,
            max_prompt_tokens=400,
            max_truncated=1.0,
            **more,
        )
        config = replace(config, shared_prefix=asked["how"] == "kit")
        if asked["how"] == "merged":
            with merged_rollouts():
                train_grpo(config)
        else:
            train_grpo(config)
        return
    import rmr1_lite.training.step_order as step_order
    from rmr1_lite.training.sft import train_sft

    if asked["how"] == "trl":
        import trl

        step_order.step_order_trainer = lambda: trl.SFTTrainer
    train_sft(
        preset("sft", "smol", chains=asked["file"], batch_size=STEP, limit=2 * STEP, max_length=700, **more)
    )


def trained(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Seconds per update: without the first for GRPO, over the whole pass for SFT."""
    out = folder / "-".join(str(asked[name]) for name in ("stage", "how", "micro"))
    command = [sys.executable, __file__, "--child", json.dumps({**asked, "out": str(out)})]
    done = subprocess.run(command, env={**os.environ, **THREADS}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{asked} failed:\n{done.stderr[-3000:]}")
    steps = [row["time/step_seconds"] for row in read_log(out / "metrics.jsonl") if "loss" in row]
    used = steps[1:] if asked["stage"] == "grpo" else steps
    return {"how": asked["how"], "micro_batch": asked["micro"], "seconds": round(fmean(used), 2)}


def best(rows: list[dict[str, Any]]) -> float:
    return min(row["seconds"] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=Path, help="labelled pairs of real text")
    parser.add_argument("--chains", type=Path, help="chains of real text")
    parser.add_argument("--gguf", type=Path, help="smol's GGUF file, for llama.cpp")
    parser.add_argument("--count", type=int, default=16, help="pairs to judge (default %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return train_once(json.loads(args.child))
    made = json.loads(args.out.read_text()) if args.out.exists() else {}
    made |= {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": processor(),
        "threads": 2,
        "versions": installed_versions(),
    }
    pairs = read_pairs(args.pairs).pairs[: args.count]
    for name, figures in parts(args, pairs):
        if name not in made:
            made[name] = figures()
            print(name, json.dumps(made[name]), flush=True)
            write_json(args.out, made)
    made["ratios"] = ratios(made)
    write_json(args.out, made)
    print(json.dumps(made["ratios"], indent=1))


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def parts(args: Any, pairs: list[Any]) -> Iterator[tuple[str, Any]]:
    """(name, function that measures it), the longest last."""
    yield "first_word", lambda: first_word(pairs)
    for slots in SLOTS:
        yield f"judging/kit/{slots}", lambda slots=slots: kit(pairs, slots)
        if args.gguf:
            yield f"judging/llama.cpp/{slots}", lambda slots=slots: llama(pairs, slots, args.gguf)
    yield "judging/generate/8", lambda: stock(pairs)
    settings = [
        ("grpo", "kit", 16),
        ("grpo", "plain", 16),
        ("grpo", "merged", 16),
        ("grpo", "plain", 4),
        ("sft", "kit", 4),
        ("sft", "trl", 4),
        ("sft", "trl", 1),
    ]
    for stage, how, micro in settings:
        asked = {"stage": stage, "how": how, "micro": micro}
        asked["file"] = str(args.pairs if stage == "grpo" else args.chains)
        yield f"{stage}/{how}/{micro}", lambda asked=asked: _in_folder(asked)


def _in_folder(asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        return trained(asked, Path(place))


def ratios(made: dict[str, Any]) -> dict[str, float]:
    """How many times as fast the kit is, best against best."""

    def fastest(start: str, *more: str) -> float:
        names = [name for name in made if name.startswith(start) and (not more or name.split("/")[1] in more)]
        return min((made[name]["seconds"] for name in names), default=float("nan"))

    found = {
        "judging: stock generate": fastest("judging/generate") / fastest("judging/kit"),
        "judging: llama.cpp": fastest("judging/llama.cpp") / fastest("judging/kit"),
        "GRPO update: TRL": fastest("grpo/", "plain", "merged") / fastest("grpo/kit"),
        "SFT: TRL": fastest("sft/trl") / fastest("sft/kit"),
    }
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    main()
