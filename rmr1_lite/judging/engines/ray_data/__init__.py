"""Judges through Ray Data: requests spread over the workers of a Ray cluster, results as they come.

cluster.py    a cluster to run on: the one that RAY_ADDRESS names, else one on this machine
rounds.py     asks, reads, and asks again what has no result
endpoint.py   the workers send the requests to an OpenAI-compatible server
vllm.py       the workers write the texts themselves, each with a vLLM of its own

The workers run Ray's own code on plain rows and need nothing of this kit.
"""

from rmr1_lite.judging.engines.ray_data.endpoint import RayEndpointEngine
from rmr1_lite.judging.engines.ray_data.vllm import RayVllmEngine

__all__ = ["RayEndpointEngine", "RayVllmEngine"]
