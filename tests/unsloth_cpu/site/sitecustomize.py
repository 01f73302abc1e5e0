"""On PYTHONPATH of a process, with RMR1_UNSLOTH_ON_CPU set, this lets the kit train with Unsloth on a machine
without a GPU.

The processes that the kit starts (preflight, a notebook's training) inherit both, so they run as the user's
would.
"""

import os

if os.environ.get("RMR1_UNSLOTH_ON_CPU"):
    import unsloth_on_cpu

    unsloth_on_cpu.install(os.environ["RMR1_UNSLOTH_ON_CPU"])
