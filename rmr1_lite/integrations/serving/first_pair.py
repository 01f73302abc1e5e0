"""One pair, judged by the served judge through the kit's own client: shows in seconds whether the prompts
arrive as they should."""

from __future__ import annotations

from dataclasses import dataclass

from rmr1_lite.integrations.serving.commands import KEY, Launch
from rmr1_lite.integrations.serving.target import Target
from rmr1_lite.types import NOT_JUDGED, Judgment, Look, Pair

SHOWN = 1500  # characters of a text without a verdict


@dataclass(frozen=True)
class FirstPair:
    """What the served judge said. lines: for people. parsed: whether both calls hold a verdict."""

    lines: tuple[str, ...]
    parsed: bool


def judge_first_pair(launch: Launch, target: Target, timeout: float = 600.0) -> FirstPair:
    """Judge one pair in both orders. Raises EngineStopped with the server's words for what cannot work."""
    from rmr1_lite.judging.engines.endpoint import OpenAIEngine
    from rmr1_lite.judging.factory import make_judge

    style = None if target.style == "auto" else target.style
    engine = OpenAIEngine(
        launch.model_name,
        f"{launch.root}/v1",
        KEY,
        max_retries=0,  # it answers: what fails now fails again
        timeout=timeout,
        style=style,
        thinking=target.thinking,
    )
    judge = make_judge(
        launch.spec, style, target.reading, engine=engine, max_new_tokens=target.max_new_tokens
    )
    pair = example_pair(target.nano)
    return describe(judge.compare(pair), pair)


def example_pair(nano: bool) -> Pair:
    """A pair of the nano world, or a plain English one."""
    from rmr1_lite.data.pairs import read_pairs
    from rmr1_lite.evaluation.bias.pairs import SHIPPED, nano_pairs

    return nano_pairs(1)[0] if nano else read_pairs(SHIPPED).pairs[0]


def describe(judgment: Judgment, pair: Pair) -> FirstPair:
    """The judgment in words, with every text that could not be parsed."""
    lines = []
    for look in judgment.looks:
        shown = "A first" if look.order == "ab" else "B first"
        lines.append(f"  {shown}: {_verdict(look)} ({look.generation.completion_tokens} tokens)")
        if look.label is None:
            lines.append(_text_of(look))
    parsed = all(look.label is not None for look in judgment.looks)
    if not parsed:
        end = "no verdict could be parsed"
    elif judgment.right(pair):
        end = "right in both orders"
    else:
        end = f"parsed, but {pair.label} is the better response"
    return FirstPair((f"First pair ({pair.id}): {end}", *lines), parsed)


def _verdict(look: Look) -> str:
    return f"{look.label} wins" if look.label is not None else f"unparsed, {look.status}"


def _text_of(look: Look) -> str:
    """A text or an error for a terminal, without control characters."""
    made = look.generation
    text = str(made.error) if look.status in NOT_JUDGED and made.error else made.text
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"
    return "    " + "".join(
        c if c.isprintable() else "\n    " if c == "\n" else " " for c in cut or "(no text)"
    )
