"""Commands that texts quote, and whether the programs that they name have such commands and options."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fleet_rlm.cli.main import app
from fleet_rlm.tui import command_line

PROJECT = Path(__file__).parent.parent
PROGRAMS = ("fleet-rlm", "fleet-rlm-tui", "rlm-modal", "make")
_FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_BEFORE = re.compile(r"^(?:\$ |! ?|(?:uv run|sudo) |\.venv/bin/|\S*/\.venv/bin/)")
_NAME = re.compile(r"[a-z][a-z0-9-]*")


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
    """What is wrong with a quoted command; empty when nothing is."""
    words = _words(command)
    program, rest = words[0], words[1:]
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        wrong = [word for word in rest if _NAME.fullmatch(word) and word not in targets]
        return f"make has no target {wrong[0]}" if wrong else ""
    if program == "fleet-rlm-tui":
        return _unknown(rest, set(_screen()._option_string_actions))
    node: Any = typer.main.get_command(app)
    known = {"-h", "--help"}
    while rest and not rest[0].startswith("-") and hasattr(node, "commands"):
        if rest[0] not in node.commands:
            if not _NAME.fullmatch(rest[0]):  # a place-holder, such as `…`
                return ""
            return f"there is no command {rest[0]}"
        node, rest = node.commands[rest[0]], rest[1:]
    known |= {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return _unknown(rest, known)


def _screen() -> argparse.ArgumentParser:
    return command_line._parser()


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
