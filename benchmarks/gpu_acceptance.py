"""What the kit does on a GPU, measured: the nano chain, speed and memory at 7B's shape, GRPO's step, a small card, the planner.

    python benchmarks/gpu_acceptance.py --part a --out benchmarks/results/gpu-acceptance.json      # then b, c, d, e

    a  the nano chain through each backend: SFT and GRPO learn, the KL starts at 0
    b  a random-weight model of Qwen2.5-7B's shape in NF4: SFT tokens/s and peak memory at 1 k, 4 k and 12 k tokens, and the
       share of the measured matrix-product ceiling that this is
    c  GRPO on synthetic completions at a T4's and at the paper's lengths, with and without shared prompts; writing, timed over
       256 tokens at three cache lengths (anything longer is extrapolated)
    d  b and c in fp16 under an allocator cap of 14.5 GiB ("capped at 14.5 GiB": it is no T4)
    e  the planner's bytes beside what b, c and d measured

No network. Each backend runs in a process of its own, since Unsloth patches the whole process, and each result is written to the
JSON at once. `--small` does the same in miniature on a CPU, which keeps this file alive between GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from rmr1_lite.config import GRPOConfig, SFTConfig  # noqa: E402
from rmr1_lite.data.store import write_json  # noqa: E402
from rmr1_lite.memory import SHAPES, Shape, grpo_need, parameters, sft_need  # noqa: E402

CAP_GIB = 14.5
SEVEN_B = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
TINY = Shape(64, 2, 4, 2, 128, 1600, tied=False, head_dim=16)
RANK = 32
SFT_LENGTHS = {False: (1024, 4096, 12288), True: (64, 128)}  # by --small
# (prompt, completion, rollouts)
GRPO_SIZES = {False: ((1536, 512, 8), (4096, 8192, 7)), True: ((48, 16, 4),)}
CACHE_LENGTHS = {False: (1024, 4096, 12288), True: (32,)}


# ---- the parent: workers, one after the other, and the JSON ---------------------------------------------------------


def backends() -> list[str]:
    """Unsloth first, where there is a card and it is installed; a CPU has the other one alone."""
    from rmr1_lite.backend import choose, this_machine

    machine = this_machine()
    both = machine.capability is not None and machine.has_unsloth
    return ["unsloth", "transformers"] if both else [choose("transformers", machine).name]


def run_part(part: str, small: bool, out: Path, folder: Path) -> None:
    if part == "e":
        return append(out, {"part": "e", "rows": planned(read(out)), **machine_facts()})
    for backend in backends():
        # shared prompts are Unsloth's; without them is the comparison
        for sharing in ("1", "0") if part == "c" and backend == "unsloth" else ("1",):
            began = time.perf_counter()
            held = worker(part, backend, small, folder, sharing)
            append(out, {"part": part, "backend": backend, "sharing": sharing == "1", "small": small, **held, **machine_facts(),
                         "wall_s": round(time.perf_counter() - began, 1)})  # fmt: skip


def worker(part: str, backend: str, small: bool, folder: Path, sharing: str = "1") -> dict[str, Any]:
    """The result of one process, or what it died of."""
    result = folder / f"{part}-{backend}-{sharing}.json"
    command = [sys.executable, __file__, "--part", part, "--worker", backend, "--folder", str(folder), "--out", str(result)]
    environment = {**os.environ, "UNSLOTH_GRPO_PREFIX_GROUPER": sharing}
    done = subprocess.run([*command, *(["--small"] if small else [])], env=environment, capture_output=True, text=True)
    sys.stdout.write(done.stdout[-2000:])
    if done.returncode or not result.exists():
        sys.stdout.write(done.stderr[-3000:])
        partial = json.loads(result.read_text()) if result.exists() else {}
        return {**partial, "error": (done.stderr.strip().splitlines() or ["no message"])[-1][:500]}
    return json.loads(result.read_text())


def read(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.read_text()) if out.exists() else []


def append(out: Path, row: dict[str, Any]) -> None:
    """At once and whole: the next part may be the one that kills the machine."""
    write_json(out, [*read(out), row])
    print(json.dumps({name: value for name, value in row.items() if name != "versions"}))


def machine_facts() -> dict[str, Any]:
    import torch

    from rmr1_lite.runs import versions

    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU ({platform.machine()})"
    return {"device_name": card, "versions": {**versions(), "python": platform.python_version()},
            "date": datetime.now(timezone.utc).date().isoformat()}  # fmt: skip


# ---- the workers ----------------------------------------------------------------------------------------------------


def part_a(backend: str, small: bool, folder: Path, note: Any) -> None:
    """Nano: data, SFT, GRPO, and a few steps with a KL term."""
    from rmr1_lite.data.nano.dataset import NanoData, make
    from rmr1_lite.grpo import train_grpo
    from rmr1_lite.sft import train_sft

    data = make(folder / "nano", NanoData(train=200 if small else 4000, validation=8, test=8 if small else 200))
    more = {"backend": backend, "save_every": 0, "report_to": "none"}
    sft = train_sft(SFTConfig(chains=str(data / "chains.jsonl"), out=str(folder / f"{backend}-sft"), style="compact",
                              epochs=0.3 if small else 5.0, **more))  # fmt: skip
    note(sft=curve(folder / f"{backend}-sft", "loss"), sft_accuracy=accuracy(sft, data))
    sizes = {"groups": 2, "rollouts": 2, "micro_batch": 4, "steps": 2} if small else {"micro_batch": 8, "steps": 60}
    asked = {"model": str(sft), "pairs": str(data / "train.jsonl"), "screen_pairs": 0, "max_truncated": 1.0, **sizes, **more}
    grpo = train_grpo(GRPOConfig(out=str(folder / f"{backend}-grpo"), **asked))
    note(grpo=curve(folder / f"{backend}-grpo", "verdict/accuracy"), grpo_accuracy=accuracy(grpo, data))
    train_grpo(GRPOConfig(out=str(folder / f"{backend}-kl"), **{**asked, "steps": 2, "beta": 0.05}))
    note(kl_at_start=curve(folder / f"{backend}-kl", "kl")[0])


def accuracy(adapter: Path, data: Path) -> dict[str, float]:
    """Strict and mean accuracy on unseen pairs, in a process that Unsloth has not patched."""
    code = ("import json, sys; from rmr1_lite.demo import judge_of; from rmr1_lite.models import load; "
            "from rmr1_lite.data.files import read_pairs; pairs = read_pairs(sys.argv[2]).pairs; "
            "found = judge_of(load(sys.argv[1]), 'x').compare_many(pairs, progress=False); "
            "right = [[look.label == p.label for look in j.looks] for p, j in zip(pairs, found)]; "
            "n = len(right); print(json.dumps({'strict': sum(map(all, right)) / n, 'mean': sum(map(sum, right)) / 2 / n}))")
    done = subprocess.run([sys.executable, "-c", code, str(adapter), str(data / "test.jsonl")], capture_output=True, text=True,
                          cwd=Path(__file__).parents[1], check=True)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def curve(run: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [round(row[name], 4) for row in rows if name in row]


def part_b(backend: str, small: bool, folder: Path, note: Any, lengths: Sequence[int] | None = None) -> None:
    """SFT on rows of one length each."""
    shape, model = random_model(folder, small)
    ceiling = matrix_ceiling(small)
    note(ceiling_tflops=ceiling, parameters=parameters(shape))
    for length in lengths or SFT_LENGTHS[small]:
        note(**{f"sft_{length}": sft_step(backend, model, length, shape, ceiling, folder / f"{backend}-{length}")})


def sft_step(backend: str, model: Path, length: int, shape: Shape, ceiling: float, out: Path, steps: int = 6) -> dict[str, Any]:
    from rmr1_lite import sft
    from rmr1_lite.backend import start
    from rmr1_lite.models import Training, load, with_new_lora
    from rmr1_lite.runs import Run

    config = SFTConfig(model=str(model), style="compact", out=str(out), backend=backend, batch_size=1, micro_batch=1,
                       epochs=1.0, max_length=length, gradient_checkpointing=True, save_every=0, lora_r=RANK)  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    rows = [{"id": str(i), "input_ids": rng.choices(range(10, 1000), k=length),
             "completion_mask": [0] * (length // 2) + [1] * (length - length // 2)} for i in range(steps)]  # fmt: skip
    chosen = start(backend, out)
    loaded = load(str(model), training=Training(chosen, length, True, 0))
    with_new_lora(loaded, RANK, 2 * RANK, 0.0, 0)
    reset_peak()
    made = attempt(lambda: sft._train(config, Run(out, None, False), loaded, "compact", rows))
    seconds = step_seconds(out)
    if made or not seconds:
        return {"error": made or "no step"}
    operations = 6 * parameters(shape) * length  # forward, forward again, backward to the inputs
    return {"tokens_per_s": round(length / median(seconds)), "step_s": round(median(seconds), 4), "peak_gib": peak(),
            "share_of_ceiling": round(operations / median(seconds) / (ceiling * 1e12), 3)}  # fmt: skip


def part_c(backend: str, small: bool, folder: Path, note: Any, sizes: Sequence[tuple[int, int, int]] | None = None) -> None:
    """One group of GRPO a step, its completions made up; then writing, timed."""
    _, model = random_model(folder, small)
    for prompt, completion, rollouts in sizes or GRPO_SIZES[small]:
        name = f"grpo_{prompt}_{completion}_{rollouts}"
        note(**{name: grpo_step(backend, model, prompt, completion, rollouts, folder / f"{backend}-{name}")})
    note(writing=list(writing(backend, model, small, folder)))


def grpo_step(
    backend: str, model: Path, prompt: int, completion: int, rollouts: int, out: Path, steps: int = 4
) -> dict[str, Any]:  # fmt: skip
    import trl
    from datasets import Dataset

    from rmr1_lite import grpo
    from rmr1_lite.backend import prompts_were_shared, start
    from rmr1_lite.models import Training, load, with_new_lora
    from rmr1_lite.runs import Run
    from rmr1_lite.trainers import Watch, built, callback, train

    config = GRPOConfig(model=str(model), style="compact", out=str(out), backend=backend, groups=1, rollouts=rollouts,
                        micro_batch=rollouts, steps=steps, max_prompt_tokens=prompt + 64, max_new_tokens=completion,
                        gradient_checkpointing=True, save_every=0, lora_r=RANK, scale_rewards="group")  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    loaded = load(str(model), training=Training(start(backend, out), prompt + 64 + completion, True, 0))
    with_new_lora(loaded, RANK, 2 * RANK, 0.0, 0)
    rng, tokenizer = random.Random(0), loaded.tokenizer
    texts = [" ".join(rng.choices(("sun", "tree", "barn"), k=prompt)) for _ in range(steps)]
    asked = [{"prompt": [{"role": "user", "content": text}]} for text in texts]

    def reward(completion_ids: Any, **_: Any) -> list[float]:
        return [rng.choice((-1.0, 1.0)) if i else 1.0 for i in range(len(completion_ids))]

    def written(prompt_ids: Any, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        return [[*rng.choices(range(10, 1000), k=completion - 1), tokenizer.eos_token_id] for _ in prompt_ids], None

    run = Run(out, None, False)
    made = grpo.trainer_class(config, loaded)
    arguments = trl.GRPOConfig(**grpo.arguments(config))
    watch = Watch(run, "GRPO", "probe", None, 10**9)
    trainer = built(lambda: made(model=loaded.model, args=arguments, train_dataset=Dataset.from_list(asked), reward_funcs=reward,
                                 processing_class=tokenizer, callbacks=[callback(watch)]), loaded.model, run)  # fmt: skip
    trainer._generate_single_turn = written
    reset_peak()
    wrong = attempt(lambda: train(trainer, run, watch))
    seconds = step_seconds(out)
    if wrong or not seconds:
        return {"error": wrong or "no step"}
    shared = prompts_were_shared(trainer.accelerator.unwrap_model(trainer.model))
    each = median(seconds)
    return {"step_s": round(each, 4), "tokens_per_s": round(rollouts * (prompt + completion) / each), "peak_gib": peak(),
            "prompts_shared": shared}  # fmt: skip


def writing(backend: str, model: Path, small: bool, folder: Path) -> Iterator[dict[str, Any]]:
    """Seconds a token for eight rows at a cache length, and what 8,192 tokens would take (extrapolated)."""
    import torch

    from rmr1_lite.backend import start
    from rmr1_lite.models import Training, load

    new, rows = (8, 2) if small else (256, 8)
    longest = max(CACHE_LENGTHS[small]) + new
    loaded = load(str(model), training=Training(start(backend, folder), longest, False, 0))
    if backend == "unsloth":
        from unsloth import FastLanguageModel

        FastLanguageModel.for_inference(loaded.model)
    for length in CACHE_LENGTHS[small]:
        ids = torch.randint(10, 1000, (rows, length), device=loaded.model.device)
        asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "min_new_tokens": new, "max_new_tokens": new}

        def write(asked: dict[str, Any] = asked) -> None:
            with torch.inference_mode():
                loaded.model.generate(**asked, do_sample=True)

        wrong = attempt(write)  # once to warm up
        began = time.perf_counter()
        wrong = wrong or attempt(write)
        synchronize()
        each = (time.perf_counter() - began) / new
        hours = round(8192 * each / 3600, 3)
        found = {"s_per_token": round(each, 5), "tokens_per_s": round(rows / each), "hours_for_8192_extrapolated": hours}
        yield {"cache": length, "rows": rows} | ({"error": wrong} if wrong else found)


def part_d(backend: str, small: bool, folder: Path, note: Any) -> None:
    """A small card's memory and number format on a big one."""
    import torch

    from rmr1_lite import backend as chosen
    from rmr1_lite import models

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(CAP_GIB * 1024**3 / total)
        has_unsloth = chosen.this_machine().has_unsloth
        chosen.this_machine = models.this_machine = lambda: chosen.Machine(f"capped at {CAP_GIB} GiB", (7, 5), has_unsloth)
        note(cap=f"capped at {CAP_GIB} GiB", half="fp16")
    else:
        note(cap="none: no GPU")
    part_b(backend, small, folder, note, SFT_LENGTHS[small][:2])
    part_c(backend, small, folder, note, GRPO_SIZES[small][:1])


def planned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Planner and measurement for everything that has a peak. Nothing of the planner was fitted to these."""
    made = []
    for row in rows:
        shape = TINY if row.get("small") else SEVEN_B
        for name, held in row.items():
            if isinstance(held, dict) and held.get("peak_gib"):
                numbers = [int(n) for n in name.split("_")[1:]]
                need = sft_need(shape, RANK, 1, *numbers) if name.startswith("sft") else _grpo_need(shape, *numbers, row)
                plan = need.peak / 1024**3
                made.append({"part": row["part"], "backend": row["backend"], "what": name, "planned_gib": round(plan, 2),
                             "measured_gib": held["peak_gib"], "ratio": round(plan / held["peak_gib"], 3)})  # fmt: skip
    return made


def _grpo_need(shape: Shape, prompt: int, completion: int, rollouts: int, row: dict[str, Any]) -> Any:
    shared = row["backend"] == "unsloth" and row.get("sharing", True)
    return grpo_need(shape, RANK, prompt, completion, 1, rollouts, rollouts, True, shared)[1]


# ---- what they share ------------------------------------------------------------------------------------------------


def random_model(folder: Path, small: bool) -> tuple[Shape, Path]:
    """Random weights of the shape in 16 bits, with nano's tokenizer; made once for all workers."""
    import shutil

    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from rmr1_lite.adapters import NANO

    shape, place = TINY if small else SEVEN_B, folder / "random"
    if not (place / "done").exists():
        config = Qwen2Config(hidden_size=shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
                             num_key_value_heads=shape.kv_heads, intermediate_size=shape.mlp, vocab_size=shape.vocab,
                             tie_word_embeddings=shape.tied, max_position_embeddings=32768, bos_token_id=None)  # fmt: skip
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = Qwen2ForCausalLM._from_config(config, dtype=torch.bfloat16)
        model.save_pretrained(place, safe_serialization=True)
        del model
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (NANO["nano-base"] / name).exists():
                shutil.copyfile(NANO["nano-base"] / name, place / name)
        (place / "done").write_text("")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return shape, place


def matrix_ceiling(small: bool) -> float:
    """Tera-operations a second of one large 16-bit matrix product on this machine."""
    import torch

    cuda, n = torch.cuda.is_available(), 256 if small else 8192
    a = torch.randn(n, n, device="cuda" if cuda else "cpu", dtype=torch.bfloat16 if cuda else torch.float32)
    for _ in range(3):
        a @ a
    synchronize()
    began = time.perf_counter()
    for _ in range(20):
        a @ a
    synchronize()
    return round(20 * 2 * n**3 / (time.perf_counter() - began) / 1e12, 3)


def attempt(work: Any) -> str | None:
    """What went wrong, None when nothing did: running out of memory is a result here."""
    import torch

    try:
        work()
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return "out of memory"
    return None


def step_seconds(run: Path) -> list[float]:
    """Seconds of each step but the first two, which warm up."""
    if not (run / "metrics.jsonl").exists():
        return []
    times = [row["seconds"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "seconds" in row]
    return [b - a for a, b in zip(times[1:], times[2:], strict=False)]


def synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> float | None:
    """GiB allocated at most since the last reset; None on a CPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 1024**3, 2) if torch.cuda.is_available() else None


PARTS = {"a": part_a, "b": part_b, "c": part_c, "d": part_d}


def work(part: str, backend: str, small: bool, folder: Path, out: Path) -> None:
    """One part in this process; what is known is on disk after every step."""
    held: dict[str, Any] = {}

    def note(**found: Any) -> None:
        held.update(found)
        write_json(out, held)

    note()
    own = folder / part  # two parts never share a run folder
    own.mkdir(parents=True, exist_ok=True)
    if part != "a" and not (own / "random").exists():
        random_model(folder, small)
        (own / "random").symlink_to(folder / "random")
    PARTS[part](backend, small, own, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=[*PARTS, "e"], required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON that results are added to")
    parser.add_argument("--small", action="store_true", help="in miniature, on a CPU")
    parser.add_argument("--folder", type=Path, help="where models and runs go (default: a temporary folder)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.part, args.worker, args.small, args.folder, args.out)
    with tempfile.TemporaryDirectory() as folder:
        run_part(args.part, args.small, args.out, args.folder or Path(folder))


if __name__ == "__main__":
    main()
