"""The command line: `python -m rmr1_lite COMMAND --help`. Options derive from the configs; torch loads with
the work."""

from __future__ import annotations

import errno
import sys

import typer

from rmr1_lite.cli import bias, data, evaluate, models, train
from rmr1_lite.environment import prepare_process
from rmr1_lite.types import InputError, TrainingStopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="RM-R1 on one GPU: train, evaluate and use judges that reason before they prefer.",
)
COMMANDS = {
    "sft": train.sft,
    "grpo": train.grpo,
    "plan": train.plan,
    "push": train.push,
    "distill": train.distill,
    "judge": evaluate.judge_command,
    "evaluate": evaluate.evaluate,
    "compare": evaluate.compare,
    "bias": bias.bias,
    "demo": train.demo,
    "reproduce": train.reproduce_command,
    "report": evaluate.report,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point: our own errors and a full disk are one line and a status of 2, everything else is a bug
    and shows itself."""
    prepare_process()
    try:
        app()
    except (InputError, TrainingStopped) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" of {error.filename}" if error.filename else ""
        print(
            f"Error: the disk{where} is full. What was stored is kept: free some space and run the same "
            "command again.",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
