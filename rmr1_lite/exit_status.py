"""What the exit status of a command means, and how errors are reported.

    0   all was done, whatever the verdicts
    1   wrong input, nothing could be done, or a check found something
    2   a part was not done; the finished part is stored, and the same command continues

Any error that is not one of ours is a bug and shows its traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import NoReturn

from rmr1_lite.extras import named_extras
from rmr1_lite.types import AnswersPending, InputError, TrainingStopped

DONE, WRONG_INPUT, PARTLY_DONE = 0, 1, 2
PARSER = 2  # exit status of the command line's parser after a wrong option


class PartlyDone(RuntimeError):
    """A command finished and stored a part of its work; the message says what is missing."""


def run_command(command: Callable[[], None]) -> NoReturn:
    """Run a command line and exit with its status; one line for our errors, a missing extra, a full disk."""
    try:
        with named_extras():
            command()
    except SystemExit as done:
        sys.exit(WRONG_INPUT if done.code == PARSER else done.code)
    except (PartlyDone, AnswersPending) as error:
        _fail(f"Not everything was done ({error}): exit status {PARTLY_DONE}.", PARTLY_DONE)
    except TrainingStopped as error:
        _fail(f"Error: {error}", PARTLY_DONE)
    except InputError as error:
        _fail(f"Error: {error}", WRONG_INPUT)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" of {error.filename}" if error.filename else ""
        remedy = "What was stored is kept: free some space and run the same command again."
        _fail(f"Error: the disk{where} is full. {remedy}", PARTLY_DONE)
    sys.exit(DONE)


def _fail(words: str, status: int) -> NoReturn:
    print(words, file=sys.stderr)
    sys.exit(status)
