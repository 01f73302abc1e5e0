"""An engine behind an OpenAI-compatible server.

engine.py      requests, streams, retries, and when to stop
reading.py     a reply or a failure becomes a Generation
parameters.py  what a request contains, and what changes when a server refuses a part of it
replies.py     text, finish reason and token counts from the many forms of a reply
failures.py    what an error means: too long, filtered, a refused parameter, hopeless, or passing
"""

from rmr1_lite.judging.engines.endpoint.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
