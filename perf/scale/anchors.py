"""Published measurements, and what the model says in their place."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scale.assumptions import HOUR, SHAPES, Lengths, Recipe, Shape, World
from scale.decoding import decode
from scale.grpo import grpo_step


@dataclass(frozen=True)
class Anchor:
    """A published measurement and what the model says. assumed: what the publication leaves open."""

    name: str
    link: str
    unit: str
    measured: float
    model: float
    assumed: str

    @property
    def error(self) -> float:
        return self.model / self.measured - 1


def anchors(world: World) -> list[Anchor]:
    """Every anchor in its own setting."""
    serving = replace(world, efficiency=replace(world.efficiency, memory=0.9))
    few = replace(serving, efficiency=replace(serving.efficiency, memory=0.8))
    sharegpt = decode(few, SHAPES["8B"], Lengths(200, 1.0, 0, 1024).draw(1000), 225)
    hundred = replace(serving, efficiency=replace(serving.efficiency, sequences=100))
    fixed = decode(hundred, SHAPES["8B"], [2000] * 100, 1800)
    return [
        Anchor(
            "vLLM, Llama-3.1-8B, 1 H100, 1,000 ShareGPT prompts at once",
            "https://research.aimultiple.com/inference-engines",
            "tokens/s",
            12_553,
            sharegpt.tokens / sharegpt.seconds,
            "225 tokens of prompt, 200 of answer",
        ),
        Anchor(
            "vLLM, Llama-3.1-8B, 1 H100, 100 at once, 2,000 tokens each",
            "https://tim-wang-tecg-blog.pages.dev/llm/llm-benchmark-en",
            "tokens/s",
            3_037,
            fixed.tokens / fixed.seconds,
            "prompts of 5,000 to 10,000 are characters, 1,800 tokens",
        ),
        _grpo_anchor(
            world,
            "NeMo RL 0.4, Llama-3.1-8B, 16 H100, 2,048 rollouts",
            97.7,
            SHAPES["8B"],
            16,
            Recipe(0, 64, 16, 32),
            Lengths(960, 0.6, 0.005, 4096, 100),
        ),
        _grpo_anchor(
            world,
            "NeMo RL 0.4, Qwen3-32B, 32 H100, 2,048 rollouts",
            393,
            SHAPES["32B"],
            32,
            Recipe(0, 64, 16, 32),
            Lengths(3600, 0.5, 0.2, 4096, 100),
        ),
        _grpo_anchor(
            world,
            "SimpleRL-Zoo (verl, spring 2025), Qwen2.5-7B, 16 H100, 8,192 rollouts",
            15 * HOUR / 100,
            replace(SHAPES["7B"], cards=2),
            16,
            Recipe(0, 1024, 256, 8),
            Lengths(650, 0.5, 0.005, 8192, 150),
        ),
        _grpo_anchor(
            world,
            "SimpleRL-Zoo (verl, spring 2025), Qwen2.5-32B, 64 H100, 8,192 rollouts",
            36 * HOUR / 100,
            replace(SHAPES["32B"], cards=8),
            64,
            Recipe(0, 1024, 256, 8),
            Lengths(650, 0.5, 0.005, 8192, 150),
        ),
    ]


def _grpo_anchor(
    world: World,
    name: str,
    measured: float,
    shape: Shape,
    cards: int,
    recipe: Recipe,
    lengths: Lengths,
) -> Anchor:
    nemo = "NeMo" in name
    link = (
        "https://docs.nvidia.com/nemo/rl/0.5.0/about/performance-summary.html"
        if nemo
        else "https://github.com/hkust-nlp/simpleRL-reason"
    )
    step = grpo_step(replace(world, recipe=recipe, lengths=lengths), shape, cards)
    mean = sum(lengths.draw(1000)) / 1000
    assumed = f"chains of {mean:,.0f} tokens on average, {lengths.runaway:.1%} of them endless"
    return Anchor(name, link, "s a step", measured, step.seconds, assumed)
