"""What a request is checked for before it waits: the texts by the Python interface's own checks, and the
limits, which that interface does not have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmr1_lite.api.inputs import STAND_IN, check_candidates, check_pair
from rmr1_lite.api.summaries import score_pairs
from rmr1_lite.endpoint.errors import Refused
from rmr1_lite.endpoint.settings import EndpointConfig
from rmr1_lite.types import Pair

if TYPE_CHECKING:
    from rmr1_lite.endpoint import schemas


def check_list(asked: schemas.RankRequest, config: EndpointConfig) -> None:
    """Of /rank and /best-of. Raises InputError, Refused."""
    check_votes(asked.votes, config)
    _check_count("responses", asked.responses, config)
    given = check_candidates(asked.prompt, asked.responses)
    for text, owners in zip(given.texts, given.owners, strict=True):
        name = f"responses[{owners[0]}]"
        check_sizes([Pair("", given.prompt, text, "")], config, (name, ""))


def check_score(asked: schemas.ScoreRequest, config: EndpointConfig) -> None:
    """Of /score. Raises InputError, Refused."""
    check_votes(asked.votes, config)
    _check_count("panel", asked.panel, config)
    if asked.reference is None and asked.panel is None:
        pair = check_pair(asked.prompt, asked.response, STAND_IN, ("response", "(none)"))
        pairs = [replace(pair, response_b="")]
    else:
        pairs = score_pairs(asked.prompt, asked.response, asked.reference, asked.panel)
    other = "reference" if asked.panel is None else "panel"
    check_sizes(pairs, config, ("response", other))


def check_votes(votes: int, config: EndpointConfig) -> None:
    """Raises Refused for more than the limit."""
    if votes > config.max_votes:
        raise Refused(422, f"votes is {votes}. Give at most {config.max_votes} (--max-votes).", "votes")


def _check_count(name: str, texts: Any, config: EndpointConfig) -> None:
    if isinstance(texts, list) and len(texts) > config.max_responses:
        words = f"{name} has {len(texts)} texts. Give at most {config.max_responses} (--max-responses)."
        raise Refused(422, words, name)


def check_sizes(pairs: list[Pair], config: EndpointConfig, names: tuple[str, str]) -> None:
    """Raises Refused for a text over the limit. names: of the two responses; "" where there is no second."""
    for pair in pairs:
        prompt = "\n".join(turn["content"] for turn in pair.prompt)
        texts = {"prompt": prompt, names[1]: pair.response_b, names[0]: pair.response_a}
        for name, text in texts.items():
            if len(text) > config.max_chars:
                remedy = f"Give at most {config.max_chars:,} (--max-chars)."
                raise Refused(422, f"{name} has {len(text):,} characters. {remedy}", name)
