"""`fleet-rlm`: runs, and the library of runs, from a shell. Help loads no engine and no screen."""

from __future__ import annotations

from typing import Annotated

import typer

import fleet_rlm
from fleet_rlm import standard_streams
from fleet_rlm.cli import commands, configuration, corpus, runs
from fleet_rlm.cli import tasks as tasks_command
from fleet_rlm.cli.doctor.command import doctor
from fleet_rlm.cli.init import init
from fleet_rlm.cli.plain_help import App
from fleet_rlm.cli.run import run
from fleet_rlm.cli.secrets import check_secret, check_secret_key
from fleet_rlm.log_text import clean_process

app = App(
    name="fleet-rlm",
    help="Run Recursive Language Models on documents and look at what they did (fleet-rlm-tui: on a screen).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fleet-rlm {fleet_rlm.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version


app.command("run")(run)
for _name, _command in commands.COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(runs.app, name="runs")
app.add_typer(tasks_command.app, name="tasks")
app.add_typer(configuration.app, name="config")
app.add_typer(corpus.app, name="corpus")
app.command("init")(init)
app.command("doctor")(doctor)
app.command("check-secret")(check_secret)
app.command("check-secret-key")(check_secret_key)


def main() -> None:
    """The command's entry point."""
    clean_process()
    standard_streams.run(app)
