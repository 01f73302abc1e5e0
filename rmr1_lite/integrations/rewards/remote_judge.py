"""A judge endpoint as the reward of other trainers, against a stored reference answer.

This file needs Python's standard library alone, so it works in the trainer's environment without this kit:
copy it. The judge runs elsewhere, on another card or machine: `python -m rmr1_lite endpoint --judge SPEC`.

    verl        reward.custom_reward_function.path=remote_judge.py
                reward.custom_reward_function.name=compute_score
                +reward.custom_reward_function.reward_kwargs.judge=http://127.0.0.1:8080
                rows with extra_info {"prompt": text or messages, "reference": text}
    OpenRLHF    --reward.remote_url remote_judge.py, with RMR1_JUDGE in the environment; or, as a server,
                python remote_judge.py --judge http://127.0.0.1:8080 --port 9000
                and --reward.remote_url http://127.0.0.1:9000/get_reward
                labels that are JSON: {"prompt": text or messages, "reference": text}

The reward is the share of judge calls won minus the share lost: 1, 0 or -1 in both orders. An empty answer
earns -1 and an equal one 0, without a judge call. verl and OpenRLHF know no missing reward: a pair without
any verdict earns 0 and is counted as unread; when more than a tenth of the last pairs is unread, the training
ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 600.0  # seconds for which an endpoint that does not answer is asked again
PAUSE = 5.0  # seconds between two tries
MOST_UNREAD, RECENT, ENOUGH = 0.1, 400, 50  # share of unread pairs; over the last ones; fewest that tell
PASSING = (408, 429, 502, 503, 504)  # the endpoint's statuses that may pass
AT_ONCE = 32  # requests in parallel
ENDS = re.compile(
    r"(?:\s*(?:<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|<\|end\|>|</s>|<eos>|<end_of_turn>))+\s*$"
)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_recent: deque = deque(maxlen=RECENT)
_lock = threading.Lock()


class JudgeFailed(RuntimeError):
    """The endpoint refused a pair, did not answer in time, or its judge cannot be read."""


def compare(judge: str, prompt, answer: str, reference: str, patience: float = PATIENCE) -> dict:
    """{"score", "unread", "asked"} of an answer against the reference."""
    if not isinstance(reference, str) or not reference.strip():
        raise JudgeFailed("A row has no reference answer. Give every row one.")
    if not answer.strip():
        return {"score": -1.0, "unread": 0.0, "asked": 0.0}
    if answer.strip() == reference.strip():
        return {"score": 0.0, "unread": 0.0, "asked": 0.0}
    body = {"prompt": prompt, "a": answer, "b": reference, "chains": False, "confidence": False}
    votes = _post(f"{judge.rstrip('/')}/compare", body, patience)["votes"]
    parsed = votes["A"] + votes["B"]
    _count(parsed == 0)
    return {
        "score": (votes["A"] - votes["B"]) / parsed if parsed else 0.0,
        "unread": float(not parsed),
        "asked": 1.0,
    }


async def compute_score(
    data_source,
    solution_str,
    ground_truth,
    extra_info=None,
    judge="http://127.0.0.1:8080",
    patience=PATIENCE,
    **_,
):
    """verl's reward function. Every key of the result becomes a metric."""
    row = extra_info or {}
    if "prompt" not in row or "reference" not in row:
        raise JudgeFailed("extra_info needs prompt and reference: write them into the parquet rows.")
    prompt = row["prompt"] if isinstance(row["prompt"], str) else [dict(turn) for turn in row["prompt"]]
    return await asyncio.to_thread(compare, judge, prompt, solution_str, row["reference"], float(patience))


def reward_func(queries, prompts, labels, **_) -> dict:
    """OpenRLHF's reward function of a file; the judge's address is in RMR1_JUDGE."""
    import torch

    found = openrlhf_rewards(
        os.environ.get("RMR1_JUDGE", "http://127.0.0.1:8080"), list(queries), list(prompts), list(labels)
    )
    values = torch.tensor(found["rewards"])
    logs = {name: torch.tensor(each) for name, each in found["extra_logs"].items()}
    return {"rewards": values, "scores": values, "extra_logs": logs}


def openrlhf_rewards(judge: str, queries: list, prompts: list, labels: list) -> dict:
    """What OpenRLHF expects of a remote reward server."""
    if not len(queries) == len(prompts) == len(labels):
        counts = f"{len(queries)} queries, {len(prompts)} prompts, {len(labels)} labels"
        raise JudgeFailed(f"{counts}: they must be as many.")
    rows = [_sample(*row) for row in zip(queries, prompts, labels, strict=True)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(lambda row: compare(judge, *row), rows))
    scores = [each["score"] for each in made]
    return {"rewards": scores, "scores": scores, "extra_logs": {"unread": [each["unread"] for each in made]}}


def _sample(query: str, prompt: str, label: str) -> tuple:
    """(prompt, answer, reference): the prompt from the label, since OpenRLHF's has control tokens in it."""
    if not query.startswith(prompt):
        raise JudgeFailed("A query does not begin with its prompt, so the answer in it cannot be found.")
    try:
        row = json.loads(label)
        return row["prompt"], ENDS.sub("", query[len(prompt) :]), row["reference"]
    except (ValueError, KeyError, TypeError):
        raise JudgeFailed(
            f'A label is {label!r:.80}. Give JSON: {{"prompt": ..., "reference": ...}}.'
        ) from None


def _post(url: str, body: dict, patience: float) -> dict:
    """The endpoint's answer; asked again while what is wrong may pass."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("RMR1_ENDPOINT_KEY", "").split(",")[0].strip():
        headers["Authorization"] = f"Bearer {key}"
    asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
    end = time.monotonic() + patience
    while True:
        try:
            with _DIRECT.open(asked, timeout=patience) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            why = error.read().decode(errors="replace")[:500]
            if error.code not in PASSING:
                raise JudgeFailed(f"{url}: {error.code} {why}") from None
        except OSError as error:
            why = str(error)
        if time.monotonic() + PAUSE > end:
            raise JudgeFailed(f"{url} did not answer for {patience:.0f} s: {why}")
        time.sleep(PAUSE)


def _count(unread: bool) -> None:
    with _lock:
        _recent.append(unread)
        share = sum(_recent) / len(_recent)
        enough = len(_recent) >= ENOUGH
    if enough and share > MOST_UNREAD:
        raise JudgeFailed(
            f"{share:.0%} of the last {len(_recent)} pairs have no verdict, more than {MOST_UNREAD:.0%}: "
            "such a reward teaches noise. See the judge's texts (the endpoint with chains), or take another "
            "judge."
        )


class _Handler(BaseHTTPRequestHandler):
    judge = ""

    def do_POST(self) -> None:
        try:
            row = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            status, made = 200, openrlhf_rewards(self.judge, row["query"], row["prompts"], row["labels"])
        except (JudgeFailed, ValueError, KeyError, TypeError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status, made = 500, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(made).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args) -> None:
        """One line a request would hide the errors."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judge", default="http://127.0.0.1:8080", help="address of the judge endpoint")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    given = parser.parse_args()
    _Handler.judge = given.judge
    server = ThreadingHTTPServer((given.host, given.port), _Handler)
    print(f"Rewards on http://{given.host}:{given.port}/get_reward from {given.judge}. Ctrl+C ends it.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
