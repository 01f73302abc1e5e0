"""Make chains with any teacher behind an OpenAI-compatible server, in the paper's two passes (section 3.1).

    pass 1   every labelled pair, in one seeded order; kept when the strict reading gives the right verdict
    pass 2   pairs that pass 1 got wrong, given the right verdict (optionally with a stronger teacher). Unlike
             in the original, its chains are parsed again, and one that reveals the given verdict is not kept
    pass 3   only with rewrite: the same request once more, naming the words that revealed it

    python -m rmr1_lite distill --pairs pairs.jsonl --teacher MODEL --base-url http://127.0.0.1:8000/v1 \\
        --out runs/distilled

Every reply is stored the moment it arrives (attempts.jsonl), so a run that was stopped, by a kill or by
its budget, resumes without asking twice. Failed requests (no reply) are retried. Written at the
end: chains.jsonl for `sft`, published.jsonl in the schema of the published set, and stats.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rmr1_lite.config import DistillConfig
from rmr1_lite.data.chains import Chain, write_chains
from rmr1_lite.data.rows import pair_digest
from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.prompts import judge_messages, oracle_messages, pair_as_shown
from rmr1_lite.storage import JsonlLog, atomic_write_text, json_line, same_settings, write_json
from rmr1_lite.training.distill.attempts import (
    CHAINS,
    FIRST,
    REWRITE,
    SECOND,
    Task,
    count_by_pass,
    describe_stats,
    kept_chains,
    make_attempt,
)
from rmr1_lite.training.distill.budget import Budget
from rmr1_lite.training.distill.preparation import (
    Teacher,
    check_request,
    make_engines,
    prices_of_pass,
    print_estimate,
    read_tasks,
)
from rmr1_lite.types import EngineStopped, Generation, InputError

ATTEMPTS, PUBLISHED, STATS, SETTINGS = "attempts.jsonl", "published.jsonl", "stats.json", "distill.json"
KEY = ("id", "order", "pass")
GAVE_AWAY = "Your last try gave away that you knew the verdict, by the words"
# may change between two calls of one run: they affect how fast and how far it goes, not what a reply is
# worth
FREE = (
    "out",
    "pairs",
    "concurrency",
    "budget",
    "limit",
    "timeout",
    "max_retries",
    "rewrite",
    "price_in",
    "price_out",
    "second_price_in",
    "second_price_out",
    "base_url",
    "second_base_url",
    "api_key_env",
    "second_api_key_env",
    "via",
)
PAID_FOR = (
    "filtered",
    "clipped",
)  # failures after an answer was generated: stored, so that it is not paid for twice


def distill(config: DistillConfig) -> dict[str, Any]:
    """Write chains, or resume writing them; returns the statistics. Raises InputError before anything is paid
    for."""
    check_request(config)
    tasks, out = read_tasks(config), Path(config.out)
    engines = make_engines(config)
    _keep_settings(config, tasks, out / SETTINGS)
    with JsonlLog(out / ATTEMPTS, KEY) as log:
        _check_same(tasks, log)
        budget = Budget(config.budget, log)
        print_estimate(config, tasks, log, budget)
        failed: Counter[str] = Counter()
        try:
            for number in (FIRST, SECOND, REWRITE) if config.rewrite else (FIRST, SECOND):
                failed += _one_pass(config, number, tasks, engines, log, budget)
        finally:  # whatever stops the run, paid replies are written out
            stats = _write_outputs(config, tasks, log, budget, failed, out)
    print(describe_stats(stats))
    return stats


def _keep_settings(config: DistillConfig, tasks: Sequence[Task], path: Path) -> None:
    """Refuse to mix two runs in one folder."""
    # every pair of the file, so that a later call may take more of them with another limit
    now = {name: value for name, value in asdict(config).items() if name not in FREE}
    same_settings(path, now)
    write_json(path, now)


def _check_same(tasks: Sequence[Task], log: JsonlLog) -> None:
    """A reply belongs to the texts it was written for, not to an id."""
    for task in tasks:
        key = (task.pair.id, task.order, FIRST)
        if key in log and log.get(key)["digest"] != pair_digest(task.pair):
            raise InputError(
                f"{log.path} holds a reply to different texts under the id {task.pair.id!r:.80}: the pairs "
                f"have changed since. Give another --out, or the original pairs."
            )


def _one_pass(
    config: DistillConfig,
    number: int,
    tasks: Sequence[Task],
    engines: dict[int, Teacher],
    log: JsonlLog,
    budget: Budget,
) -> Counter[str]:
    """Send this pass's remaining requests; returns how many failed, by reason."""
    from tqdm import tqdm

    todo = [(task, asked) for task in tasks if (asked := _next_request(config, number, task, log))]
    failed: Counter[str] = Counter()
    sampling = Sampling(config.temperature, config.max_new_tokens, seed=config.seed)
    prices = prices_of_pass(config, number)
    right, last = 0, ""
    with tqdm(total=len(todo), desc=f"pass {number}", unit="chain") as bar:
        at = 0
        # batch files hold all requests of a pass; a server gets a window of them, so that the budget holds
        while window := todo[at : at + (len(todo) if config.via == "batch" else 4 * config.concurrency)]:
            window = window[
                : budget.affordable([asked for _, asked in window], prices, config.max_new_tokens)
            ]
            if not window:
                break
            at += len(window)
            for task, asked, generation in _ask_teacher(engines[number], window, sampling):
                if generation.too_long or generation.error and generation.problem not in PAID_FOR:
                    failed["too long" if generation.too_long else _failure_kind(generation.error or "")] += 1
                    last = generation.error or last
                else:
                    row = make_attempt(task, number, asked, generation, prices, config.style)
                    log.append(row)
                    budget.pay(row, asked.messages)
                    right += row["kept"]
                bar.update()
                bar.set_postfix_str(f"kept {right}, failed {failed.total()}, spent {budget.spent:.2f}")
        if last:
            bar.write(f"pass {number}: {failed.total()} requests failed, the last one with {last}")
        if at < len(todo):
            print(
                f"The budget of {config.budget:g} does not cover another reply: pass {number} stops with "
                f"{len(todo) - at} requests not sent. Give a larger --budget to continue."
            )
    return failed


def _ask_teacher(
    engine: Teacher, window: Sequence[tuple[Task, Request]], sampling: Sampling
) -> Iterator[tuple[Task, Request, Generation]]:
    """Answers as they arrive. Raises EngineStopped after the last one when others cannot come, AnswersPending
    when they have not come yet."""
    try:
        if isinstance(engine, OpenAIEngine):
            yield from _ask_server(engine, window, sampling)
            if engine.stopped:
                raise EngineStopped(engine.stopped)
        else:
            for index, made in engine.generate([asked for _, asked in window], sampling):
                yield *window[index], made
    except EngineStopped as error:
        raise type(error)(f"{error} Stored replies are kept; the same command continues.") from None


def _ask_server(
    engine: OpenAIEngine, window: Sequence[tuple[Task, Request]], sampling: Sampling
) -> Iterator[tuple[Task, Request, Generation]]:
    """Answers as they arrive, fewer once the engine has stopped. An interruption waits for those in flight:
    they are being paid for, and are yielded before it continues."""
    pool = ThreadPoolExecutor(engine.concurrency)
    waiting = {
        pool.submit(engine.ask_unless_stopped, asked, sampling): (task, asked) for task, asked in window
    }
    stopped: BaseException | None = None
    try:
        while waiting:
            try:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt as error:
                if stopped:
                    raise
                print("\nStopping: waiting for the requests in flight (press again to abandon them).")
                stopped = error
                waiting = {future: of for future, of in waiting.items() if not future.cancel()}
                continue
            for future in done:
                asked_for, generation = waiting.pop(future), future.result()
                if isinstance(generation, Generation):
                    yield *asked_for, generation
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if stopped:
        raise stopped


def _next_request(config: DistillConfig, number: int, task: Task, log: JsonlLog) -> Request | None:
    """The request of this pass, None when there is none (any more)."""
    key = (task.pair.id, task.order)
    if (*key, number) in log:
        return None
    pair = pair_as_shown(task.pair, task.order)
    if number == FIRST:
        return Request(task.pair.id, task.order, tuple(judge_messages(pair, config.style)))
    before = log.get((*key, number - 1)) if (*key, number - 1) in log else None
    if before is None or before["kept"] or not log.get((*key, FIRST))["text"]:
        return None
    if before["status"] == "clipped":  # the next prompt is longer still
        return None
    failed_chain = log.get((*key, FIRST))["text"]
    asked = oracle_messages(pair, failed_chain, config.style)
    if number == REWRITE:
        if not before["told"]:
            return None
        asked[-1]["content"] += f"\n\n{GAVE_AWAY} “{before['told']}”. Leave such words out."
    return Request(task.pair.id, task.order, tuple(asked), vote=number - 1)


def _failure_kind(error: str) -> str:
    """Only the kind of error: a server's own words may repeat what was sent to it."""
    return error.partition(":")[0][:60]


def _write_outputs(
    config: DistillConfig,
    tasks: Sequence[Task],
    log: JsonlLog,
    budget: Budget,
    failed: Counter[str],
    out: Path,
) -> dict[str, Any]:
    """Write chains.jsonl, published.jsonl and stats.json from the stored replies."""
    good = [(task, row) for task in tasks if (row := kept_chains(task, log))]
    write_chains(out / CHAINS, [Chain(task.pair, task.order, row["text"]) for task, row in good])
    rows = (
        {
            "context_messages": judge_messages(pair_as_shown(task.pair, task.order), config.style),
            "winner": row["text"],
        }
        for task, row in good
    )
    atomic_write_text(out / PUBLISHED, "".join(map(json_line, rows)))
    stats = {
        "wanted": len(tasks),
        "kept": len(good),
        "spent": round(budget.spent, 6),
        "failed": dict(failed),
        "passes": count_by_pass(tasks, log),
        "out": str(out),
    }
    write_json(out / STATS, stats)
    return stats
