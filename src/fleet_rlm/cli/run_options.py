"""The options of every command that runs something: those of the table of settings, and what to show and record."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fleet_rlm import config, run_settings, sandbox_choice, tasks
from fleet_rlm.cli import printing
from fleet_rlm.config.table import GROUPS, MODELS, SCREEN, SETTINGS, NotAValue, Parsed, Setting
from fleet_rlm.spec import Budgets, RunSpec

_OUTPUT = "Record and output"

Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        metavar="MODULE:FUNCTION",
        help="A function that generated code may call, from a module of yours, or regex_extract. May be repeated.",
        rich_help_panel=MODELS,
    ),
]
Record = Annotated[
    Path | None, typer.Option("--record", help="The run file; it must not exist yet.", rich_help_panel=_OUTPUT)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=_OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUTPUT)]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show each step's reasoning, code and output.", rich_help_panel=_OUTPUT),
]
FullOutput = Annotated[
    bool,
    typer.Option(
        "--full-output", help="Cut nothing in what is shown, and add the whole trajectory.", rich_help_panel=_OUTPUT
    ),
]


def reader(setting: Setting) -> Callable[[str], Parsed]:
    """Reads a setting's value from the command line; what it does not take is wrong usage."""

    def read(text: str) -> Parsed:
        try:
            return text if setting.kind == "names" else setting.read(text)
        except NotAValue as error:
            raise typer.BadParameter(f"it is {error}.") from error

    read.__name__ = setting.metavar
    return read


def parameter(setting: Setting, default: float | None = None) -> inspect.Parameter:
    """A setting as a parameter of a command, as Typer reads it; `default` is named in its help."""
    words = setting.words if default is None else f"{setting.help.removesuffix('.')} ({default:g})."
    option = typer.Option(
        *setting.options,
        parser=reader(setting),
        metavar=setting.metavar,
        help=words,
        rich_help_panel=setting.group,
        show_default=False,
    )
    kind = list[str] | None if setting.kind == "names" else str | None
    return inspect.Parameter(
        setting.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def by_group() -> Iterable[Setting]:
    """The settings that are options, in the order of the help."""
    return sorted((one for one in SETTINGS if one.options), key=lambda one: GROUPS.index(one.group))


def asked_of(given: Mapping[str, Any]) -> dict[str, Parsed | None]:
    """Collect the values of options by the settings' keys; `given` are a command's parameters."""
    found = {one.key: given.get(one.parameter) for one in SETTINGS if one.options}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one command as they were given; None where one was left out. Fields stand in the help's order."""

    asked: Mapping[str, Parsed | None] = field(default_factory=dict)
    """By the settings' keys."""
    tool: Tools = None
    record: Record = None
    as_json: AsJson = False
    quiet: Quiet = False
    verbose: Verbose = False
    full_output: FullOutput = False

    def complete(self, spec: RunSpec, limits: Budgets | None = None) -> RunSpec:
        """The spec (documents, task, question …) with all that options and configuration say. `limits` count before
        the task's. Exits when something is unusable.
        """
        spec = msgspec.structs.replace(
            spec,
            cwd=str(Path.cwd()),
            tools=tuple(self.tool or ()),
            watched=False,
            record=str(self.record) if self.record else None,
        )
        try:
            return run_settings.complete(spec, config.load(asked=self.asked), limits or _of_task(spec))
        except sandbox_choice.Unusable as error:
            printing.refuse(str(error), error.hint, as_json=self.as_json)


def _of_task(spec: RunSpec) -> Budgets:
    if spec.signature is not None:
        return Budgets()
    try:
        return tasks.get(spec.task).budgets
    except tasks.UnknownTask:
        return Budgets()  # the engine says what is wrong with the task


def with_settings(settings: Iterable[Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command that takes `asked`: a shell then sees an option for each of these settings."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = _parameters(command, "asked")

        def run(**given: Any) -> None:  # what a shell gave, of any option's type
            command(asked=asked_of(given), **{one.name: given[one.name] for one in own})

        return _dressed(run, command, [*own, *map(parameter, settings)])

    return decorate


def with_run_options(limits: Budgets | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command that takes its own options and `options: RunOptions`: a shell then sees all of them, with
    `limits` as the defaults that the help names.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own, common = _parameters(command, "options"), _parameters(RunOptions, "asked")
        names = {one.name for one in fields(RunOptions)}

        def run(**given: Any) -> None:  # what a shell gave, of any option's type
            options = RunOptions(
                asked=asked_of(given), **{name: value for name, value in given.items() if name in names}
            )
            try:
                command(**{one.name: given[one.name] for one in own}, options=options)
            except KeyboardInterrupt:  # before there was a run to abort
                raise typer.Exit(printing.ABORTED) from None

        settings = [parameter(one, getattr(limits, one.name, None)) for one in by_group() if one.group != SCREEN]
        return _dressed(run, command, [*own, common[0], *settings, *common[1:]])

    return decorate


def _parameters(of: Callable[..., object], without: str) -> list[inspect.Parameter]:
    return [one for one in inspect.signature(of, eval_str=True).parameters.values() if one.name != without]


def _dressed(
    run: Callable[..., None], command: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """`run` with the name and help of the command and with these parameters, as Typer reads them."""
    parameters = [copy.copy(one).replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks at first
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
