"""Commands that a text quotes, held against the programs' own parsers."""

from __future__ import annotations

import re
import shlex
from typing import Any, get_args

from typer.main import get_command

from fleet_rlm.cli.main import app
from fleet_rlm.corpora.kinds import KINDS
from fleet_rlm.spec import SandboxChoice
from fleet_rlm.tasks.catalog import TASKS
from fleet_rlm.tui.command_line import UsageError, parse

PROGRAMS = ("fleet-rlm", "rlm-modal", "fleet-rlm-tui")
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.M | re.S)
_SPAN = re.compile(r"`([^`\n]+)`")
_KNOWN: dict[str, tuple[str, ...]] = {
    "sandbox": get_args(SandboxChoice),
    "task": tuple(TASKS),
    "kind": tuple(KINDS),
}
"""Values that a command checks itself, after its parser."""
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*|.*(?:…|\.\.\.).*")


def commands_in(markdown: str) -> list[str]:
    """Each command in a code block's line or a code span."""
    lines = [line.strip() for block in _FENCE.findall(markdown) for line in block.splitlines()]
    spans = _SPAN.findall(_FENCE.sub("", markdown))
    return [one for one in [*lines, *spans] if one.split(" ", 1)[0] in PROGRAMS]


def problem_with(command: str) -> str | None:
    """Why it can't be typed as it stands; None when it can."""
    words = shlex.split(command, comments=True)
    if len(words) == 1:
        return None  # the program's name
    if words[0] == "fleet-rlm-tui":
        try:
            parse([word if not _PLACEHOLDER.fullmatch(word) else "1" for word in words[1:]])
        except UsageError as error:
            return str(error)
        return None
    here: Any = get_command(app)
    context: Any = here.context_class(here, info_name="fleet-rlm")
    rest = words[1:]
    while hasattr(here, "commands"):
        if not rest:
            return "it names a group and no command in it"
        name = rest.pop(0)
        if name in ("--version", "--help"):
            return None
        if name not in here.commands:
            return f"there is no command {name}"
        here = here.commands[name]
        context = here.context_class(here, info_name=name, parent=context)
    if rest == ["--help"]:
        return None
    try:
        values, left, _ = here.make_parser(context).parse_args(list(rest))
    except Exception as error:  # noqa: BLE001 - the parser's own errors, whichever library they are of
        return f"{type(error).__name__}: {error}"
    if left:
        return f"too many words: {left}"
    for parameter in here.params:
        given = values.get(parameter.name)
        words = given if isinstance(given, list | tuple) else [given]
        if known := _KNOWN.get(parameter.name):
            words = [word for word in words if word is not None and not _PLACEHOLDER.fullmatch(word)]
            if unknown := set(words) - set(known):
                return f"{parameter.name}: there is no {unknown}"
        if given is None or any(isinstance(word, str) and _PLACEHOLDER.fullmatch(word) for word in words):
            continue
        try:
            parameter.process_value(context, given)
        except Exception as error:  # noqa: BLE001 - the parser's own errors, whichever library they are of
            return f"{parameter.name}: {error}"
    return None


def options_of(name: str) -> set[str]:
    """The options of a command of `fleet-rlm`."""
    group: Any = get_command(app)
    return {option for parameter in group.commands[name].params for option in parameter.opts}
