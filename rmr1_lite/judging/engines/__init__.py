"""Text generation: a local model (local.py), an OpenAI-compatible endpoint (endpoint.py), or a log of an
earlier run (replay.py). What they take and give is in base.py; `rmr1_lite.judging.factory` makes one from
what a user types.
"""
