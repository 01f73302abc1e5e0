"""The full parity gate: the exported folder behind the server that people use, asked through the kit's own
client."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from rmr1_lite.environment import users_environment
from rmr1_lite.integrations.export.gate import Protocol
from rmr1_lite.integrations.export.parity import Calls
from rmr1_lite.integrations.serving.address import keep_off_proxies
from rmr1_lite.integrations.serving.commands import command_line, environment_for
from rmr1_lite.integrations.serving.plan import ServeRequest, plan_launch
from rmr1_lite.integrations.serving.process import running
from rmr1_lite.integrations.serving.target import find_target, has_card
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.types import InputError

START = 1800.0  # seconds for the first answer


def served_calls(protocol: Protocol, folder: Path, engine: str, extra: tuple[str, ...] = ()) -> Calls:
    """The calls of a finished folder's judge behind `engine`. Its log stays next to the folder if it does
    not start. extra: arguments of the server."""
    target = find_target(str(folder), protocol.style, protocol.reading)
    if target is None:
        raise InputError(f"{folder} is not an export.")
    request = ServeRequest(str(folder), engine, port=free_port(), extra=extra)
    launch = plan_launch(request, target, has_card())
    keep_off_proxies(launch.root)
    log = folder.with_name(f"{folder.name}.{engine}.log")
    environment = environment_for(launch, "", users_environment())
    with running(command_line(launch), environment, launch.root, log) as server:
        server.wait_until_ready(START)
        judge = make_judge(
            launch.spec, protocol.style, protocol.reading, **{**vars(protocol.sampling), "seed": 0}
        )
        calls = protocol.calls(judge, f"after, served by {engine}")
    os.unlink(log)
    return calls


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
