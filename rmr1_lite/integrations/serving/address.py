"""The address of a server: free, and reached without a proxy."""

from __future__ import annotations

import os
import socket

from rmr1_lite.types import InputError

LOCAL = ("127.0.0.1", "localhost", "::1")


def check_port(host: str, port: int) -> None:
    """Raises InputError for an address that the server could not listen on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            if os.name != "nt":  # there it would take the port from another program
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", "") or error
        raise InputError(f"{host}:{port}: {why}. Give another --port (or --host).") from None


def keep_off_proxies(root: str) -> None:
    """The client's library would send even requests to this machine through HTTP_PROXY."""
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "all_proxy")]
    if not proxies:
        return
    host = root.removeprefix("http://").rpartition(":")[0].strip("[]")
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if host in direct.replace(" ", "").split(",") or direct.strip() == "*":
        return
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (direct, host)))
    print(f"{proxies[0]} is set: other commands reach this server only with NO_PROXY={host}")
