"""The page's address: from the options, else from Gradio's environment variables, else this machine only.

On a Space the page must listen on all addresses at port 7860; it does so there unless configured
otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rmr1_lite.types import InputError

LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
PORT = 7860
SPACE = "SPACE_ID"  # of a public Space
NAME_VARIABLE, PORT_VARIABLE = "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"
ROOT_VARIABLE = "GRADIO_ROOT_PATH"
_ROOT = re.compile(r"(https?://[^\s/?#]+)?(/[^\s?#]*)?")


@dataclass(frozen=True)
class Address:
    """host and port to listen on (port None: the first free one), root_path: the path that a proxy serves it
    under."""

    host: str
    port: int | None
    root_path: str = ""

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the page: a local name, and no proxy in front of it."""
        return self.host in LOCAL and not self.root_path


def choose_address(
    host: str | None = None, port: int | None = None, environment: Mapping[str, str] = os.environ
) -> Address:
    """The address of the given options; None takes the variable, then the default. Raises InputError that
    names the variable whose value cannot be used."""
    given = {
        name: environment.get(name, "").strip() for name in (NAME_VARIABLE, PORT_VARIABLE, ROOT_VARIABLE)
    }
    if host is None:
        host = _check_name(given[NAME_VARIABLE]) or ("0.0.0.0" if SPACE in environment else LOCAL[0])
    if port is None:
        port = _check_port(given[PORT_VARIABLE]) or (PORT if SPACE in environment else None)
    return Address(host, port, _check_root(given[ROOT_VARIABLE]))


def _check_name(value: str) -> str:
    if value and (re.search(r"[\s/?#@]", value) or re.search(r"[^:]:\d+$", value) and value.count(":") == 1):
        raise InputError(
            f"{NAME_VARIABLE} is {value!r:.80}. Give only an address or a name, like 127.0.0.1 or 0.0.0.0; "
            f"the port goes into {PORT_VARIABLE}."
        )
    return value


def _check_port(value: str) -> int | None:
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:6]) <= 65535:
        raise InputError(
            f"{PORT_VARIABLE} is {value!r:.40}. Give a whole number from 1 to 65535, or unset it for {PORT}."
        )
    return int(value)


def _check_root(value: str) -> str:
    if not _ROOT.fullmatch(value) or ".." in value:
        raise InputError(
            f"{ROOT_VARIABLE} is {value!r:.80}. Give the path under which the proxy serves the page, like "
            "/judge, or its complete address."
        )
    return value.rstrip("/")
