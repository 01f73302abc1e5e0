"""Makes the nano base: a Qwen2-architecture model of 2.75 M parameters and its BPE tokenizer, only from
the world's base documents (rmr1_lite/data/nano/documents.py).

The shipped base (nano_assets/base; recipe.json is the last leg's) was made in five legs. Between them the
exercises changed, so a leg can be repeated only at its own commit:

    git checkout de90081 && OMP_NUM_THREADS=2 python -m rmr1_lite.nano_base --out leg1            # 2,600
                                                                                                  steps, 34
                                                                                                  minutes
    git checkout 0c764eb && OMP_NUM_THREADS=2 python -m rmr1_lite.nano_base --out leg2 --init leg1 --lr 8e-4
        --steps 1050 \\
        --drill-steps 0 --seed 1                                                                   # 15
                                                                                                   minutes
    git checkout e604f59 && OMP_NUM_THREADS=2 python -m rmr1_lite.nano_base --out leg3 --init leg2 --lr 8e-4
        --steps 1300 \\
        --drill-steps 0 --seed 2                                                                   # 18
                                                                                                   minutes
                                                                                                   beside
                                                                                                   other work
    git checkout e0c667c && OMP_NUM_THREADS=1 python -m rmr1_lite.nano_base --out leg4 --init leg3 --lr 8e-4
        --steps 750 \\
        --drill-steps 0 --seed 3                                                                   # 21
                                                                                                   minutes
    git checkout 986b4d8 && OMP_NUM_THREADS=2 python -m rmr1_lite.nano_base --out base --init leg4 --lr 8e-4
        --steps 1000 \\
        --drill-steps 0 --seed 4                                                                   # 22
                                                                                                   minutes
                                                                                                   beside
                                                                                                   other work

Copying comes first (`DRILLS`, then `KINDS`): every other skill builds on it, and without a drill it forms
late. The loss covers only the assistant's tokens: with the random questions in it, a small model spends
its capacity on noise.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from rmr1_lite.data.nano.documents import DRILLS, KINDS, document
from rmr1_lite.data.nano.tokenizer import EOS, build_tokenizer, chatml, tokenizer_texts


@dataclass(frozen=True)
class BaseConfig:
    """Shape and schedule of the nano base; every number that affects the result."""

    vocab_size: int = 2048
    hidden_size: int = 256
    layers: int = 4
    mlp_size: int = 512
    heads: int = 4
    kv_heads: int = 2
    context: int = 768
    steps: int = 2600
    drill_steps: int = 180
    docs_per_step: int = 72
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 50
    cooldown_share: float = 0.35
    seed: int = 0


def build_model(config: BaseConfig, tokenizer):
    """A freshly initialised Qwen2 causal LM, fp32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(config.seed)
    eos = tokenizer.convert_tokens_to_ids(EOS)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            num_hidden_layers=config.layers,
            intermediate_size=config.mlp_size,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=eos,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
        )
    )


def batches(config: BaseConfig, tokenizer, seed: str, kinds=KINDS):
    """Endless batches of (ids, targets, kinds): right-padded, targets -100 outside the assistant's tokens."""
    import torch

    rng, pad = random.Random(seed), tokenizer.pad_token_id
    while True:
        docs = [document(rng, kinds) for _ in range(config.docs_per_step * 8)]
        parts = [chatml(d) for d in docs]
        given, said = (
            tokenizer([p[i] for p in parts], add_special_tokens=False)["input_ids"] for i in (0, 1)
        )
        rows = sorted(zip(given, said, docs, strict=True), key=lambda r: len(r[0]) + len(r[1]))
        chunks = [rows[i : i + config.docs_per_step] for i in range(0, len(rows), config.docs_per_step)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(g) + len(s) for g, s, _ in chunk)
            ids = torch.tensor([g + s + [pad] * (width - len(g) - len(s)) for g, s, _ in chunk])
            targets = torch.tensor(
                [[-100] * len(g) + s + [-100] * (width - len(g) - len(s)) for g, s, _ in chunk]
            )
            yield ids, targets, [d.kind for _, _, d in chunk]


def loss_and_hits(model, ids, targets):
    """Mean NLL over the assistant's tokens, and for each such token whether it was the most likely (with its
    row)."""
    import torch.nn.functional as F

    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = targets[:, 1:] != -100
    logits = model.lm_head(hidden[wanted])
    goal = targets[:, 1:][wanted]
    return F.cross_entropy(logits, goal), logits.argmax(-1) == goal, wanted.nonzero()[:, 0]


def exact_by_kind(model, source, n_batches: int) -> dict[str, float]:
    """Share of fresh documents whose every assistant token is the model's first choice, by kind."""
    import torch

    hits = defaultdict(list)
    with torch.inference_mode():
        for _ in range(n_batches):
            ids, targets, kinds = next(source)
            _, right, rows = loss_and_hits(model, ids, targets)
            for row, kind in enumerate(kinds):
                hits[kind].append(bool(right[rows == row].all()))
    return {kind: round(sum(h) / len(h), 3) for kind, h in sorted(hits.items())}


def optimizer(model, config: BaseConfig):
    """AdamW; no weight decay on norms and biases."""
    import torch

    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), fused=True)


def schedule(step: int, config: BaseConfig) -> float:
    """Warm up, hold, then cool down linearly to 3 %."""
    left = (config.steps - step) / (config.cooldown_share * config.steps)
    return min(1.0, (step + 1) / config.warmup, 0.03 + 0.97 * left)


def start(config: BaseConfig, init: Path | None):
    """(model, tokenizer, earlier legs of the training): fresh, or the weights of an earlier leg."""
    if init is None:
        tokenizer = build_tokenizer(tokenizer_texts(config.seed), config.vocab_size)
        return build_model(config, tokenizer), tokenizer, []
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = json.loads((init / "recipe.json").read_text())
    legs = [*recipe["earlier"], {"config": recipe["config"], "history": recipe["history"]}]
    model = AutoModelForCausalLM.from_pretrained(init, dtype=torch.float32)
    return model.train(), AutoTokenizer.from_pretrained(init), legs


def pretrain(config: BaseConfig, out: Path, init: Path | None = None, log_every: int = 180) -> None:
    """Tokenizer, model, training, and `out` with model.safetensors (bf16), tokenizer and recipe.json."""
    import torch
    from tqdm import tqdm

    model, tokenizer, earlier = start(config, init)
    params = sum(p.numel() for p in model.parameters())
    print(
        f"nano base: {params:,} parameters, vocabulary {len(tokenizer)}, {torch.get_num_threads()} threads",
        flush=True,
    )
    sources = [
        batches(config, tokenizer, f"leg {i}/{config.seed}", kinds)
        for i, kinds in enumerate((*DRILLS, KINDS))
    ]
    probe = batches(config, tokenizer, f"probe/{config.seed}", KINDS)
    opt, started, history, tokens, running = optimizer(model, config), time.time(), [], 0, None
    bar = tqdm(range(config.steps), mininterval=20, desc="nano base")
    for step in bar:
        for group in opt.param_groups:
            group["lr"] = config.lr * schedule(step, config)
        ids, targets, _ = next(
            sources[min(step // config.drill_steps if config.drill_steps else 2, len(DRILLS))]
        )
        loss, _, _ = loss_and_hits(model, ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        tokens += ids.numel()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % log_every == 0 or step + 1 == config.steps:
            row = {
                "step": step + 1,
                "loss": round(running, 4),
                "seconds": round(time.time() - started),
                "tokens": tokens,
                "exact": exact_by_kind(model, probe, 8),
            }
            history.append(row)
            bar.write(json.dumps(row))
            save(
                model,
                tokenizer,
                out,
                {
                    "config": asdict(config),
                    "parameters": params,
                    "history": history,
                    "earlier": earlier,
                    "threads": torch.get_num_threads(),
                    "torch": torch.__version__,
                    "drills": [{k.__name__: w for k, w in drill.items()} for drill in DRILLS],
                    "kinds": {k.__name__: w for k, w in KINDS.items()},
                },
            )


def save(model, tokenizer, out: Path, recipe: dict) -> None:
    """Weights in bf16 (half the bytes; NF4 rounds them further anyway), tokenizer, recipe."""
    import copy

    import torch

    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--steps", type=int, default=BaseConfig.steps, help="training steps (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=BaseConfig.seed, help="seed (default %(default)s)")
    parser.add_argument("--lr", type=float, default=BaseConfig.lr, help="learning rate (default %(default)s)")
    parser.add_argument(
        "--drill-steps", type=int, default=BaseConfig.drill_steps, help="steps of each of the two drills"
    )
    parser.add_argument(
        "--init", type=Path, help="folder of an earlier leg to continue from (fresh optimizer)"
    )
    args = parser.parse_args()
    config = BaseConfig(steps=args.steps, seed=args.seed, lr=args.lr, drill_steps=args.drill_steps)
    pretrain(config, args.out, args.init)


if __name__ == "__main__":
    main()
