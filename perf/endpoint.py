"""Does the judge endpoint lose, mix or slow anything? Load and faults, beside the engine alone in one run.

    python perf/endpoint.py --out perf/results/endpoint-nano.json

Part 1, nano: the time of eight requests at once against `compare_many` of eight pairs, alternately. Part 2,
nano: 500 requests, 20 at once, while one client hangs up, one sends a megabyte too much, and the server is
stopped and started again; every text is compared with `compare_many`'s. Part 3, an `openai:` judge: its text
server is killed and started again. Clients try again after errors that pass; nothing may be lost or mixed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx

from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.types import Pair

SEED, BATCH = 9100, 16
PASSING = (429, 502, 503, 504)  # statuses after which a client tries again
EIGHT, CLIENTS = 8, 20
PART = (
    8 * EIGHT
)  # pairs of one round: clients in a loop, whose first requests after an idle time are one of eight
LARGE = 64  # judge calls in a batch of the expected texts


# ---- processes


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Server:
    """A program on a port, as its user starts it."""

    words: list[str]
    port: int
    health: str
    process: Any = None
    memory: list[dict[str, float]] = field(default_factory=list)

    def start(self) -> None:
        environment = environment_with_kit(os.environ)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, *self.words], env=environment, **quiet)

    async def ready(self) -> None:
        async with httpx.AsyncClient() as client:
            for _ in range(1200):
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.words} ended with {self.process.returncode}")
                try:
                    if (await client.get(f"http://127.0.0.1:{self.port}{self.health}")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.words} was not ready in a minute")

    async def stop(self, sign: int = signal.SIGTERM) -> int:
        """The exit status."""
        self.process.send_signal(sign)
        return await asyncio.to_thread(self.process.wait, 90)

    def resident_mb(self) -> float:
        import psutil

        return round(psutil.Process(self.process.pid).memory_info().rss / 1e6, 1)


def endpoint_server(judge: str, *options: str) -> Server:
    port = free_port()
    words = ["-m", "rmr1_lite", "endpoint", "--judge", judge, "--port", str(port), *options]
    return Server([*words, "--batch-size", str(BATCH)], port, "/health")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


# ---- clients


def body_of(pair: Pair) -> dict[str, Any]:
    texts = {"prompt": list(pair.prompt), "a": pair.response_a, "b": pair.response_b}
    return {**texts, "confidence": False}


@dataclass
class Load:
    """answers: by place of the pair. tries: by what they met. seconds: of the tries that were answered."""

    url: str
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    async def ask(self, client: httpx.AsyncClient, place: int, pair: Pair) -> None:
        """Until there is an answer."""
        while place not in self.answers:
            began = time.perf_counter()
            try:
                reply = await client.post(f"{self.url}/compare", json=body_of(pair))
            except httpx.TransportError as error:
                self.tries[type(error).__name__] += 1
                await asyncio.sleep(0.2)
                continue
            self.tries[str(reply.status_code)] += 1
            if reply.status_code in PASSING:
                await asyncio.sleep(0.3)
                continue
            reply.raise_for_status()
            self.seconds.append(time.perf_counter() - began)
            self.answers[place] = reply.json()

    async def run(self, pairs: list[Pair], at_once: int) -> float:
        """Every pair once; returns the seconds."""
        todo = iter(enumerate(pairs))

        async def work(client: httpx.AsyncClient) -> None:
            for place, pair in todo:
                await self.ask(client, place, pair)

        began = time.perf_counter()
        async with httpx.AsyncClient(timeout=120) as client:
            await asyncio.gather(*(work(client) for _ in range(at_once)))
        return time.perf_counter() - began

    async def until(self, count: int) -> None:
        while len(self.answers) < count:
            await asyncio.sleep(0.02)


async def hang_up(url: str, pair: Pair) -> str:
    """A client that does not wait for its answer."""
    async with httpx.AsyncClient(timeout=0.1) as client:
        try:
            return str((await client.post(f"{url}/compare", json=body_of(pair))).status_code)
        except httpx.TimeoutException:
            return "hung up"


async def too_much(url: str) -> int:
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.post(f"{url}/compare", json={"prompt": "x" * 2_000_000})).status_code


async def counters(url: str) -> dict[str, float]:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    found = re.findall(r"^(rmr1_\w+)(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
    sums: Counter[str] = Counter()
    for name, value in found:
        if not name.endswith("_bucket"):
            sums[name] += float(value)
    return dict(sums)


# ---- the parts


def looks_of(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(c["order"], c["text"], c["winner"], c["status"]) for c in answer["calls"]]


def wrong(expected: list[dict[str, Any]], answers: dict[int, dict[str, Any]]) -> list[int]:
    """Places whose answer is missing, belongs to another pair, or differs in any text or verdict."""
    return [
        place
        for place, want in enumerate(expected)
        if place not in answers
        or (want["id"], want["winner"], looks_of(want))
        != (answers[place]["id"], answers[place]["winner"], looks_of(answers[place]))
    ]


async def eight_at_once(judge: Any, url: str, pairs: list[Pair], rounds: int) -> dict[str, Any]:
    """Seconds of the engine alone, eight pairs a call, and of the endpoint on the same pairs, alternately."""
    alone, served, size = [], [], PART
    busy = -(await counters(url))["rmr1_busy_seconds_total"]
    for number in range(rounds):
        part = pairs[number * size : (number + 1) * size]
        for side in (0, 1) if number % 2 else (1, 0):
            if side:
                served.append(await Load(url).run(part, EIGHT))
            else:
                began = time.perf_counter()
                for start in range(0, len(part), EIGHT):
                    judge.compare_many(part[start : start + EIGHT], confidence=False)
                alone.append(time.perf_counter() - began)
    busy += (await counters(url))["rmr1_busy_seconds_total"]
    ratios = sorted(there / here for there, here in zip(served, alone, strict=True))
    return {
        "alone_seconds": [round(value, 3) for value in alone],
        "endpoint_seconds": [round(value, 3) for value in served],
        "ratios": [round(value, 3) for value in ratios],
        "ratio_of_sums": round(sum(served) / sum(alone), 3),
        "median_ratio": round(statistics.median(ratios), 3),
        # in the endpoint's own process: less exposed to what else the machine does
        "time_over_engine_time": round(sum(served) / busy, 3),
    }


async def load_with_faults(server: Server, url: str, pairs: list[Pair]) -> tuple[Load, dict[str, Any]]:
    """20 clients, and the faults one after the other; the server is restarted after 40 % of the answers."""
    load, faults = Load(url), {}
    task = asyncio.create_task(load.run(pairs, CLIENTS))
    await load.until(len(pairs) // 10)
    faults["megabyte_too_much"] = await too_much(url)
    faults["hang_up"] = await hang_up(url, pairs[-1])
    await load.until(2 * len(pairs) // 5)
    faults["before_restart"], faults["mb_before_restart"] = await counters(url), server.resident_mb()
    faults["exit_status"] = await server.stop()
    server.start()
    await server.ready()
    await load.until(len(load.answers) + 20)
    faults["mb_after_restart"] = server.resident_mb()
    faults["seconds"] = round(await task, 2)
    faults["mb_at_end"] = server.resident_mb()
    faults["after_restart"] = await counters(url)
    return load, faults


def quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3)


def summary(load: Load, expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "requests": len(expected),
        "wrong_or_missing": len(wrong(expected, load.answers)),
        "tries": dict(load.tries),
        "p50_seconds": quantile(load.seconds, 0.5),
        "p99_seconds": quantile(load.seconds, 0.99),
    }


async def nano_parts(count: int, rounds: int) -> dict[str, Any]:
    from rmr1_lite import load_judge

    pairs = [Pair("", p.prompt, p.response_a, p.response_b) for p in draw_pairs("test", count, SEED)]
    given = [(list(p.prompt), p.response_a, p.response_b) for p in pairs]
    judge = load_judge("nano", batch_size=BATCH)
    judge.compare_many(given[:EIGHT], confidence=False)  # warm
    wide = load_judge("nano", batch_size=LARGE)  # the same texts, sooner
    began = time.perf_counter()
    expected = [found.to_dict() for found in wide.compare_many(given, confidence=False)]
    alone = time.perf_counter() - began
    print(f"engine alone, {LARGE} at once: {2 * count / alone:.1f} judge calls per second", flush=True)
    with running(endpoint_server("nano")) as server:
        url = f"http://127.0.0.1:{server.port}"
        await server.ready()
        await Load(url).run(pairs[:CLIENTS], CLIENTS)  # warm
        await Load(url).run(pairs[-2 * EIGHT :], EIGHT)
        ratio = await eight_at_once(_Numbered(judge), url, pairs, rounds)
        print(f"eight at once, endpoint / engine: {ratio['median_ratio']} {ratio['ratios']}", flush=True)
        start_mb = server.resident_mb()
        load, faults = await load_with_faults(server, url, pairs)
        await server.stop()
    return {
        f"engine_alone_{LARGE}_at_once_looks_per_second": round(2 * count / alone, 2),
        "eight_at_once": ratio,
        "load": {
            **summary(load, expected),
            "looks_per_second": round(2 * count / faults["seconds"], 2),
            "mb_at_start": start_mb,
            **faults,
        },
    }


class _Numbered:
    """The judge for pairs without ids of their own."""

    def __init__(self, judge: Any) -> None:
        self.judge = judge

    def compare_many(self, pairs: list[Pair], **options: Any) -> Any:
        given = [(list(p.prompt), p.response_a, p.response_b) for p in pairs]
        return self.judge.compare_many(given, **options)


async def server_part(count: int) -> dict[str, Any]:
    """An `openai:` judge whose text server dies and comes back."""
    from rmr1_lite.api.inputs import check_pair
    from rmr1_lite.prompts import judge_messages, pair_as_shown

    pairs = [
        Pair("", ({"role": "user", "content": f"Task {k}: add {k} and {k}."},), f"{2 * k}", f"{2 * k + 1}")
        for k in range(count)
    ]
    checked = [check_pair(list(p.prompt), p.response_a, p.response_b) for p in pairs]
    port = free_port()
    texts = Server([__file__, "--text-server", str(port)], port, "/health")
    judge = f"openai:tag@http://127.0.0.1:{port}/v1"
    with running(texts), running(endpoint_server(judge, "--style", "rubrics")) as server:
        url = f"http://127.0.0.1:{server.port}"
        await asyncio.gather(texts.ready(), server.ready())
        load = Load(url)
        task = asyncio.create_task(load.run(pairs, CLIENTS))
        await load.until(count // 3)
        texts.process.kill()
        texts.process.wait()
        await asyncio.sleep(1.0)
        texts.start()
        seconds, found = await task, await counters(url)
        status = await server.stop()
    mixed = [
        place
        for place, pair in enumerate(checked)
        for call in load.answers[place]["calls"]
        if tag(judge_messages(pair_as_shown(pair, call["order"]), "rubrics")) not in call["text"]
    ]
    lost = [place for place in range(count) if load.answers[place]["winner"] is None]
    return {
        "requests": count,
        "mixed": len(mixed),
        "without_a_verdict": len(lost),
        "tries": dict(load.tries),
        "p50_seconds": quantile(load.seconds, 0.5),
        "p99_seconds": quantile(load.seconds, 0.99),
        "looks_per_second": round(2 * count / seconds, 2),
        "engine_stops": found["rmr1_engine_stops_total"],
        "exit_status": status,
    }


def tag(messages: Any) -> str:
    return hashlib.sha256(json.dumps(list(messages)).encode()).hexdigest()[:16]


def serve_texts(port: int) -> None:
    """A text server that is right and writes a hash of its prompt: mixed answers would show."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def chat(request: Request) -> JSONResponse:
        messages = (await request.json())["messages"]
        said = messages[-1]["content"]
        number = int(re.findall(r"Task (\d+): add", said)[-1])
        first, second = said.rfind(f"{2 * number}\n"), said.rfind(f"{2 * number + 1}\n")
        await asyncio.sleep(0.05)
        text = f"{tag(messages)} <answer>[[{'A' if first < second else 'B'}]]</answer>"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 2000, "completion_tokens": 9}
        return JSONResponse({"id": "c", "model": "tag", "choices": [choice], "usage": usage})

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({})

    routes = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/health", health)]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="critical")


def write(path: Path, parts: dict[str, Callable[[], Any]]) -> None:
    from rmr1_lite.storage import write_json

    began = time.perf_counter()
    found = {name: asyncio.run(part()) for name, part in parts.items()}
    row = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": platform.machine(),
        "cores": os.cpu_count(),
        "batch_size": BATCH,
        "versions": installed_versions(),
        "seconds": round(time.perf_counter() - began, 1),
        **found,
    }
    write_json(path, row)
    print(json.dumps(found, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--requests", type=int, default=500, help="of part 2 (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="of part 1 (default %(default)s)")
    parser.add_argument("--text-server", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.text_server:
        return serve_texts(args.text_server)
    if args.out is None:
        parser.error("give --out")
    write(
        args.out,
        {
            "nano": lambda: nano_parts(args.requests, args.rounds),
            "openai": lambda: server_part(200),
        },
    )


if __name__ == "__main__":
    main()
