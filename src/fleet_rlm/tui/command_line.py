"""What `fleet-rlm-tui` understands, and what it opens first; all of it checked before a screen opens."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from fleet_rlm.spec import ModalOptions, RunSpec, SandboxChoice
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
    given = [f"--{name.replace('_', '-')}" for name in _RUN_OPTIONS if getattr(arguments, name) is not None]
    if given or arguments.paused:
        raise UsageError(f"{(given or ['--paused'])[0]} is for a new run: name --docs and --question as well.")
    return None, None


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
    from fleet_rlm.tui.new_run.draft import Budget, Incomplete, budgets_of

    for name in arguments.docs:
        if not name.strip():
            raise UsageError("--docs names a file, a folder or a glob; it is empty.")
        if name.startswith(PREFIX):
            continue  # the engine says which there are
        if not any(sign in name for sign in "*?[") and not Path(os.path.expanduser(name)).exists():  # noqa: PTH111 - Path's own raises without a home
            raise UsageError(f"--docs {name}: there is no such file or folder.")
    if arguments.task is not None and arguments.signature is None:
        from fleet_rlm.tasks.catalog import UnknownTask, get

        try:
            get(arguments.task)
        except UnknownTask as error:
            raise UsageError(str(error)) from error
    try:
        budgets = budgets_of(
            Budget(
                iterations=arguments.max_iterations or "",
                calls=arguments.max_llm_calls or "",
                tokens=arguments.max_tokens or "",
                seconds=arguments.max_seconds or "",
                dollars=arguments.max_cost or "",
            ),
            arguments.task or "ask",
        )
    except Incomplete as error:
        raise UsageError(str(error)) from error
    sandbox, modal = _sandbox(arguments)
    return RunSpec(
        question=arguments.question,
        documents=tuple(arguments.docs),
        cwd=str(Path.cwd()),
        task=arguments.task or "ask",
        signature=arguments.signature,
        tools=tuple(arguments.tool or ()),
        first_chars=_chars(arguments.chars),
        model=arguments.model,
        sub_model=arguments.sub_model,
        sandbox=sandbox,
        modal=modal,
        budgets=budgets,
        paused=arguments.paused,
        record=arguments.record,
    )


def _sandbox(arguments: argparse.Namespace) -> tuple[SandboxChoice, ModalOptions]:
    from fleet_rlm import config, sandbox_choice

    wanted = sandbox_choice.SandboxRequest(
        sandbox=arguments.sandbox,
        volume_name=arguments.volume_name,
        secret_names=tuple(arguments.secret_name or ()),
        image_packages=tuple(arguments.image_package or ()),
        cpu=arguments.cpu,
        memory=arguments.memory,
        timeout=arguments.sandbox_timeout,
    )
    try:
        return sandbox_choice.choose(config.load(), wanted)
    except sandbox_choice.Unusable as error:
        raise UsageError(f"{error} {error.hint}".rstrip()) from error


def _chars(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise UsageError(f"--chars takes a whole number from 1 on, not {given!r}.")
    return int(given)


_RUN_OPTIONS = (
    "task", "signature", "tool", "chars", "model", "sub_model", "sandbox", "volume_name", "secret_name",
    "image_package", "cpu", "memory", "sandbox_timeout", "max_iterations", "max_llm_calls", "max_tokens",
    "max_seconds", "max_cost", "record",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (fleet-rlm-tui --help shows what there is)")


def _parser() -> argparse.ArgumentParser:
    from fleet_rlm import __version__

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
    run.add_argument("--docs", action="append", default=[], metavar="PATH", help="file, folder or glob; several times")
    run.add_argument("--question", metavar="TEXT", help="what you want to know")
    run.add_argument("--task", metavar="NAME", help="a preset (default: ask)")
    run.add_argument("--signature", metavar="TEXT", help='"context, question -> answer: str", or module:Class')
    run.add_argument("--tool", action="append", metavar="MODULE:FUNCTION", help="a function that code may call")
    run.add_argument("--chars", metavar="N", help="only so many first characters of each document")
    run.add_argument("--model", metavar="NAME", help="the planner, such as openai/gpt-5-mini or offline")
    run.add_argument("--sub-model", metavar="NAME", help="answers the sub-LLM calls (default: the planner's)")
    run.add_argument("--sandbox", metavar="WHERE", help="where generated code runs: local, modal or auto")
    run.add_argument("--volume-name", metavar="NAME", help="Modal: a volume at /data for documents and results")
    run.add_argument("--secret-name", action="append", metavar="NAME", help="Modal: a secret that the code may read")
    run.add_argument("--image-package", action="append", metavar="NAME", help="Modal: a package for the image")
    run.add_argument("--cpu", type=float, metavar="CORES", help="Modal: cores of the sandbox")
    run.add_argument("--memory", type=int, metavar="MIB", help="Modal: memory of the sandbox")
    run.add_argument("--sandbox-timeout", type=float, metavar="S", help="Modal: longest life of the sandbox (3600)")
    run.add_argument("--max-iterations", metavar="N", help="planner turns at most")
    run.add_argument("--max-llm-calls", metavar="N", help="sub-LLM calls at most")
    run.add_argument("--max-tokens", metavar="N", help="tokens at most, of all models together")
    run.add_argument("--max-seconds", metavar="S", help="how long it may take")
    run.add_argument("--max-cost", metavar="USD", help="what it may cost")
    run.add_argument("--paused", action="store_true", help="wait before the first step")
    run.add_argument("--record", metavar="PATH", help="where to record it (default: the run library)")
    return parser
