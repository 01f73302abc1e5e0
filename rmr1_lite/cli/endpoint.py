"""The command `endpoint`: a judge behind an HTTP address. What it does: `rmr1_lite.endpoint`.

python -m rmr1_lite endpoint --judge nano --port 8080
"""

from __future__ import annotations

from rmr1_lite.cli.judge_options import JUDGE_HELP, MAX_NEW_TOKENS_HELP, READING_HELP, ReadingName
from rmr1_lite.cli.options_from_config import from_config
from rmr1_lite.config import THINKING_HELP, StyleName, Thinking
from rmr1_lite.endpoint.settings import EndpointConfig


@from_config(
    EndpointConfig,
    judge=(str, "nano", JUDGE_HELP),
    style=(StyleName, "auto", "prompt style"),
    thinking=(Thinking, "auto", THINKING_HELP),
    reading=(ReadingName, ReadingName.auto, READING_HELP),
    temperature=(float, 0.0, "0 is greedy; votes need more"),
    max_new_tokens=(int | None, None, MAX_NEW_TOKENS_HELP),
    seed=(int, 0, "seed of the sampling"),
    batch_size=(int, 16, "judge calls per batch of a local model"),
    four_bit=(bool, True, "load a local model in 4 bits (NF4); otherwise as stored"),
    answers=(str, "", "JSONL of stored answers, for /score without a reference or panel"),
)
def endpoint(config: EndpointConfig, judge: str, **options: object) -> None:
    """Answer HTTP requests for verdicts: POST /compare, /rank, /best-of, /score. Stop with Ctrl+C. Exit
    status 2: requests under way could not be finished."""
    from rmr1_lite.api.pairwise import load_judge
    from rmr1_lite.endpoint.server import run_endpoint

    size = int(str(options["batch_size"]))
    settings = {
        **options,
        "reading": ReadingName(options["reading"]).value,
        "style": None if options["style"] == "auto" else options["style"],
        "answers": options["answers"] or None,
    }
    run_endpoint(config, judge, lambda: load_judge(judge, **settings), size)  # type: ignore[arg-type]
