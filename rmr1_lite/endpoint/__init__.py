"""The judge endpoint: an HTTP server that gives verdicts to programs that know nothing of prompts.

    python -m rmr1_lite endpoint --judge nano --port 8080

A request passes `gate` (key, limits, time, hang-ups), `routes` (fields, errors in one shape) and `desk` (the
queue in front of the judge: batches for a local model, calls in parallel for a server). `server` opens the
port, loads the judge and stops without losing a request. Not to be confused with `judging/engines/endpoint`,
which calls other servers' text endpoints.
"""
