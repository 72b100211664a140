"""What `fleet-rlm-tui` understands, and what it opens first; all of it checked before a screen opens."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from fleet_rlm.config import Setting
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.tui.source import RunSource

USAGE = """fleet-rlm-tui [RUN_FILE]
       fleet-rlm-tui --docs PATH --question TEXT [options]
       fleet-rlm-tui --demo | --sample [NAME] | --follow RUN_FILE"""


FIRST_SAMPLE = "ask-the-guide"
"""The recorded run that is shown when none is named."""


class UsageError(Exception):
    """What was asked cannot be done: one line for the person."""


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Raises `UsageError`; prints and exits for `--help` and `--version`."""
    return _parser().parse_args(given)


def first_to_open(arguments: argparse.Namespace) -> tuple[RunSource | None, RunSpec | None]:
    """What to open first. Raises `UsageError`."""
    starts = bool(arguments.docs or arguments.question is not None)
    sample = arguments.sample is not None
    ways = [arguments.run_file is not None, starts, arguments.demo, sample, arguments.follow is not None]
    if sum(ways) > 1:
        raise UsageError("choose one of RUN_FILE, --docs with --question, --demo, --sample and --follow.")
    if arguments.run_file is not None:
        return _recorded(arguments.run_file, follow=False), None
    if arguments.follow is not None:
        return _recorded(arguments.follow, follow=True), None
    if sample:
        return _recorded(_sample(arguments.sample), follow=False), None
    if arguments.demo:
        return _live(_demo(arguments))
    if starts:
        return _live(_spec(arguments))
    if given := _of_a_new_run(arguments):
        raise UsageError(f"{given[0]} is for a new run: name --docs and --question as well.")
    return None, None


def _of_a_new_run(arguments: argparse.Namespace) -> list[str]:
    """The given options that only a new run has a use for."""
    from fleet_rlm.config.table import SCREEN, SETTINGS

    own = ("task", "signature", "tool", "chars", "record")
    given = [f"--{name}" for name in own if getattr(arguments, name) is not None]
    settings = [one for one in SETTINGS if one.options and one.group != SCREEN]
    given += [one.options[0] for one in settings if getattr(arguments, one.key) is not None]
    return given + (["--paused"] if arguments.paused else [])


def _recorded(path: str, *, follow: bool) -> RunSource:
    from fleet_rlm.runs.reader import NotARun, RunFile
    from fleet_rlm.tui.sources import FollowFile, ReplayFile

    try:
        with RunFile(path) as file:
            going_on = file.is_being_written()
    except NotARun as error:
        raise UsageError(f"{error} {error.hint}".rstrip()) from error
    return FollowFile(path) if follow or going_on else ReplayFile(path)


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


def _demo(arguments: argparse.Namespace) -> RunSpec:
    from fleet_rlm.documents.bundled import NotBundled, demo, demo_document

    try:
        arguments.docs, arguments.question = [str(demo_document())], demo().question
    except NotBundled as error:
        raise UsageError(str(error)) from error
    return _spec(arguments)


def _spec(arguments: argparse.Namespace) -> RunSpec:
    from fleet_rlm.documents.bundled import PREFIX
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.standard_streams import readable

    for name in arguments.docs:
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
    if arguments.task is not None and arguments.signature is None:
        from fleet_rlm.tasks.catalog import UnknownTask, get

        try:
            get(arguments.task)
        except UnknownTask as error:
            raise UsageError(str(error)) from error
    spec = RunSpec(
        question=arguments.question and readable(arguments.question),
        documents=tuple(map(_kept, arguments.docs)),
        cwd=str(Path.cwd()),
        task=arguments.task or "ask",
        signature=arguments.signature and readable(arguments.signature),
        tools=tuple(arguments.tool or ()),
        first_chars=_chars(arguments.chars),
        paused=arguments.paused,
        record=arguments.record,
    )
    return _complete(spec, arguments)


def _kept(name: str) -> str:
    """The path, or that of a file with what came through the pipe that it is."""
    from fleet_rlm.config import runs_dir
    from fleet_rlm.documents import piped
    from fleet_rlm.documents.work import DocumentError

    try:
        return str(piped.keep(name, runs_dir())) if piped.is_pipe(name) else name
    except DocumentError as error:
        raise UsageError(f"--docs {name}: {error}") from error


def _complete(spec: RunSpec, arguments: argparse.Namespace) -> RunSpec:
    """The spec with what options and configuration say of models, sandbox and budgets."""
    from fleet_rlm import config, run_settings, sandbox_choice
    from fleet_rlm.spec import Budgets
    from fleet_rlm.tasks.catalog import TASKS

    given = {key: value for key in config.BY_KEY if (value := getattr(arguments, key, None)) is not None}
    asked = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    limits = Budgets() if spec.signature else TASKS[spec.task].budgets
    settings = config.load(asked=asked)
    if problem := config.model_choice(settings).problem:
        raise UsageError(str(problem))
    try:
        return run_settings.complete(spec, settings, limits)
    except sandbox_choice.Unusable as error:
        raise UsageError(f"{error} {error.hint}".rstrip()) from error


def _chars(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise UsageError(f"--chars takes a whole number from 1 on, not {given!r}.")
    return int(given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (fleet-rlm-tui --help shows what there is)")


def _parser() -> argparse.ArgumentParser:
    from fleet_rlm import __version__
    from fleet_rlm.config.table import GROUPS, SETTINGS

    parser = _Parser(
        prog="fleet-rlm-tui",
        usage=USAGE,
        description="Watch, steer and replay Recursive Language Model runs. Without arguments: the run library.",
        allow_abbrev=False,
    )
    parser.add_argument("run_file", nargs="?", metavar="RUN_FILE", help="a recorded run to open")
    parser.add_argument("--follow", metavar="RUN_FILE", help="watch a run that another process is recording")
    parser.add_argument("--demo", action="store_true", help="ask the bundled guide a question")
    parser.add_argument(
        "--sample",
        nargs="?",
        const=FIRST_SAMPLE,
        metavar="NAME",
        help="replay a recorded run that comes with fleet-rlm",
    )
    parser.add_argument("--keys", action="store_true", help="print every action with its keys, and exit")
    parser.add_argument("--version", action="version", version=f"fleet-rlm {__version__}")
    run = parser.add_argument_group("a new run")
    run.add_argument(
        "--docs", action="extend", nargs="+", default=[], metavar="PATH", help="files, folders or globs; several times"
    )
    run.add_argument("--question", metavar="TEXT", help="what you want to know")
    run.add_argument("--task", metavar="NAME", help="a preset (default: ask)")
    run.add_argument("--signature", metavar="TEXT", help='"context, question -> answer: str", or module:Class')
    run.add_argument("--tool", action="append", metavar="MODULE:FUNCTION", help="a function that code may call")
    run.add_argument("--chars", metavar="N", help="only so many first characters of each document")
    run.add_argument("--paused", action="store_true", help="wait before the first step")
    run.add_argument("--record", metavar="PATH", help="where to record it (default: the run library)")
    for group in GROUPS:
        if of_group := [one for one in SETTINGS if one.group == group and one.options]:
            panel = parser.add_argument_group(group)
            for setting in of_group:
                _add(panel, setting)
    return parser


def _add(panel: argparse._ArgumentGroup, setting: Setting) -> None:
    """A setting as an option."""
    from fleet_rlm.config.table import NotAValue

    def read(text: str) -> object:
        try:
            return text if setting.kind == "names" else setting.read(text)
        except NotAValue as error:
            raise argparse.ArgumentTypeError(f"it is {error}.") from error

    panel.add_argument(
        *setting.options,
        dest=setting.key,
        type=read,
        action="append" if setting.kind == "names" else "store",
        metavar=setting.metavar,
        help=setting.words.replace("%", "%%"),
    )
