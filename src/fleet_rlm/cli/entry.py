"""`fleet-rlm`: runs, and the library of runs, from a shell. A command's module is imported when the command is used:
help loads no engine, no screen and no other command.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

import fleet_rlm
from fleet_rlm import standard_streams
from fleet_rlm.cli.plain_help import App, Group, Row
from fleet_rlm.log_text import clean_process

COMMANDS = {
    "run": ("fleet_rlm.cli.run_command:run", "Answer a question about documents, or do another task with them."),
    "run-basic": (
        "fleet_rlm.cli.task_commands:run_basic",
        "Answer a question, by computing or from documents: {answer, trajectory_steps}.",
    ),
    "run-architecture": (
        "fleet_rlm.cli.task_commands:run_architecture",
        "Map a library's architecture: {modules, optimizers, design_principles, doc_chars, doc_lines}.",
    ),
    "run-api-endpoints": (
        "fleet_rlm.cli.task_commands:run_api_endpoints",
        "List the API endpoints that documents describe: {api_endpoints, count}.",
    ),
    "run-error-patterns": (
        "fleet_rlm.cli.task_commands:run_error_patterns",
        "Find the errors that documents speak of, by category: {error_categories, total_errors_found}.",
    ),
    "run-trajectory": (
        "fleet_rlm.cli.task_commands:run_trajectory",
        "Sum documents up and show every step that led there: {summary, trajectory_steps, trajectory}.",
    ),
    "run-custom-tool": (
        "fleet_rlm.cli.task_commands:run_custom_tool",
        (
            "Extract headers and code blocks with the tool regex_extract: {headers, code_blocks, structure_summary, "
            "headers_count, code_blocks_count}."
        ),
    ),
    "run-long-context": (
        "fleet_rlm.cli.task_commands:run_long_context",
        (
            "Analyse or summarise a long text: {findings, answer, sections_examined, doc_chars} or {summary, "
            "key_points, coverage_pct, doc_chars}."
        ),
    ),
    "init": (
        "fleet_rlm.cli.init_command:init",
        "Install skills, agents, a team and hooks that teach Claude Code to use fleet-rlm.",
    ),
    "doctor": (
        "fleet_rlm.cli.doctor.doctor_command:doctor",
        "Check everything that a run needs on this machine, and say how to fix what is missing.",
    ),
    "check-secret": (
        "fleet_rlm.cli.secret_commands:check_secret",
        "Say which keys of a model's configuration a Modal secret has. Starts no sandbox and shows no value.",
    ),
    "check-secret-key": (
        "fleet_rlm.cli.secret_commands:check_secret_key",
        "Say whether a Modal secret has one key, never its value. Starts no sandbox.",
    ),
    "runs": ("fleet_rlm.cli.runs_command:app", "Look at recorded runs."),
    "tasks": ("fleet_rlm.cli.tasks_command:app", "The tasks that can be run, and your own."),
    "config": ("fleet_rlm.cli.config_command:app", "What is configured, and where it came from."),
    "corpus": ("fleet_rlm.cli.corpus_command:app", "Make texts whose answers are known, and score runs on them."),
}
"""The module of each command, and the first paragraph of its help (a test compares it with the command's own)."""


class _Commands(Mapping[str, Any]):
    """Click's commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = COMMANDS[name][0].partition(":")
            found = getattr(importlib.import_module(module), attribute)
            if not isinstance(found, App):
                made = App()
                made.command(name)(found)
                found = made
            self._made[name] = typer.main.get_command(found)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Main(Group):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": _Commands()})

    def summaries(self) -> Iterator[Row]:
        for name, (_, summary) in COMMANDS.items():
            yield name, summary


app = App(
    cls=_Main,
    name="fleet-rlm",
    help="Run Recursive Language Models on documents and look at what they did (fleet-rlm-tui: on a screen).",
    no_args_is_help=True,
    add_completion=True,
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


def main() -> None:
    """The command's entry point."""
    clean_process()
    standard_streams.run(app)
