"""Serves a judge with an existing text server: find, check, start, judge one pair, watch, stop.

    serve(ServeRequest("runs/exports/judge"))

Called by `python -m rmr1_lite serve`. Returns when the user ends it, or after the first pair with check.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from rmr1_lite.environment import users_environment
from rmr1_lite.exit_status import PartlyDone
from rmr1_lite.integrations.serving.address import LOCAL, check_port, keep_off_proxies
from rmr1_lite.integrations.serving.commands import (
    ENGINES,
    KEY,
    KEY_VARIABLES,
    Launch,
    command_line,
    environment_for,
    variables,
)
from rmr1_lite.integrations.serving.export_first import export_for_serving
from rmr1_lite.integrations.serving.first_pair import judge_first_pair
from rmr1_lite.integrations.serving.plan import ServeRequest, find_program, has_vllm, plan_launch
from rmr1_lite.integrations.serving.process import (
    EVERY,
    Server,
    ServerEnded,
    ends_as_interrupts,
    running,
    served_names,
)
from rmr1_lite.integrations.serving.target import (
    Target,
    choose_engine,
    find_target,
    has_card,
    reusable,
)

SERVED = Path("runs/served")


def serve(request: ServeRequest) -> None:
    """Serve until the user ends it. Raises InputError for what cannot be served and when the server ends by
    itself, PartlyDone with `check` where the first pair has no verdict."""
    key = os.environ.get(KEY, "").strip()
    card = has_card()
    target = _find_or_export(request, card)
    if target is None:
        return  # the dry run of an export
    launch = plan_launch(request, target, card)
    command, environment = command_line(launch), environment_for(launch, key, users_environment())
    _announce(launch, target)
    if request.dry_run:
        _print_command(command, variables(launch, key))
        return
    check_port(launch.host, launch.port)
    keep_off_proxies(launch.root)
    log = SERVED / f"{launch.name}-{launch.engine}-{launch.port}.log"
    print(f"Its log: {log}", flush=True)
    ready = False
    try:
        with ends_as_interrupts(), running(command, environment, launch.root, log, key) as server:
            _wait(server, launch, request.wait, key)
            first = judge_first_pair(launch, target)
            server.check_alive()
            print("\n".join(first.lines))
            print(usage(launch, target, key), flush=True)
            ready = True
            if not request.check:
                print("Serving. Ctrl-C ends it.", flush=True)
                server.watch()
    except KeyboardInterrupt:
        print("\nStopped.")
        sys.exit(0 if ready else 130)
    if not first.parsed:
        raise PartlyDone("the first pair has a judge call without a verdict, see its text above")


def usage(launch: Launch, target: Target, key: str = "") -> str:
    """The judge spec with its options, ready to be copied."""
    options = [f"--judge {shlex.quote(launch.spec)}", f"--reading {target.reading}"]
    options.insert(1, f"--style {target.style}" if target.style != "auto" else "")
    options.append(f"--thinking {target.thinking}" if target.thinking != "auto" else "")
    options.append(f"--max-new-tokens {target.max_new_tokens}")
    lines = ["Use it with:", "  " + " ".join(filter(None, options))]
    if key:
        lines.append(f"  and the key of {KEY} in OPENAI_API_KEY")
    if launch.host not in LOCAL:
        lines.append("  from another machine: this one's name instead of the address")
    return "\n".join(lines)


def _find_or_export(request: ServeRequest, card: bool) -> Target | None:
    """The judge's files, exported first where there are none; None if that was only a dry run."""
    found = find_target(request.judge, request.style, request.reading, request.name)
    if found is not None:
        return found
    engine, why = choose_engine(request.engine, None, card, has_vllm())
    find_program(engine)  # a missing program is known before the export
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", request.judge).strip("-.")
    out = request.export_to or SERVED / f"{name}-{engine}"
    info = reusable(out, request.judge, ENGINES[engine].forms)
    if info is not None:
        print(f"Reusing the export in {out} ({info.form}, {info.number_type})")
    elif request.dry_run:
        print(f"{request.judge} would be exported into {out} for {engine} ({why}), and served from there.")
        return None
    else:
        print(f"Exporting {request.judge} into {out} for {engine} ({why})", flush=True)
        out = export_for_serving(request.judge, engine, out)
    return find_target(str(out), request.style, request.reading, request.name)


def _announce(launch: Launch, target: Target) -> None:
    """What a user might not expect."""
    if target.limit > launch.context and launch.engine != "transformers":
        print(f"Context: {launch.context} of the model's {target.limit} tokens (--context changes it)")
    if launch.host not in LOCAL:
        print(f"Other machines can reach this server: it listens on {launch.host}.")
    if target.trained_style not in ("", target.style):
        print(f"The judge was trained on the style {target.trained_style}, not {target.style}: expect less.")
    if target.form == "base":
        print("This is a base without its adapter: it was not trained to judge.")


def _print_command(command: list[str], set_here: dict[str, str]) -> None:
    """For a shell; a key only by the name of its variable."""
    keys = KEY_VARIABLES.values()
    for name, value in set_here.items():
        print(f'{name}="${KEY}" \\' if name in keys else f"{name}={shlex.quote(value)} \\")
    print(shlex.join(command))


def _wait(server: Server, launch: Launch, limit: float, key: str) -> None:
    """Wait for the server, with a line that counts the seconds; then see that it is ours."""
    terminal, due = sys.stdout.isatty(), [EVERY]

    def say(seconds: float) -> None:
        if terminal:
            print(f"\rStarting {launch.engine}: {seconds:.0f} s", end="", flush=True)
        elif seconds >= due[0]:
            due[0] += EVERY
            print(f"Starting {launch.engine}: {seconds:.0f} s", flush=True)

    try:
        server.wait_until_ready(limit, say)
    finally:
        if terminal:
            print()
    names = served_names(launch.root, key) if ENGINES[launch.engine].lists_name else [launch.model_name]
    if launch.model_name not in names:
        shown = ", ".join(names) or "no model"
        raise ServerEnded(
            f"What answers on port {launch.port} is not the server that was started: it has {shown}. "
            "Give another --port."
        )
    print(f"{launch.engine} answers on {launch.root}/v1")
