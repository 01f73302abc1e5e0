"""The id of a request in a batch file: answers come back in any order, some of them days later."""

from __future__ import annotations

import hashlib
import json
import re

from rmr1_lite.judging.engines.base import Request, Sampling

LONGEST = 64  # of the ids that vendors take: letters, digits, - and _
NAME, DIGEST = 20, 32  # characters: of the pair's id, for readers of the files, and of the hash


def custom_id(request: Request, sampling: Sampling, model: str, thinking: str = "") -> str:
    """An id of at most `LONGEST` characters for one pair, order and vote.

    It is bound to the prompt, the sampling, the model and the thinking switch, so that an answer to other
    texts never matches. It is not taken from the request's body: without a part that was refused, a request
    is still the same one.
    """
    bound = [
        [request.id, request.order, request.vote, model, thinking],
        [[message["role"], message["content"]] for message in request.messages],
        [float(sampling.temperature), sampling.max_new_tokens, float(sampling.top_p), sampling.seed],
    ]
    digest = hashlib.sha256(json.dumps(bound).encode()).hexdigest()[:DIGEST]
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.id)[:NAME].strip("-")
    return f"{name}-{request.order}-{request.vote}-{digest}".lstrip("-")
