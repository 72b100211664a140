"""The options that ask for a run, defined once: `fleet-rlm` and `fleet-rlm-tui` both take them from here.

The settings of the table become options by themselves (`with_options`); `RunRequest` and `RunOptions` hold the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
import typer

from fleet_rlm import config, run_settings, sandbox_choice, tasks
from fleet_rlm.config.settings_table import GROUPS, MODELS, SETTINGS, NotAValue, Parsed, Setting
from fleet_rlm.spec import Budgets, RunSpec
from fleet_rlm.standard_streams import readable

OUTPUT = "Record and output"


def _name_and_value(text: str) -> str:
    try:
        run_settings.named_values([text])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return readable(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is to do, as options say it. Fields stand in the order of the help."""

    docs: Annotated[
        list[str] | None,
        typer.Option(
            "--docs",
            "--docs-path",
            "-d",
            metavar="PATH",
            help="A document, a folder or a glob; with fleet-rlm, - is standard input. May be repeated.",
        ),
    ] = None
    question: Annotated[str | None, typer.Option(metavar="TEXT", help="What you want to know.")] = None
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", metavar="NAME", help=f"What to do with them: {', '.join(tasks.TASKS)} (ask)."),
    ] = None
    signature: Annotated[
        str | None,
        typer.Option(
            "--signature",
            "-s",
            metavar="TEXT",
            help='Your own task: DSPy\'s notation "context, question -> answer: str", or module:Class.',
        ),
    ] = None
    instructions: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the planner is told to do, instead of the task's words."),
    ] = None
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            parser=_name_and_value,
            metavar="NAME=VALUE",
            help="A further input of the signature (JSON unless text). May be repeated.",
        ),
    ] = None
    chars: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only so many first characters of each document.")
    ] = None

    def spec(self) -> RunSpec:
        """The run that these ask for, with everything else as a run has it by default."""
        return RunSpec(
            question=None if self.question is None else readable(self.question),
            documents=tuple(self.docs or ()),
            first_chars=self.chars,
            task=self.task or "ask",
            signature=self.signature and readable(self.signature),
            instructions=self.instructions and readable(self.instructions),
            inputs=dict(run_settings.named_values(self.input or ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is done: settings, tools, record. Fields stand in the order of the help."""

    tool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="A function that generated code may call, from a module of yours, or regex_extract. May be repeated.",
            rich_help_panel=MODELS,
        ),
    ] = None
    asked: Mapping[str, Parsed | None] = field(default_factory=dict)
    """The values of the settings' options, by the settings' keys."""
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The run file, which must not exist yet (a new one in the run library).",
            rich_help_panel=OUTPUT,
        ),
    ] = None

    def complete(self, spec: RunSpec, limits: Budgets | None = None) -> RunSpec:
        """The spec (documents, task, question …) with all that options and configuration say. `limits` count before
        the task's. Raises `sandbox_choice.Unusable`.
        """
        spec = msgspec.structs.replace(
            spec, cwd=str(Path.cwd()), tools=tuple(self.tool or ()), record=str(self.record) if self.record else None
        )
        settings = config.load(asked=self.asked)
        if problem := settings.stopping or config.model_choice(settings).problem:
            raise sandbox_choice.Unusable(problem)
        return run_settings.complete(spec, settings, limits or _limits_of_task(spec))


def _limits_of_task(spec: RunSpec) -> Budgets:
    if spec.signature is not None:
        return Budgets()
    try:
        return tasks.get(spec.task).budgets
    except tasks.UnknownTask as error:
        hint = "`--task NAME` takes one of them; `--signature` takes your own."
        raise sandbox_choice.Unusable(config.Problem(str(error), hint)) from error


def by_group() -> list[Setting]:
    """The settings that are options, in the order of the help."""
    return sorted((one for one in SETTINGS if one.options), key=lambda one: GROUPS.index(one.group))


def with_options(
    settings: Iterable[Setting], limits: Budgets | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command so that Typer sees an option for each setting in place of the parameter `asked`, and the
    fields of each parameter that is a dataclass in place of it. `limits` are the defaults that the help names.
    """
    options = [_parameter(one, getattr(limits, one.name, None)) for one in settings]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        groups: dict[str, Any] = {one.name: one.annotation for one in own if is_dataclass(one.annotation)}
        fielded = [each for one in own for each in (_fields_of(groups[one.name]) if one.name in groups else [one])]
        seen = [each for one in fielded for each in (options if one.name == "asked" else [one])]

        def run(**given: Any) -> Any:  # what a shell gave, of any option's type
            given["asked"] = _asked_of(given)
            for name, group in groups.items():
                given[name] = group(**{one.name: given[one.name] for one in fields(group)})
            return command(**{one.name: given[one.name] for one in own})

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        run.__signature__ = inspect.Signature([one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in seen])  # type: ignore[attr-defined]  # what inspect looks at first
        run.__annotations__ = {one.name: one.annotation for one in seen}
        return run

    return decorate


def _fields_of(group: Any) -> list[inspect.Parameter]:
    """The fields of a dataclass as parameters."""
    hints = get_type_hints(group, include_extras=True)
    return [_keyword(one.name, hints[one.name], one.default) for one in fields(group)]


def _keyword(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(setting: Setting, default: float | None) -> inspect.Parameter:
    """A setting as a parameter of a command, as Typer reads it; `default` is named in its help."""

    def read(text: str) -> Parsed:
        try:
            return text if setting.kind == "names" else setting.read(text)
        except NotAValue as error:
            raise typer.BadParameter(f"it is {error}.") from error

    option = typer.Option(
        *setting.options,
        parser=read,
        metavar=setting.metavar,
        help=setting.words if default is None else f"{setting.help.removesuffix('.')} ({default:g}).",
        rich_help_panel=setting.group,
        show_default=False,
    )
    kind = list[str] | None if setting.kind == "names" else str | None
    return _keyword(setting.parameter, Annotated[kind, option])


def _asked_of(given: Mapping[str, Any]) -> dict[str, Parsed | None]:
    """The values of the settings' options by the settings' keys; `given` are a command's parameters."""
    found = {one.key: given.get(one.parameter) for one in SETTINGS if one.options}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
