"""The options of every command that runs something, once: what they are called, what they say, what they become."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fleet_rlm import config, sandbox_choice, tasks
from fleet_rlm.cli import printing
from fleet_rlm.cli import sandbox_options as place
from fleet_rlm.spec import DEFAULT_CONCURRENCY, Budgets, ModalOptions, OnSandboxLost, RunSpec, SandboxChoice

_BUDGETS, _MODELS, _OUTPUT = "Budgets (0: no limit)", "Models and tools", "Record and output"

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="The planner, such as openai/gpt-5-mini, or offline.", rich_help_panel=_MODELS),
]
SubModel = Annotated[
    str | None, typer.Option("--sub-model", help="The model of sub-LLM calls.", rich_help_panel=_MODELS)
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", min=1, max=256, help="Sub-LLM calls at once.", rich_help_panel=_MODELS),
]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tool",
        metavar="MODULE:FUNCTION",
        help="A function that generated code may call, from a module of yours, or regex_extract. May be repeated.",
        rich_help_panel=_MODELS,
    ),
]
MaxIterations = Annotated[
    int | None, typer.Option("--max-iterations", min=1, help="Turns of the planner.", rich_help_panel=_BUDGETS)
]
MaxLlmCalls = Annotated[
    int | None, typer.Option("--max-llm-calls", min=0, help="Sub-LLM calls.", rich_help_panel=_BUDGETS)
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", min=0, help="Tokens of all calls together.", rich_help_panel=_BUDGETS),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        "--max-seconds",
        metavar="SECONDS",
        min=0,
        help="Seconds after which the answer is forced from what is known.",
        rich_help_panel=_BUDGETS,
    ),
]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="US dollars.", rich_help_panel=_BUDGETS)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What was said; None: nothing. The fields are the options, in the order of the help."""

    model: Model = None
    sub_model: SubModel = None
    concurrency: Concurrency = None
    tool: Tools = None
    sandbox: place.Sandbox = None
    volume_name: place.VolumeName = None
    secret_name: place.SecretName = None
    image_package: place.ImagePackage = None
    cpu: place.Cpu = None
    memory: place.Memory = None
    sandbox_timeout: place.SandboxTimeout = None
    on_sandbox_lost: place.OnSandboxLost = "restart"
    max_iterations: MaxIterations = None
    max_llm_calls: MaxLlmCalls = None
    max_tokens: MaxTokens = None
    timeout: Timeout = None
    max_cost: MaxCost = None
    record: Record = None
    as_json: AsJson = False
    quiet: Quiet = False
    verbose: Verbose = False
    full_output: FullOutput = False

    def within(self, limits: Budgets) -> RunOptions:
        """The same, with these limits of iterations and calls where none was said here or in the configuration."""
        preferred = config.load().run_defaults
        iterations = self.max_iterations or preferred.max_iterations or limits.max_iterations
        calls = next(
            (one for one in (self.max_llm_calls, preferred.max_llm_calls, limits.max_llm_calls) if one is not None),
            None,
        )
        return replace(self, max_iterations=iterations, max_llm_calls=calls)

    def complete(self, spec: RunSpec) -> RunSpec:
        """The spec (documents, task, question …) with models, place, budgets and record. Exits when one is unusable."""
        settings = config.load()
        where, modal, on_lost = self._place(settings)
        return msgspec.structs.replace(
            spec,
            cwd=str(Path.cwd()),
            tools=tuple(self.tool or ()),
            model=self.model,
            sub_model=self.sub_model,
            watched=False,
            sandbox=where,
            modal=modal,
            on_sandbox_lost=on_lost,
            budgets=budgets(self._asked(), settings.run_defaults, _of_task(spec)),
            concurrency=self.concurrency or settings.run_defaults.concurrency or DEFAULT_CONCURRENCY,
            record=str(self.record) if self.record else None,
        )

    def _asked(self) -> Budgets:
        return Budgets(
            max_iterations=self.max_iterations or 0,
            max_llm_calls=self.max_llm_calls,
            max_tokens=self.max_tokens,
            max_seconds=self.timeout,
            max_cost_usd=self.max_cost,
        )

    def _place(self, settings: config.Settings) -> tuple[SandboxChoice, ModalOptions, OnSandboxLost]:
        wanted = sandbox_choice.SandboxRequest(
            sandbox=self.sandbox,
            volume_name=self.volume_name,
            secret_names=tuple(self.secret_name or ()),
            image_packages=tuple(self.image_package or ()),
            cpu=self.cpu,
            memory=self.memory,
            timeout=self.sandbox_timeout,
        )
        try:
            return *sandbox_choice.choose(settings, wanted), place.on_sandbox_lost(self.on_sandbox_lost)
        except sandbox_choice.Unusable as error:
            printing.refuse(str(error), error.hint, as_json=self.as_json)


def budgets(asked: Budgets, preferred: config.RunDefaults, of_task: Budgets) -> Budgets:
    """What the run may spend: as asked for (0 takes a limit away), else as configured, else as the task has it."""

    def limit(name: str) -> int | float | None:
        for source in (asked, preferred, of_task):
            value: int | float | None = getattr(source, name)
            if value is not None and not (value == 0 and name == "max_iterations"):
                return value or None
        return None

    limits = {name: limit(name) for name in Budgets.__struct_fields__}
    return msgspec.convert(limits, Budgets)


def _of_task(spec: RunSpec) -> Budgets:
    if spec.signature is not None:
        return Budgets()
    try:
        return tasks.get(spec.task).budgets
    except tasks.UnknownTask:
        return Budgets()  # the engine says what is wrong with the task


def with_run_options(own: Budgets | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command that takes its own options and `options: RunOptions`: a shell then sees all of them, with the
    limits of `own` as the defaults that the help names.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        mine = [one for one in signature.parameters.values() if one.name != "options"]
        common = list(inspect.signature(RunOptions, eval_str=True).parameters.values())
        names = {field.name for field in fields(RunOptions)}

        def run(**given: Any) -> None:  # what a shell gave, of any option's type
            options = RunOptions(**{name: value for name, value in given.items() if name in names})
            rest = {name: value for name, value in given.items() if name not in names}
            try:
                command(**rest, options=options)
            except KeyboardInterrupt:  # before there was a run to abort
                raise typer.Exit(printing.ABORTED) from None

        parameters = [*mine, *(_with_default(one, own) for one in common)]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks at first
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _with_default(parameter: inspect.Parameter, own: Budgets | None) -> inspect.Parameter:
    """The option with the task's limit named as its default."""
    name = {"timeout": "max_seconds", "max_cost": "max_cost_usd"}.get(parameter.name, parameter.name)
    value = getattr(own, name, None)
    if value is None:
        return parameter
    kind, option = parameter.annotation.__origin__, copy.copy(parameter.annotation.__metadata__[0])
    option.help = f"{option.help.rstrip('.')} ({value:g})."
    return parameter.replace(annotation=Annotated[kind, option])
