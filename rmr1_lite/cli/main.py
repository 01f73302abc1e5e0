"""The command line: `python -m rmr1_lite COMMAND --help`. Options derive from the configs; torch loads only
with the work."""

from __future__ import annotations

from collections.abc import Callable

import typer

from rmr1_lite.app import command as judge_app
from rmr1_lite.cli import bias, data, endpoint, evaluate, export, models, policy, scale, serve, train, use
from rmr1_lite.environment import prepare_process
from rmr1_lite.exit_status import run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="RM-R1 on one GPU: train, evaluate and use judges that reason before they prefer.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "sft": train.sft,
    "grpo": train.grpo,
    "plan": train.plan,
    "push": train.push,
    "export": export.export,
    "distill": train.distill,
    "compare": use.compare,
    "rank": use.rank,
    "best-of": use.best_of,
    "judge": evaluate.judge_command,
    "evaluate": evaluate.evaluate,
    "compare-runs": evaluate.compare_runs,
    "bias": bias.bias,
    "serve": serve.serve,
    "demo": train.demo,
    "reproduce": train.reproduce_command,
    "policy": policy.policy,
    "report": evaluate.report,
    "app": judge_app.start,
    "endpoint": endpoint.endpoint,
}
for name, command in COMMANDS.items():
    app.command(name=name)(command)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(scale.app, name="scale")


def main() -> None:
    """Entry point; the exit status is explained in `rmr1_lite.exit_status`."""
    prepare_process()
    run_command(app)


if __name__ == "__main__":
    main()
