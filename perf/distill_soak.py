"""The distillation client against a server that fails one request in five and is killed twice.

    python perf/distill_soak.py          # about two minutes on two cores: perf/results/distill-soak.json

2,000 chains, 16 requests in flight. The failures are those of public reports: overload, rate limits, a
proxy's page, half a body, a broken connection, an error inside a reply with status 200 or inside its choice.
The same command is restarted until it ends with status 0. Counted: chains stored, replies that the server
delivered for each of them, and the client's memory.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rmr1_lite.storage import write_json

RESULTS = Path(__file__).parent / "results" / "distill-soak.json"
CHAIN = (
    "<type>Chat</type><rubric>brevity<justify>it was asked for</justify></rubric>"
    "<eval>The first one is short.</eval><answer>[[{letter}]]</answer>"
)
FAILURES = ("500", "429", "503", "html", "half", "hang-up", "error in 200", "error in choice", "upstream 502")


# ---- the server


class Teacher(BaseHTTPRequestHandler):
    """Prefers the response that says RIGHT; a seeded fifth of the requests fails."""

    protocol_version = "HTTP/1.1"
    log: Path
    chance = random.Random(0)
    share = 0.2
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = body["messages"][-1]["content"]
        with self.lock:
            failure = self.chance.choice(FAILURES) if self.chance.random() < self.share else ""
        time.sleep(0.02)
        if failure:
            self.note("failed", failure)
            return self.fail(failure)
        number = said.split("number ")[1].split("?")[0]
        letter = "A" if said.find("RIGHT") < said.find("other") else "B"
        self.send(200, json.dumps(reply(CHAIN.format(letter=letter))))
        self.note("delivered", number)

    def fail(self, failure: str) -> None:
        if failure == "hang-up":
            self.close_connection = True
            self.connection.close()
        elif failure == "html":
            self.send(502, "<html>Bad Gateway</html>", "text/html")
        elif failure == "half":
            self.send(200, json.dumps(reply("x"))[:40])
        elif failure == "error in 200":
            self.send(200, json.dumps({"error": {"message": "upstream died", "code": 502}}))
        elif failure == "error in choice":
            self.send(200, json.dumps(reply("<type>Ch", "error")))
        else:
            status = int(failure[-3:])
            self.send(status, json.dumps({"error": {"message": "try later"}}))

    def send(self, status: int, text: str, kind: str = "application/json") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "20")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def note(self, kind: str, what: str) -> None:
        with self.lock, self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, what]) + "\n")

    def log_message(self, *_: Any) -> None:
        """Prints nothing."""


def reply(text: str, reason: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960}
    return {"choices": [{"index": 0, "finish_reason": reason, "message": message}], "usage": usage}


def serve(port: int, log: Path) -> None:
    Teacher.log = log
    Teacher.chance = random.Random(log.stat().st_size if log.exists() else 0)
    ThreadingHTTPServer(("127.0.0.1", port), Teacher).serve_forever()


# ---- the run


def start_server(port: int, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--serve", str(port), "--log", str(log)])


def write_pairs(path: Path, count: int) -> None:
    rows = [
        {
            "id": f"p{number}",
            "prompt": f"Which is right, number {number}?",
            "response_a": "RIGHT" if number % 2 else "other",
            "response_b": "other" if number % 2 else "RIGHT",
            "label": "A" if number % 2 else "B",
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def memory(pid: int) -> float:
    """MiB that a process holds; 0 once it is gone."""
    status = Path(f"/proc/{pid}/status")
    try:
        found = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS")]
    except OSError:
        return 0.0
    return int(found[0].split()[1]) / 1024 if found else 0.0


def run(folder: Path, count: int, concurrency: int, port: int) -> dict[str, Any]:
    pairs, out, log = folder / "pairs.jsonl", folder / "out", folder / "server.jsonl"
    write_pairs(pairs, count)
    command = [sys.executable, "-m", "rmr1_lite", "distill", "--pairs", str(pairs), "--out", str(out)]
    command += ["--teacher", "m", "--base-url", f"http://127.0.0.1:{port}/v1"]
    command += ["--concurrency", str(concurrency), "--max-retries", "2"]
    kills, server = [count // 3, 2 * count // 3], start_server(port, log)
    time.sleep(1.0)
    began, starts, samples = time.perf_counter(), [], []
    while len(starts) < 12:
        with (folder / "client.txt").open("w", encoding="utf-8") as screen:
            client = subprocess.Popen(command, stdout=screen, stderr=subprocess.STDOUT)
        while client.poll() is None:
            time.sleep(0.2)
            samples.append((lines(out / "attempts.jsonl"), memory(client.pid)))
            if kills and samples[-1][0] >= kills[0]:
                kills.pop(0)
                server.send_signal(signal.SIGKILL)
                server.wait()
        last = (
            (folder / "client.txt").read_text(encoding="utf-8").replace("\r", "\n").strip().splitlines()[-1]
        )
        starts.append(
            {"status": client.returncode, "stored": lines(out / "attempts.jsonl"), "said": last[:300]}
        )
        print(starts[-1], flush=True)
        if client.returncode == 0:
            break
        if server.poll() is not None:
            server = start_server(port, log)
            time.sleep(1.0)
    server.kill()
    return summary(out, log, starts, samples, count, time.perf_counter() - began)


def summary(
    out: Path, log: Path, starts: list[Any], samples: list[tuple[int, float]], count: int, seconds: float
) -> dict[str, Any]:
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    delivered = Counter(number for kind, number in told if kind == "delivered")
    stored = [json.loads(line) for line in (out / "attempts.jsonl").read_text(encoding="utf-8").splitlines()]
    keys = Counter((row["id"], row["order"], row["pass"]) for row in stored)
    held = [(at, size) for at, size in samples if size and at > 100]
    fifth = max(1, len(held) // 5)
    return {
        "chains wanted": count,
        "chains kept": lines(out / "chains.jsonl"),
        "replies stored": len(stored),
        "stored twice": sum(n > 1 for n in keys.values()),
        "delivered more than once": sum(n > 1 for n in delivered.values()),
        "delivered and not stored": sum(delivered.values()) - len(stored),
        "failures met": dict(Counter(what for kind, what in told if kind == "failed").most_common()),
        "starts": starts,
        "seconds": round(seconds, 1),
        "client MiB, most": round(max(size for _, size in held), 1),
        "client MiB, first and last fifth": [
            round(sum(size for _, size in part) / len(part), 1) for part in (held[:fifth], held[-fifth:])
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chains", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--port", type=int, default=8931)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve, given.log)
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), given.chains, given.concurrency, given.port)
    write_json(given.out, {"date": time.strftime("%Y-%m-%d"), **found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
