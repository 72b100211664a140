"""The options of every command that runs something: how the run is done, and what to print of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from fleet_rlm import run_options, sandbox_choice
from fleet_rlm.cli import printing
from fleet_rlm.config.settings_table import SCREEN
from fleet_rlm.run_options import OUTPUT
from fleet_rlm.spec import Budgets, RunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(run_options.RunOptions):
    """The options of one command as they were given. Fields stand in the order of the help."""

    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=OUTPUT)] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=OUTPUT)] = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show each step's reasoning, code and output.", rich_help_panel=OUTPUT),
    ] = False
    full_output: Annotated[
        bool,
        typer.Option(
            "--full-output", help="Cut nothing in what is shown, and add the whole trajectory.", rich_help_panel=OUTPUT
        ),
    ] = False

    def complete(self, spec: RunSpec, limits: Budgets | None = None) -> RunSpec:
        """The spec with all that options and configuration say. Exits when something is unusable."""
        try:
            return run_options.RunOptions.complete(self, msgspec.structs.replace(spec, watched=False), limits)
        except sandbox_choice.Unusable as error:
            printing.refuse(str(error), error.hint, as_json=self.as_json)


def with_run_options(limits: Budgets | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that runs something: a shell sees all options of a run, with `limits` as defaults in help."""
    return run_options.with_options((one for one in run_options.by_group() if one.group != SCREEN), limits)
