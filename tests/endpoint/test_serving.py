"""The judge endpoint under many clients and faults: batches, hang-ups, a full queue, time-outs, failures, the
stop, and what is counted."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fixtures import endpoint as fake
from fixtures.judge_endpoint import judge_of, pair_body, running_endpoint, scripted, until
from fixtures.scripted import A, B

from rmr1_lite import load_judge
from rmr1_lite.endpoint.metrics import BUCKETS, FAMILIES, Metrics, sample
from rmr1_lite.types import STATUSES, EngineStopped, Generation, InputError


class Client:
    """Requests from threads; `held` sends one and gives its future."""

    def __init__(self, running) -> None:
        self.running, self.pool = running, ThreadPoolExecutor(64)

    def send(self, number: int, **more):
        return self.pool.submit(self.running.post, "/compare", pair_body(number, **more))

    def hang_up(self, number: int) -> socket.socket:
        """A connection whose request is sent; closing it is the hang-up."""
        body = json.dumps(pair_body(number)).encode()
        host, port = self.running.url.removeprefix("http://").split(":")
        client = socket.create_connection((host, int(port)))
        head = "POST /compare HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        return client


@pytest.fixture
def held():
    """(running, client, engine) with an engine that is held, one request at the judge, two may wait."""
    engine = scripted()
    with running_endpoint(judge_of(engine), queue=2) as running:
        client = Client(running)
        engine.free.clear()
        client.first = client.send(0)
        until(lambda: engine.batches)
        yield running, client, engine
        engine.free.set()
        client.pool.shutdown()


@pytest.mark.parametrize("here", [True, False], ids=["a model in this process", "a judge behind a server"])
def test_forty_at_once_get_their_own_answers(here):
    engine = scripted(here=here)
    with running_endpoint(judge_of(engine), batch_size=16, concurrency=4) as running:
        client = Client(running)
        engine.free.clear()
        sent = [client.send(number) for number in range(40)]
        until(lambda: len(running.desk.waiting) + len(running.desk.working) == 40)
        engine.free.set()
        replies = [future.result().json() for future in sent]
        for number, reply in enumerate(replies):
            assert reply["winner"] == ("A" if number % 2 == 0 else "B")
            assert all(f"task-{number}-end" in call["text"] for call in reply["calls"])
        assert sum(engine.batches) == 80 and max(engine.asked.values()) == 1
        # a local model's are shared and never too long; a server's are one request each
        assert max(engine.batches) <= 16 if here else set(engine.batches) == {2}
        assert len(engine.batches) <= 6 if here else len(engine.batches) == 40
        assert running.count("judge_calls", status="ok") == 80


def test_requests_with_other_options_do_not_share_a_batch(held):
    running, client, engine = held
    one = client.send(1, both_orders=False)
    until(lambda: len(running.desk.waiting) == 1)
    two = client.send(2)
    until(lambda: len(running.desk.waiting) == 2)
    engine.free.set()
    assert [len(future.result().json()["calls"]) for future in (client.first, one, two)] == [2, 1, 2]
    assert engine.batches == [2, 1, 2]


def test_equal_pairs_of_two_clients_are_judged_and_counted_once(held):
    running, client, engine = held
    twice = [client.send(1), client.send(1)]
    until(lambda: len(running.desk.waiting) == 2)
    engine.free.set()
    assert [future.result().json()["winner"] for future in twice] == ["B", "B"]
    assert engine.batches == [2, 2] and running.count("judge_calls") == 4


def test_a_client_that_hangs_up_leaves_the_queue(held):
    running, client, engine = held
    gone = client.hang_up(5)
    until(lambda: len(running.desk.waiting) == 1)
    other = client.send(6)
    until(lambda: len(running.desk.waiting) == 2)
    gone.close()
    until(lambda: len(running.desk.waiting) == 1)
    engine.free.set()
    assert (client.first.result().status_code, other.result().status_code) == (200, 200)
    assert engine.batches == [2, 2], "nobody was judged for the client that left"
    assert (running.count("abandoned"), running.count("requests")) == (1, 2)
    assert "/compare hung up" in running.log


def test_a_client_that_hangs_up_at_the_judge_is_abandoned_and_its_calls_count():
    engine = scripted()
    with running_endpoint(judge_of(engine)) as running:
        engine.free.clear()
        gone = Client(running).hang_up(5)
        until(lambda: engine.batches)
        gone.close()
        until(lambda: running.count("abandoned") == 1)
        engine.free.set()
        assert running.post("/compare", pair_body(6)).status_code == 200
        assert (running.count("requests"), running.count("judge_calls")) == (1, 4)


def test_a_full_queue_says_when_to_come_back(held):
    running, client, engine = held
    waiting = [client.send(number) for number in (1, 2)]
    until(lambda: len(running.desk.waiting) == 2)
    reply = running.post("/compare", pair_body(3))
    assert (reply.status_code, reply.json()["error"]["type"]) == (429, "queue_full")
    assert int(reply.headers["retry-after"]) >= 1
    engine.free.set()
    assert [future.result().status_code for future in (client.first, *waiting)] == [200] * 3


def test_bodies_on_their_way_fill_the_queue_too():
    """Slow clients may not pile up bodies in memory."""
    with running_endpoint(judge_of(scripted()), queue=2) as running:
        host, port = running.url.removeprefix("http://").split(":")
        head = b"POST /compare HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        slow = [socket.create_connection((host, int(port))) for _ in range(2)]
        for client in slow:
            client.sendall(head + b"content-length: 100\r\n\r\n{")
        until(lambda: running.server.gate.reading == 2)
        assert running.post("/compare", pair_body(3)).status_code == 429
        for client in slow:
            client.close()
        until(lambda: running.count("abandoned") == 2)
        assert running.post("/compare", pair_body(3)).status_code == 200


def test_the_time_of_a_request_ends_whether_it_waits_or_is_judged():
    engine = scripted()
    with running_endpoint(judge_of(engine), timeout=1.0) as running:
        client = Client(running)
        engine.free.clear()
        late = [client.send(number) for number in (0, 1)]
        for future in late:
            assert (future.result().status_code, future.result().json()["error"]["type"]) == (504, "timeout")
        assert not running.desk.waiting
        engine.free.set()
        until(lambda: not running.desk.working)
        assert running.post("/compare", pair_body(2)).status_code == 200


def test_a_body_that_does_not_arrive_is_not_waited_for_forever():
    with running_endpoint(judge_of(scripted()), timeout=0.3) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            head = b"POST /compare HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            client.sendall(head + b"content-length: 100\r\n\r\n{")
            assert client.recv(100).startswith(b"HTTP/1.1 408")


# ---- a judge that fails


def stopped(request):
    raise EngineStopped("http://x/v1: the key is wrong. Set OPENAI_API_KEY.")


def broken(request):
    if "task-3-end" in request.messages[-1]["content"]:
        raise RuntimeError("a message that quotes task-3-end")
    return A


def failing(request):
    return Generation("", finished=False, error="500: try later")


def half_failing(request):
    return A if request.order == "ab" else failing(request)


FAILURES = [
    (stopped, 502, "the key is wrong", "engine_stops", "its server cannot go on"),
    (failing, 502, "All 2 judge calls failed: 500: try later", "judge_calls", "every call fails"),
    (broken, 500, "RuntimeError", "batches", "a defect, whose message may quote a text"),
]


@pytest.mark.parametrize(
    ("say", "status", "words", "counted", "reason"), FAILURES, ids=[r[-1] for r in FAILURES]
)
def test_a_failure_of_the_judge_is_told(say, status, words, counted, reason):
    with running_endpoint(judge_of(scripted(say))) as running:
        error = running.post("/compare", pair_body(3)).json()["error"]
        reply = running.post("/rank", {"prompt": "task-3-end", "responses": ["x", "y"]})
        assert words in error["message"] and reply.status_code == status
        assert running.count(counted) > 0 and "task-3-end" not in running.log + error["message"]
        assert running.count("judge_calls", status="error") == (4 if say is failing else 0)


def test_a_call_that_fails_beside_one_that_does_not_is_a_result():
    with running_endpoint(judge_of(scripted(half_failing))) as running:
        reply = running.post("/compare", pair_body(2))
        assert (reply.status_code, reply.json()["winner"]) == (200, None)
        assert "500: try later" in reply.json()["reason"]


def test_a_server_that_refuses_every_request_is_quoted_until_it_is_repaired(monkeypatch):
    """The real engine, asked by eight at once: each gets the words, none an error of ours."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-of-ours")
    with fake.serving() as texts:
        texts.answers = lambda body: (401, {"error": {"message": "the key sk-a-secret-of-ours is wrong"}})
        texts.writes = lambda body: A if body["messages"][-1]["content"].find("GOOD") >= 0 else B
        judge = load_judge(f"openai:m@{texts.url}", style="compact")
        with running_endpoint(judge) as running:
            client = Client(running)
            for reply in [future.result() for future in [client.send(number) for number in range(8)]]:
                said = reply.json()["error"]["message"]
                assert reply.status_code == 502 and "the key *** is wrong" in said
                assert "sk-a-secret" not in said + running.log
            assert 0 < running.count("engine_stops") <= 8
            texts.answers = lambda body: None
            assert client.send(2).result().json()["calls"][0]["status"] == "ok"


def test_a_pair_that_breaks_its_batch_breaks_only_itself(held):
    running, client, engine = held
    engine.say = broken
    both = [client.send(3), client.send(4)]
    until(lambda: len(running.desk.waiting) == 2)
    engine.free.set()
    assert [future.result().status_code for future in both] == [500, 200]
    until(lambda: "error RuntimeError at" in running.log)  # its place is logged behind the answer


# ---- beginning and end


def test_while_the_judge_loads_requests_are_told_so_and_health_answers():
    go = threading.Event()

    def load():
        go.wait(10)
        return judge_of(scripted())

    with running_endpoint(load) as running:
        until(lambda: hasattr(running.server, "gate"))
        health = httpx.get(f"{running.url}/health")
        assert (health.status_code, health.json()["loading"], health.json()["ready"]) == (503, True, False)
        reply = running.post("/compare", pair_body(1))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
        go.set()
        until(lambda: httpx.get(f"{running.url}/health").status_code == 200)
        assert running.post("/compare", pair_body(1)).status_code == 200


def test_a_judge_that_does_not_load_ends_the_endpoint():
    def load():
        raise InputError("nowhere does not exist")

    with running_endpoint(load) as running:
        running.thread.join(10)
        assert not running.thread.is_alive() and "nowhere" in str(running.server.failure)


def test_a_stop_finishes_what_is_under_way_and_takes_nothing_new(held):
    running, client, engine = held
    waiting, idle = client.send(1), httpx.Client()
    assert idle.get(f"{running.url}/health").status_code == 200  # an idle connection must not hold the stop
    until(lambda: running.desk.waiting)
    running.stop()
    until(lambda: running.desk.stopping)
    assert running.post("/compare", pair_body(2)).json()["error"]["type"] == "not_ready"
    engine.free.set()
    assert [client.first.result().status_code, waiting.result().status_code] == [200, 200]
    began = time.monotonic()
    running.thread.join(10)
    assert time.monotonic() - began < 5 and running.server.dropped == 0
    assert running.server.farewell().startswith("Stopped: 4 requests answered, 0 abandoned")
    with pytest.raises(httpx.TransportError):
        running.post("/compare", pair_body(3))


@pytest.mark.parametrize(
    ("grace", "signals", "reason"), [(0.2, 1, "its time is over"), (60, 2, "a second signal")]
)
def test_a_stop_has_an_end_and_clients_are_told(grace, signals, reason):
    engine = scripted()
    with running_endpoint(judge_of(engine), grace=grace) as running:
        engine.free.clear()
        late = Client(running).send(0)
        until(lambda: engine.batches)
        for _ in range(signals):
            running.stop()
        running.thread.join(10)
        assert not running.thread.is_alive() and running.server.dropped == 1
        if signals == 1:
            assert "Send it again" in late.result().json()["error"]["message"]
        engine.free.set()


def test_what_a_client_left_half_done_does_not_hold_the_stop():
    """Half a request, a request that nobody waits for any more, and an answer that nobody reads."""
    engine = scripted(lambda request: A + "x" * 4_000_000)
    with running_endpoint(judge_of(engine)) as running:
        client = Client(running)
        unread, half = client.hang_up(8), client.hang_up(9)
        until(lambda: running.count("requests") == 2)
        half.sendall(b"GET /health HTTP/1.1\r\nho")
        engine.free.clear()
        late = client.hang_up(7)
        until(lambda: running.desk.working)
        late.close()
        until(lambda: running.count("abandoned") == 1)
        began = time.monotonic()
        running.stop()
        running.thread.join(10)
        assert not running.thread.is_alive() and time.monotonic() - began < 8
        assert (running.server.dropped, running.server.busy) == (0, True)
        engine.free.set()
        unread.close(), half.close()


def test_pipelined_requests_are_answered_in_order():
    with running_endpoint(judge_of(scripted())) as running:
        client = Client(running).hang_up(1)
        body = json.dumps(pair_body(2)).encode()
        head = "POST /compare HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        client.sendall(f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        assert re.findall(r'"winner":"(\w)","agreement"', said) == ["B", "A"]


# ---- what is counted

LINE = re.compile(r'(rmr1_\w+)(\{\w+="(?:[^"\\\n]|\\["\\n])*"(?:,\w+="(?:[^"\\\n]|\\["\\n])*")*\})? (\S+)')


def read_metrics(text: str) -> dict[str, float]:
    """Sample -> value, read as strictly as the format is defined: every sample below its HELP and TYPE."""
    found, family, kind = {}, "", ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family and (kind := line.split()[3]) in (
                "counter",
                "gauge",
                "histogram",
            )
        else:
            parts = LINE.fullmatch(line)
            assert parts, line
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            assert parts[1] in [family + end for end in ends]
            assert f"{parts[1]}{parts[2] or ''}" not in found, "a sample appears once"
            found[f"{parts[1]}{parts[2] or ''}"] = float(parts[3])
    return found


def flip(request):
    """Prefers the first position in pair 1 and where neither is GOOD, and reads nothing in pair 4."""
    said = request.messages[-1]["content"]
    if "task-4-end" in said:
        return "both are fine"
    return A if "task-1-end" in said or said.find("GOOD") < said.find("BAD") else B


def test_metrics_are_what_happened():
    with running_endpoint(judge_of(scripted(flip))) as running:
        zeros = read_metrics(httpx.get(f"{running.url}/metrics").text)
        assert all(zeros[f'rmr1_judge_calls_total{{status="{status}"}}'] == 0 for status in STATUSES)
        for number in range(6):
            running.post("/compare", pair_body(number))
        running.post("/compare", pair_body(1, both_orders=False))
        running.post("/rank", {"prompt": "task-2-end", "responses": ["GOOD", "BAD", "BAD BAD"]})
        running.post("/compare", {})
        for path in ("/a", "/b?prompt=text", "/compare/"):
            httpx.get(f"{running.url}{path}")
        reply = httpx.get(f"{running.url}/metrics")
        found = read_metrics(reply.text)
        until(lambda: running.log.count("\n") == 14)
        log = running.log
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert found['rmr1_requests_total{route="/compare",status="200"}'] == 7
    assert found['rmr1_requests_total{route="/compare",status="422"}'] == 1
    assert found['rmr1_requests_total{route="other",status="404"}'] == 3
    assert found['rmr1_judge_calls_total{status="ok"}'] == 5 * 2 + 1 + 6
    assert found['rmr1_judge_calls_total{status="missing"}'] == 2 == found["rmr1_unparsed_judge_calls_total"]
    assert (found["rmr1_pairs_both_orders_total"], found["rmr1_order_flips_total"]) == (9, 2)
    assert found["rmr1_request_seconds_count"] == 9
    assert found["rmr1_judge_call_seconds_count"] == found['rmr1_judge_call_seconds_bucket{le="+Inf"}'] == 19
    assert (found["rmr1_queue_length"], found["rmr1_in_flight"], found["rmr1_ready"]) == (0, 0, 1)
    lines = log.splitlines()
    assert lines[1].startswith("POST /compare 200 ") and "2 judge calls" in lines[1]
    assert "text" not in log and "task" not in log


def test_a_histogram_is_cumulative_and_a_label_is_escaped():
    metrics = Metrics()
    metrics.gauges = {name: lambda: 0 for name, each in FAMILIES.items() if each.kind == "gauge"}
    for seconds in (0.05, 0.06, 4.0, 1000.0):
        metrics.observe("rmr1_request_seconds", seconds)
    found = read_metrics(metrics.text())
    counts = [found[f'rmr1_request_seconds_bucket{{le="{limit}"}}'] for limit in (*BUCKETS, "+Inf")]
    assert counts == sorted(counts) and (counts[0], counts[-2], counts[-1]) == (1, 3, 4)
    assert found["rmr1_request_seconds_sum"] == pytest.approx(1004.11)
    assert sample("rmr1_x", {"a": 'b"\\\n'}, 1) == 'rmr1_x{a="b\\"\\\\\\n"} 1'


def test_prometheus_own_parser_reads_them():
    from prometheus_client import parser

    with running_endpoint(judge_of(scripted(flip))) as running:
        running.post("/compare", pair_body(1))
        families = {each.name: each for each in parser.text_string_to_metric_families(
            httpx.get(f"{running.url}/metrics").text)}  # fmt: skip
    # the parser takes `_total` off a counter's name
    assert set(families) == {name.removesuffix("_total") for name in FAMILIES}
    assert all(families[name.removesuffix("_total")].type == each.kind for name, each in FAMILIES.items())
