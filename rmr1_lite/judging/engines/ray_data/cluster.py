"""A Ray cluster to run on: the one that RAY_ADDRESS names, else a new one on this machine.

Ray waits in silence for resources that a cluster does not have, so they are compared first.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rmr1_lite.extras import need
from rmr1_lite.types import InputError

ADDRESS = "RAY_ADDRESS"


@contextmanager
def running_cluster(needed: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Connect to a cluster, quietly; yields its resources. needed: what the smallest run takes.

    A cluster that was started here ends with the block. Raises InputError where Ray is not installed, cannot
    be reached, or has less than `needed`.
    """
    need("ray", "aiohttp")
    # read by Ray when it starts: no report to its makers, no lines of its C++ side
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # a vLLM whose worker was killed would keep the memory that the next worker needs
    os.environ.setdefault("RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper", "true")
    import ray

    own = not ray.is_initialized()
    with _quiet():
        try:
            if own:
                _start(ray)
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            resources = ray.cluster_resources()
            check(resources, needed)
            if taken := lacking(ray.available_resources(), needed):
                print(f"Others use the Ray cluster: this run begins when {', '.join(taken)} is free.")
            yield resources
        finally:
            if own:
                ray.shutdown()


def check(resources: Mapping[str, float], needed: Mapping[str, float]) -> None:
    """Raises InputError that names every resource of which the cluster has too little."""
    if short := lacking(resources, needed):
        raise InputError(
            f"The Ray cluster is too small: this judge needs {', '.join(short)}. Start Ray on a larger "
            f"machine, or name another cluster in {ADDRESS}."
        )


def lacking(resources: Mapping[str, float], needed: Mapping[str, float]) -> list[str]:
    """Every resource of which there is too little, with both amounts."""
    return [
        f"{name} {amount:g} (now {resources.get(name, 0):g})"
        for name, amount in needed.items()
        if resources.get(name, 0) < amount
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """No plans and advice of Ray's beside the kit's own lines: its loggers set their levels by themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # an error of a run is raised too
    try:
        yield
    finally:
        logging.disable(before)


def check_address(address: str) -> None:
    """Raises InputError for a HOST:PORT where nothing listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"No Ray cluster answers at {ADDRESS}={address} ({error}). Give the address that `ray start "
            "--head` printed there, or leave the variable out for a cluster of this machine alone."
        ) from None


def _start(ray: Any) -> None:
    address = os.environ.get(ADDRESS, "")
    check_address(address)
    silent = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address:
            ray.init(address=address, **silent)
        else:
            # a number that is told to Ray; its smallest pipeline takes two slots, also on one core
            slots = max(2, os.cpu_count() or 1)
            ray.init(address="local", num_cpus=slots, include_dashboard=False, **silent)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"at {ADDRESS}={address}" if address else "on this machine"
        raise InputError(f"Ray did not start {where}: {error}. Check it with `ray status`.") from None
