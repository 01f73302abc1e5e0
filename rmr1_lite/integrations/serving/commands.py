"""What each server is started with: the one place that knows their flags.

Pure functions from a `Launch` to a command line and to variables. Why each flag is there is in
docs/serving.md. Flags were compared with the servers' own parsers: vLLM 0.32 (entrypoints/launchers, config),
llama.cpp 11434 (common/arg.cpp), transformers 5.17 (cli/serve.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.models.vllm_settings import DTYPES, OFFLINE, process_variables, smallest_rank
from rmr1_lite.types import InputError

# hide a server's key from the command line, which every user of the machine can read
KEY_VARIABLES = {"vllm": "VLLM_API_KEY", "llama.cpp": "LLAMA_API_KEY"}
KEY = "RMR1_SERVER_KEY"
# keys for others, and what would make a server ask for a key that nobody set here
NOT_FOR_SERVERS = {KEY, "OPENAI_API_KEY", "LLAMA_ARG_API_KEY_FILE", *KEY_VARIABLES.values()}
# set by serve itself, which the printed spec depends on
RESERVED = {
    *("--host", "--port", "--model", "-m", "--served-model-name", "--alias", "-a", "--lora-modules"),
    *("--api-key", "--api-key-file", "--api-prefix", "--root-path", "--uds"),
}


@dataclass(frozen=True)
class Launch:
    """One server to start.

    program: the start of the command. model: the folder, or the GGUF file. adapter: the LoRA folder to serve
    over it, of this rank. name: of the judge on the server. number_type: as in `ExportInfo`. context: tokens
    of one request, prompt and chain. card: whether there is an NVIDIA card. slots: requests that llama.cpp
    works on at once. extra: arguments of the user, passed on as they are.
    """

    engine: str
    program: tuple[str, ...]
    model: Path
    name: str
    number_type: str
    context: int
    host: str = "127.0.0.1"
    port: int = 8000
    adapter: Path | None = None
    rank: int = 0
    card: bool = False
    slots: int = 4
    extra: tuple[str, ...] = ()

    @property
    def model_name(self) -> str:
        """What requests call the judge: `transformers serve` has no other name than the folder."""
        return str(self.model) if self.engine == "transformers" else self.name

    @property
    def root(self) -> str:
        """The address to reach the server from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def spec(self) -> str:
        """The judge spec of the served judge."""
        return f"openai:{self.model_name}@{self.root}/v1"


def command_line(launch: Launch) -> list[str]:
    """The complete command. Raises InputError for arguments of the user that serve sets itself."""
    return [*launch.program, *ENGINES[launch.engine].flags(launch), *checked_extra(launch.extra)]


def variables(launch: Launch, key: str = "") -> dict[str, str]:
    """What is set for the server. key: that requests must bring, "" for a server without one.

    Raises InputError for a key that the server cannot check.
    """
    found = {} if launch.engine == "llama.cpp" else dict(OFFLINE)
    if launch.engine == "vllm":
        found |= process_variables(launch.card)
    if not key:
        return found
    if launch.engine not in KEY_VARIABLES:
        raise InputError(
            f"{KEY} is set, but {launch.engine} serve checks no key. Unset it, or take --engine vllm."
        )
    # llama.cpp would split it at commas
    if not re.fullmatch(r"[!#-+\--~]+", key):
        raise InputError(
            f"{KEY} holds a space, a comma, a quote or a letter beyond ASCII. Choose another key."
        )
    return found | {KEY_VARIABLES[launch.engine]: key}


def environment_for(launch: Launch, key: str, given: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of the server: the user's own, without keys that are not for it, and
    `variables`."""
    kept = {name: value for name, value in given.items() if name not in NOT_FOR_SERVERS}
    return kept | variables(launch, key)


def vllm_flags(launch: Launch) -> list[str]:
    base = f"{launch.name}-base" if launch.adapter else launch.name
    flags = ["--model", str(launch.model), "--served-model-name", base]
    if launch.adapter:
        flags += ["--enable-lora", "--lora-modules", lora_module(launch.name, launch.adapter)]
        flags += ["--max-lora-rank", str(smallest_rank(launch.rank))]
    flags += ["--dtype", dtype_of(launch), "--max-model-len", str(launch.context)]
    # else it samples by the model's generation_config.json: Qwen2.5's has a repetition penalty
    flags += ["--generation-config", "vllm"]
    return [*flags, *([] if launch.card else ["--enforce-eager"]), *_address(launch)]


def lora_module(name: str, folder: Path) -> str:
    """NAME=FOLDER; vLLM takes JSON for what has a comma."""
    return f"{name}={folder}" if "," not in str(folder) else json.dumps({"name": name, "path": str(folder)})


def llama_flags(launch: Launch) -> list[str]:
    flags = ["-m", str(launch.model), "--alias", launch.name]
    # the context is divided by the slots
    flags += ["-c", str(launch.context * launch.slots), "-np", str(launch.slots)]
    if launch.number_type == "f32":  # else keys and values are rounded to 16 bits all the same
        flags += ["--cache-type-k", "f32", "--cache-type-v", "f32"]
    neutral = "--repeat-penalty 1.0 --top-k 0 --top-p 1 --min-p 0 --temp 0"
    # --jinja: the model's own template; older versions guess one from a list without it
    return [*flags, "--jinja", *neutral.split(), *_address(launch)]


def transformers_flags(launch: Launch) -> list[str]:
    device = "cuda" if launch.card else "cpu"
    return ["serve", str(launch.model), "--device", device, "--dtype", dtype_of(launch), *_address(launch)]


@dataclass(frozen=True)
class Engine:
    """One server. forms: that it can serve. export_as: the form to export any judge in for it. lists_name:
    whether /v1/models lists what it serves."""

    forms: tuple[str, ...]
    export_as: str
    flags: Callable[[Launch], list[str]]
    lists_name: bool = True


ENGINES = {
    "vllm": Engine(("vllm", "merged", "base"), "merged", vllm_flags),
    "llama.cpp": Engine(("gguf", "ollama", "lmstudio"), "gguf", llama_flags),
    "transformers": Engine(("merged", "base"), "merged", transformers_flags, lists_name=False),
}


def dtype_of(launch: Launch) -> str:
    return DTYPES.get(launch.number_type, "auto")


def checked_extra(extra: tuple[str, ...]) -> tuple[str, ...]:
    """The user's arguments. Raises InputError for one that serve sets itself, a key among them."""
    if extra and not extra[0].startswith("-"):
        raise InputError(
            f"{extra[0]!r} is one argument too many. Arguments for the server come last, after --, and begin "
            "with a dash."
        )
    for argument in extra:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--api-key"):
            raise InputError(f"Everyone on this machine can read a key on a command line. Set {KEY} instead.")
        if flag in RESERVED:
            raise InputError(f"{flag} is set by serve. Use its own options: --host, --port, --name.")
    return extra


def _address(launch: Launch) -> list[str]:
    return ["--host", launch.host, "--port", str(launch.port)]
