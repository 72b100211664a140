"""`fleet-rlm run`: one run from start to end, its progress on stderr and its answer on stdout."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from fleet_rlm import config, sandbox_choice, tasks
from fleet_rlm import events as ev
from fleet_rlm.cli import printing
from fleet_rlm.cli import sandbox_options as options
from fleet_rlm.cli.progress import Progress
from fleet_rlm.figures import count, dollars, plural, seconds
from fleet_rlm.spec import DEFAULT_CONCURRENCY, Budgets, RunSpec

if TYPE_CHECKING:
    from fleet_rlm.engine.session import RunSession

_BUDGETS, _MODELS, _OUTPUT = "Budgets (0: no limit)", "Models", "Record and output"
_ANSWERED = ("submitted", "extracted", "stopped")


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help="What you want to know; tasks that need no question do without."),
    ] = None,
    docs: Annotated[
        list[str] | None,
        typer.Option("--docs", "-d", metavar="PATH", help="A document, a folder or a glob. May be repeated."),
    ] = None,
    task: Annotated[str, typer.Option("--task", "-t", help=f"One of: {', '.join(tasks.TASKS)}.")] = "ask",
    signature: Annotated[
        str | None,
        typer.Option(
            "--signature", "-s", help='Your own task in DSPy\'s notation: "context, question -> answer: str".'
        ),
    ] = None,
    instructions: Annotated[
        str | None, typer.Option("--instructions", help="What the planner is told to do, instead of the task's words.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="A further input of the signature (JSON unless text)."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="The planner, such as openai/gpt-5-mini, or offline.", rich_help_panel=_MODELS
        ),
    ] = None,
    sub_model: Annotated[
        str | None, typer.Option("--sub-model", help="The model of sub-LLM calls.", rich_help_panel=_MODELS)
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, max=256, help="Sub-LLM calls at once.", rich_help_panel=_MODELS),
    ] = None,
    sandbox: options.Sandbox = None,
    volume_name: options.VolumeName = None,
    secret_name: options.SecretName = None,
    image_package: options.ImagePackage = None,
    cpu: options.Cpu = None,
    memory: options.Memory = None,
    sandbox_timeout: options.SandboxTimeout = None,
    max_iterations: Annotated[
        int | None, typer.Option("--max-iterations", min=1, help="Turns of the planner.", rich_help_panel=_BUDGETS)
    ] = None,
    max_llm_calls: Annotated[
        int | None, typer.Option("--max-llm-calls", min=0, help="Sub-LLM calls.", rich_help_panel=_BUDGETS)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=0, help="Tokens of all calls together.", rich_help_panel=_BUDGETS),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", min=0, help="Seconds.", rich_help_panel=_BUDGETS)
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0, help="US dollars.", rich_help_panel=_BUDGETS)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="The run file; it must not exist yet.", rich_help_panel=_OUTPUT),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one object: status, outputs, run_id, run_file, totals.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Answer a question about documents, or do another task with them.

    Exit status: 0 with an answer, 1 when the run failed, 2 when it could not begin, 130 when it was aborted.
    """
    question, documents = _told_apart(words or [], docs or [], as_json)
    asked = Budgets(
        max_iterations=max_iterations or 0,
        max_llm_calls=max_llm_calls,
        max_tokens=max_tokens,
        max_seconds=max_seconds,
        max_cost_usd=max_cost,
    )
    settings = config.load()
    wanted = sandbox_choice.SandboxRequest(
        sandbox=sandbox,
        volume_name=volume_name,
        secret_names=tuple(secret_name or ()),
        image_packages=tuple(image_package or ()),
        cpu=cpu,
        memory=memory,
        timeout=sandbox_timeout,
    )
    try:
        place, modal = sandbox_choice.choose(settings, wanted)
    except sandbox_choice.Unusable as error:
        _refuse(str(error), error.hint, as_json)
    spec = RunSpec(
        question=question,
        documents=tuple(documents),
        cwd=str(Path.cwd()),
        task=task,
        signature=signature,
        instructions=instructions,
        model=model,
        sub_model=sub_model,
        watched=False,
        sandbox=place,
        modal=modal,
        budgets=budgets(asked, settings.run_defaults, _task_budgets(task, signature)),
        concurrency=concurrency or settings.run_defaults.concurrency or DEFAULT_CONCURRENCY,
        record=str(record) if record else None,
    )
    try:
        _carry_out(spec, given or [], as_json=as_json, quiet=quiet)
    except KeyboardInterrupt:  # before there was a run to abort
        raise typer.Exit(printing.ABORTED) from None


def _told_apart(words: list[str], docs: list[str], as_json: bool) -> tuple[str | None, list[str]]:
    """The question, and the documents with those that a shell made of an unquoted `--docs *.txt`."""
    files = [word for word in words if docs and Path(word).exists()]
    rest = [word for word in words if word not in files]
    if len(rest) > 1:
        _refuse(
            f"There is more than one question: {', '.join(map(repr, rest))}.", "Put the question in quotes.", as_json
        )
    return (rest[0] if rest else None), [*docs, *files]


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


def _task_budgets(task: str, signature: str | None) -> Budgets:
    if signature is not None:
        return Budgets()
    try:
        return tasks.get(task).budgets
    except tasks.UnknownTask:
        return Budgets()  # the engine says what is wrong with the task


def _carry_out(spec: RunSpec, given: list[str], *, as_json: bool, quiet: bool) -> None:
    with Progress(quiet=quiet) as progress:
        try:
            from fleet_rlm.engine.errors import SetupError
            from fleet_rlm.engine.session import RunSession
        except ImportError as error:
            _no_engine(error, as_json)
        try:
            spec = msgspec.structs.replace(spec, inputs=_typed_inputs(spec, given))
            session = RunSession(spec, [progress.hear])
            with _aborted_by_signals(session):
                finished = session.run()
        except SetupError as error:
            _leave("failed", error.message, error.hint, printing.USAGE, as_json)
        except ImportError as error:  # dspy itself is loaded when the run needs it
            _no_engine(error, as_json)
    # As it was recorded: a server's error may repeat the key that it was sent.
    _tell_the_end(session, progress.state.finished or finished, quiet=quiet, as_json=as_json)


def _no_engine(error: ImportError, as_json: bool) -> NoReturn:
    message = f"The engine can't be loaded: {error}."
    _leave("failed", message, "Install fleet-rlm again: pip install --force-reinstall fleet-rlm", 1, as_json)


def _typed_inputs(spec: RunSpec, given: list[str]) -> dict[str, ev.Json]:
    """`NAME=VALUE` options as values: text where the signature wants text, else JSON. Raises `SetupError`."""
    if not given:
        return {}
    from fleet_rlm.engine import signatures
    from fleet_rlm.engine.errors import SetupError

    texts: dict[str, str] = {}
    for option in given:
        name, equals, value = option.partition("=")
        if not equals or not name.strip():
            raise SetupError(f"--input {option!r} is not of the form NAME=VALUE.", "Write it like --input limit=5.")
        texts[name.strip()] = value
    if spec.signature is None:
        return dict(texts)  # the inputs of every task are text
    asked = signatures.parse(spec.signature, spec.instructions or "")
    types = {field["name"]: field["type"] for field in signatures.fields_of(asked)["inputs"]}
    return {name: _typed(name, text, types.get(name, "str")) for name, text in texts.items()}


def _typed(name: str, text: str, kind: str) -> ev.Json:
    from fleet_rlm.engine.errors import SetupError

    if kind == "str":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if kind.split("[")[0] in ("int", "float", "bool", "list", "dict", "tuple", "set"):
            raise SetupError(
                f"The input {name} must be {kind}, written as JSON; {text[:60]!r} is not.",
                f'Write it like --input \'{name}=["a", "b"]\' or --input {name}=5.',
            ) from error
        return text


@contextmanager
def _aborted_by_signals(session: RunSession) -> Iterator[None]:
    """Abort the run on ctrl+c, a hang-up or SIGTERM; a second one ends this process at once."""
    asked = False

    def abort(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(printing.ABORTED)
        asked = True
        reason = "ctrl+c" if number == signal.SIGINT else signal.Signals(number).name
        # From a thread of its own: the one that was interrupted may hold what aborting needs.
        threading.Thread(target=session.abort, args=(reason,), name="fleet-abort", daemon=True).start()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, abort) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_the_end(session: RunSession, finished: ev.RunFinished, *, quiet: bool, as_json: bool) -> None:
    path = str(session.path)
    answered = finished.status in _ANSWERED and bool(finished.outputs)
    if as_json:
        printing.say_json(
            {
                "status": finished.status,
                "outputs": _json(finished.outputs),
                "run_id": session.run_id,
                "run_file": path,
                "totals": msgspec.to_builtins(finished.totals),
                **({"reason": finished.reason} if finished.reason else {}),
                **({"error": msgspec.to_builtins(finished.error)} if finished.error else {}),
            }
        )
    elif finished.outputs:
        from fleet_rlm.runs.summary import answer_text

        printing.say(answer_text(finished.outputs))
    sys.stdout.flush()
    if finished.status == "failed" or not answered:
        error = finished.error
        printing.tell(f"{finished.status}: {error.message if error else finished.reason or 'no answer'}")
        if error and error.hint:
            printing.tell(error.hint)
    elif finished.reason and not quiet:
        printing.tell(f"{finished.status}: {finished.reason}")
    if not _is_recorded(path):
        printing.tell(f"The record is incomplete: its end could not be written to {path}.")
    if not quiet or not answered:
        if not quiet:
            printing.tell(_totals(finished))
        printing.tell(f"Replay it: fleet-rlm-tui {_quoted(path)}")
    if finished.status == "aborted":
        raise typer.Exit(printing.ABORTED)
    raise typer.Exit(printing.OK if answered else printing.FAILED)


def _is_recorded(path: str) -> bool:
    """Whether the run's file holds the run to its end."""
    from fleet_rlm.runs.reader import NotARun
    from fleet_rlm.runs.summary import summarise

    try:
        return summarise(path).status not in ("running", "waiting", "interrupted")
    except NotARun:
        return False


def _totals(finished: ev.RunFinished) -> str:
    totals = finished.totals
    parts = [
        f"{finished.status} in {seconds(totals.seconds)}",
        plural(totals.iterations, "iteration"),
        plural(totals.calls, "sub-LLM call"),
        f"{count(totals.input_tokens + totals.output_tokens)} tokens",
    ]
    if totals.cost_usd is not None:
        parts.append(dollars(totals.cost_usd))
    return " · ".join(parts)


def _json(value: ev.Json) -> ev.Json:
    """The value as it stands in the run file: what JSON can't say has become text there."""
    decoded = ev.decode(ev.encode(ev.Submitted(outputs=value)))
    return decoded.outputs if isinstance(decoded, ev.Submitted) else {}


def _refuse(message: str, hint: str, as_json: bool) -> NoReturn:
    _leave("failed", message, hint, printing.USAGE, as_json)


def _leave(status: str, message: str, hint: str, code: int, as_json: bool) -> NoReturn:
    """End a command whose run never began."""
    if as_json:
        nothing = dict.fromkeys(("run_id", "run_file", "totals"))
        printing.say_json({"status": status, "outputs": {}, **nothing, "error": {"message": message, "hint": hint}})
    printing.tell(f"Error: {message}")
    if hint:
        printing.tell(hint)
    raise typer.Exit(code)


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
