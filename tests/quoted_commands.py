"""Commands that texts quote, and whether the programs that they name have such commands and options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from fleet_rlm.cli.entry import app
from fleet_rlm.corpora.kinds import KINDS
from fleet_rlm.spec import SandboxChoice
from fleet_rlm.tasks.catalog import TASKS
from fleet_rlm.tui import command_line

PROJECT = Path(__file__).parent.parent
PROGRAMS = ("fleet-rlm", "fleet-rlm-tui", "rlm-modal", "make")
_FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_BEFORE = re.compile(r"^(?:\$ |! ?|(?:uv run|sudo) |\.venv/bin/|\S*/\.venv/bin/)")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SYNOPSIS = re.compile(r"\[[-A-Z]|…|\s\|\s")
_KNOWN: dict[str, tuple[str, ...]] = {
    "sandbox": get_args(SandboxChoice),
    "task": tuple(TASKS),
    "kind": tuple(KINDS),
}
"""Values that a command checks itself, after its parser."""
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|.*(?:…|\.\.\.).*")


def quoted(text: str) -> Iterator[str]:
    """The commands in a Markdown text's fences (continued lines joined) and code spans."""
    fences = [block for _, block in _FENCE.findall(text)]
    for block in fences:
        for line in re.sub(r"(?:\\)?\n {4,}", " ", block).splitlines():
            yield from _commands(line)
    for span in _SPAN.findall(_FENCE.sub("", text)):
        yield from _commands(span)


def _commands(line: str) -> Iterator[str]:
    for part in re.split(r"\s(?:&&|\|\||;)\s|\s\|\s(?=[a-z./])", line):  # `[--a | --b]` is a synopsis, no pipe
        command = part.strip()
        while met := _BEFORE.match(command):
            command = command[met.end() :]
        if command.split(" ")[0] in PROGRAMS:
            yield command


def complaint(command: str) -> str:
    """What keeps a quoted command from being typed as it stands; empty when nothing does. Of a synopsis, only the
    names of commands and options are looked at.
    """
    words = _words(command)
    program, rest = words[0], words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        wrong = [word for word in rest if _NAME.fullmatch(word) and word not in targets]
        return f"make has no target {wrong[0]}" if wrong else ""
    if _SYNOPSIS.search(command):
        return _unknown_in(program, rest)
    return _screens_complaint(rest) if program == "fleet-rlm-tui" else _shells_complaint(rest)


def _unknown_in(program: str, rest: list[str]) -> str:
    node: Any = typer.main.get_command(command_line.app if program == "fleet-rlm-tui" else app)
    known = {"-h", "--help"}
    while rest and not rest[0].startswith("-") and hasattr(node, "commands"):
        if rest[0] not in node.commands:
            return f"there is no command {rest[0]}" if _NAME.fullmatch(rest[0]) else ""  # else a place-holder
        node, rest = node.commands[rest[0]], rest[1:]
    known |= {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return _unknown(rest, known)


def _screens_complaint(rest: list[str]) -> str:
    try:
        command_line.parse(["1" if _PLACEHOLDER.fullmatch(word) else word for word in rest])
    except command_line.UsageError as error:
        return str(error)
    except SystemExit:  # --help, --version
        return ""
    return ""


def _shells_complaint(rest: list[str]) -> str:
    here: Any = typer.main.get_command(app)
    context: Any = here.context_class(here, info_name="fleet-rlm")
    while rest and rest[0] in getattr(here, "commands", {}):
        here, name = here.commands[rest[0]], rest[0]
        rest, context = rest[1:], here.context_class(here, info_name=name, parent=context)
    if not rest or rest in (["--help"], ["--version"]):
        return ""  # a command or a group of them by its name, or what is asked of it
    if hasattr(here, "commands"):
        return f"there is no command {rest[0]}"
    try:
        values, left, _ = here.make_parser(context).parse_args(list(rest))
    except Exception as error:  # noqa: BLE001 - the parser's own errors, whichever library they are of
        return f"{type(error).__name__}: {error}"
    if left:
        return f"too many words: {left}"
    return next(filter(None, (_values_complaint(one, context, values.get(one.name)) for one in here.params)), "")


def _values_complaint(parameter: Any, context: Any, given: Any) -> str:
    words = given if isinstance(given, list | tuple) else [given]
    if known := _KNOWN.get(parameter.name):
        unknown = {word for word in words if word is not None and not _PLACEHOLDER.fullmatch(word)} - set(known)
        if unknown:
            return f"{parameter.name}: there is no {unknown}"
    if given is None or any(isinstance(word, str) and _PLACEHOLDER.fullmatch(word) for word in words):
        return ""
    try:
        parameter.process_value(context, given)
    except Exception as error:  # noqa: BLE001 - the parser's own errors, whichever library they are of
        return f"{parameter.name}: {error}"
    return ""


def options_of(name: str) -> set[str]:
    """The options of a command of `fleet-rlm`."""
    group: Any = typer.main.get_command(app)
    return {option for parameter in group.commands[name].params for option in parameter.opts}


def _words(command: str) -> list[str]:
    """A command's words; brackets and bars of a synopsis are no words."""
    plain = re.sub(r"\[(?=-)|(?<=[A-Z\]…a-z.])\](?=\s|\[|$)", " ", command.partition(" # ")[0])
    try:
        return shlex.split(plain)
    except ValueError:
        return plain.split()


def _unknown(words: list[str], known: set[str]) -> str:
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z0-9-]*", option) and option not in known:
            return f"there is no option {option}"
    return ""
