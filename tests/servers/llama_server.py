"""llama.cpp's server (the code of `llama-server`, inside a Python package) for one GGUF file, until it is
killed. Runs in .venv-llama:

    python llama_server.py FILE PORT CONTEXT [REPEAT_PENALTY]
"""

import sys
import threading

import xllamacpp

SLOTS = 4

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {"judge"}
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[2])
# the context is divided by the slots
params.n_parallel, params.n_ctx = SLOTS, SLOTS * int(sys.argv[3])
# of so small a model; two wait for each other, and crawl where the machine has other work
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.ui = False
if len(sys.argv) > 4:
    params.sampling.penalty_repeat = float(sys.argv[4])
server = xllamacpp.Server(params)
threading.Event().wait()
