"""`llama-server` with the flags that `rmr1_lite serve` gives it, and llama.cpp's own code behind them (the
package xllamacpp). The Makefile puts it into .venv-llama/bin.

No package index has the program for an older glibc. Every flag has llama.cpp's own name and meaning
(common/arg.cpp), and an unknown one is an error, as there.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    found.add_argument("-m", "--model", required=True)
    found.add_argument("-a", "--alias", default="")
    found.add_argument("-c", "--ctx-size", type=int, default=0)
    found.add_argument("-np", "--parallel", type=int, default=4)
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=8080)
    found.add_argument("--jinja", action="store_true")
    found.add_argument("-t", "--threads", type=int, default=-1)
    found.add_argument("--repeat-penalty", type=float)
    found.add_argument("--top-k", type=int)
    found.add_argument("--top-p", type=float)
    found.add_argument("--min-p", type=float)
    found.add_argument("--temp", type=float)
    return found


def parameters(args: argparse.Namespace) -> Any:
    """What llama.cpp's own parser would make of the flags."""
    import xllamacpp

    made = xllamacpp.CommonParams()
    made.model.path = args.model
    if args.alias:
        made.model_alias = {each.strip() for each in args.alias.split(",")}
    made.n_ctx, made.n_parallel = args.ctx_size, args.parallel
    made.hostnames, made.port = [args.host], args.port
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = args.threads
    made.ui = False
    made.api_keys = [key for key in os.environ.get("LLAMA_API_KEY", "").split(",") if key]
    config = xllamacpp.common_params_sampling_config
    for flag, field, mark in (
        ("repeat_penalty", "penalty_repeat", config.COMMON_PARAMS_SAMPLING_CONFIG_PENALTY_REPEAT),
        ("top_k", "top_k", config.COMMON_PARAMS_SAMPLING_CONFIG_TOP_K),
        ("top_p", "top_p", config.COMMON_PARAMS_SAMPLING_CONFIG_TOP_P),
        ("min_p", "min_p", config.COMMON_PARAMS_SAMPLING_CONFIG_MIN_P),
        ("temp", "temp", config.COMMON_PARAMS_SAMPLING_CONFIG_TEMP),
    ):
        if getattr(args, flag) is not None:
            setattr(made.sampling, field, getattr(args, flag))
            # else the model's own metadata would win
            made.sampling.user_sampling_config |= mark
    return made


def main() -> None:
    import xllamacpp

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    kept = xllamacpp.Server(parameters(parser().parse_args()))  # serves as long as the object lives
    threading.Event().wait()
    del kept


if __name__ == "__main__":
    main()
