"""An engine that writes OpenAI batch files and reads the answers that somebody else puts next to them.

engine.py         one call: read the answers there are, write what is to be asked next
custom_ids.py     the id that binds an answer to its request
rounds.py         request files, round after round, and what is remembered about each
answers.py        the rows of answer files, in the forms that vLLM and vendors give them
joining.py        which request each row answers, and which are missing
findings.py       what is reported about a folder of answers
instructions.py   what to do next, in words and commands
"""

from rmr1_lite.judging.engines.batch_files.engine import BatchFilesEngine

__all__ = ["BatchFilesEngine"]
