"""The command line of `fleet-rlm-tui`: its options, and what it opens first; all checked before a screen opens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from fleet_rlm.run_options import RunOptions, RunRequest, by_group, with_options

if TYPE_CHECKING:
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.tui.sources.event_source import RunSource

FIRST_SAMPLE = "ask-the-guide"
"""The recorded run that is shown when none is named."""
_WRONG_USAGE: Any = typer.BadParameter.__base__  # Typer's parser raises it, and has no public name for it


class UsageError(Exception):
    """Something that can't be done as asked: one line for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Options that say what to open instead of Home. Fields stand in the order of the help."""

    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN_FILE", help="A recorded run to open; with --sample, the name of one that ships."),
    ] = None
    follow: Annotated[
        str | None, typer.Option(metavar="RUN_FILE", help="Watch a run that another process is recording.")
    ] = None
    demo: Annotated[bool, typer.Option("--demo", help="Ask the bundled guide a question.")] = False
    sample: Annotated[
        bool, typer.Option("--sample", help="Replay a recorded run that comes with fleet-rlm; may be named.")
    ] = False
    paused: Annotated[bool, typer.Option("--paused", help="A new run waits before its first step.")] = False
    keys: Annotated[bool, typer.Option("--keys", help="Print every action with its keys.")] = False
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line, read."""

    opened: Opened
    request: RunRequest
    options: RunOptions


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
@with_options(by_group())
def _read(opened: Opened, request: RunRequest, options: RunOptions) -> Arguments:
    """Watch, steer and replay Recursive Language Model runs.

    Without arguments it opens the run library; with RUN_FILE, --sample or --follow a recorded run; with --docs and
    --question, or --demo, a new run. When a run lacks its question or documents, New run asks for them.
    """
    return Arguments(opened, request, options)


def parse(given: Sequence[str]) -> Arguments:
    """Raises `UsageError`; prints and exits for `--help`."""
    try:
        read = typer.main.get_command(app).main(list(given), prog_name="fleet-rlm-tui", standalone_mode=False)
    except _WRONG_USAGE as error:
        raise UsageError(f"{error.format_message()} (fleet-rlm-tui --help shows all options)") from error
    if not isinstance(read, Arguments):
        raise SystemExit(read)
    return read


def first_to_open(arguments: Arguments) -> tuple[RunSource | None, RunSpec | None]:
    """Return the source and the spec of the run to open first; a spec alone is to be completed in New run.

    Raises `UsageError`.
    """
    opened, request = arguments.opened, arguments.request
    words = opened.words or []
    if request.docs:  # a shell made them of an unquoted `--docs *.txt`
        request, words = replace(request, docs=[*request.docs, *words]), []
    starts = bool(request.docs or request.question is not None)
    names_file = bool(words) and not opened.sample
    if sum((names_file, starts, opened.demo, opened.sample, opened.follow is not None)) > 1:
        raise UsageError("choose one of RUN_FILE, --docs with --question, --demo, --sample and --follow.")
    if len(words) > 1:
        raise UsageError(f"one run can be opened, not {len(words)}: {', '.join(words)}.")
    if opened.sample:
        return _recorded(_sample(words[0] if words else FIRST_SAMPLE), follow=False), None
    if words:
        return _recorded(words[0], follow=False), None
    if opened.follow is not None:
        return _recorded(opened.follow, follow=True), None
    if opened.demo:
        request = _demo(request)
    elif not starts:
        if given := _for_a_new_run(arguments):
            raise UsageError(f"{given[0]} is for a new run: name --docs or --question as well.")
        return None, None
    spec = _spec(request, arguments)
    return _live(spec) if _says_enough(spec) else (None, spec)


def _for_a_new_run(arguments: Arguments) -> list[str]:
    """The given options that only a new run has a use for."""
    from fleet_rlm.config.settings_table import SCREEN

    options = arguments.options
    given = [f"--{one.name}" for one in fields(RunRequest) if getattr(arguments.request, one.name)]
    given += [f"--{name}" for name in ("tool", "record") if getattr(options, name)]
    given += [
        one.options[0] for one in by_group() if one.group != SCREEN and options.asked.get(one.key) not in (None, ())
    ]
    return given + (["--paused"] if arguments.opened.paused else [])


def _recorded(path: str, *, follow: bool) -> RunSource:
    from fleet_rlm.runs.run_reader import NotARun, RunFile
    from fleet_rlm.tui.sources import FollowFile, ReplayFile

    try:
        with RunFile(path) as file:
            going_on = file.is_being_written()
    except NotARun as error:
        raise UsageError(f"{error} {error.hint}".rstrip()) from error
    return FollowFile(path) if follow or going_on else ReplayFile(path)


def _says_enough(spec: RunSpec) -> bool:
    """True when a run can start: its task's documents and question are given."""
    from fleet_rlm.tasks.catalog import get

    task = get(spec.task)
    return spec.signature is not None or bool(
        (spec.documents or task.document_field is None)
        and ((spec.question or "").strip() or task.default_question or not task.needs_question)
    )


def _live(spec: RunSpec) -> tuple[RunSource, RunSpec]:
    from fleet_rlm.tui.sources import EngineClient

    return EngineClient(spec), spec


def _sample(name: str) -> str:
    from fleet_rlm.documents.bundled import NotBundled, recorded_runs

    try:
        runs = {path.stem: str(path) for path in recorded_runs()}
    except NotBundled as error:
        raise UsageError(str(error)) from error
    if name not in runs:
        raise UsageError(f"--sample {name}: there is no such recorded run. There are: {', '.join(runs)}.")
    return runs[name]


def _demo(request: RunRequest) -> RunRequest:
    from fleet_rlm.documents.bundled import NotBundled, demo, demo_document

    try:
        return replace(request, docs=[str(demo_document())], question=demo().question)
    except NotBundled as error:
        raise UsageError(str(error)) from error


def _spec(request: RunRequest, arguments: Arguments) -> RunSpec:
    """The run that is asked for. Raises `UsageError`."""
    from fleet_rlm.documents.bundled import PREFIX
    from fleet_rlm.sandbox_choice import Unusable

    for name in request.docs or ():
        if not name.strip():
            raise UsageError("--docs names a file, a folder or a glob; it is empty.")
        if name.startswith(PREFIX):
            continue  # the engine says which there are
        if name == "-":
            raise UsageError(
                "--docs - is for fleet-rlm run: the app needs standard input for its keys. "
                "Name a file, or a command: --docs <(command)."
            )
        if not any(sign in name for sign in "*?[") and not Path(os.path.expanduser(name)).exists():  # noqa: PTH111 - Path's own raises without a home
            raise UsageError(f"--docs {name}: there is no such file or folder.")
    spec = replace(request, docs=list(map(_kept, request.docs or ()))).spec()
    try:
        return msgspec.structs.replace(arguments.options.complete(spec), paused=arguments.opened.paused)
    except Unusable as error:
        raise UsageError(f"{error} {error.hint}".rstrip()) from error


def _kept(name: str) -> str:
    """The path, or that of a file with what came through the pipe that it is."""
    from fleet_rlm.config import runs_dir
    from fleet_rlm.documents import piped
    from fleet_rlm.documents.document_work import DocumentError

    try:
        return str(piped.keep(name, runs_dir())) if piped.is_pipe(name) else name
    except DocumentError as error:
        raise UsageError(f"--docs {name}: {error}") from error
