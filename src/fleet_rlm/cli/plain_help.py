"""A Typer that draws its help itself: loading rich for it would take twice as long as loading Typer."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Row = tuple[str, str]
_NAMES_AT_MOST = 0.45
"""The widest column of option names, as a share of the line; a longer name gets a line to itself."""
_ASCII = str.maketrans("╭╮╰╯─│…", "+" * 4 + "-|.")


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _say_false(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_page(self, ctx))


class Group(TyperGroup):
    """Commands, by their names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _say_false(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_page(self, ctx, self.summaries()))

    def summaries(self) -> Iterator[Row]:
        """Yield each command's name with the first paragraph of its help."""
        for name, command in self.commands.items():
            yield name, first_paragraph(command.help or "")


class App(typer.Typer):
    """A group of commands."""

    def __init__(self, *, cls: type[Group] = Group, add_completion: bool = False, **options: Any) -> None:
        super().__init__(cls=cls, add_completion=add_completion, rich_markup_mode=None, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **options)


def _say_false(parameters: Iterable[Any]) -> None:
    """Make False of the None that Typer's own flags (`--help`, `--install-completion`) have when they are not given: it
    would load pydantic to check a None.
    """
    for one in parameters:
        if getattr(one, "is_flag", False) and one.default is None:
            one.default = False


def first_paragraph(text: str) -> str:
    """Return the beginning of a help text, up to its first empty line, on one line."""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _page(command: Any, ctx: Any, commands: Iterable[Row] = ()) -> str:
    """Return a command's whole help, as wide as the terminal and in colours where there is one."""
    width = max(shutil.get_terminal_size().columns, 40)
    panels: dict[str, list[Row]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        if (row := parameter.get_help_record(ctx)) is not None:
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panels.setdefault(parameter.rich_help_panel or usual, []).append(row)
    panels["Commands"] = list(commands)
    lines = ["", *_wrapped(command.get_usage(ctx), width, "1"), ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines += [*_wrapped(paragraph, width), ""]
    for title, rows in panels.items():
        lines += _panel(title, rows, width) if rows else []
    page = "\n".join(lines) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    try:
        page.encode(encoding)
    except UnicodeEncodeError:
        return page.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return page


def _wrapped(text: str, width: int, style: str = "") -> list[str]:
    return [f" {_styled(line, style)}" for line in textwrap.wrap(text, width - 2, break_on_hyphens=False)]


def _panel(title: str, rows: Sequence[Row], width: int) -> Iterator[str]:
    """Draw a frame around names and what is said of them."""
    inner = width - 4
    names = min(max(len(name) for name, _ in rows), int(inner * _NAMES_AT_MOST))
    yield _styled(f"╭─ {title} {'─' * (inner - len(title) - 1)}╮", "2")
    edge = _styled("│", "2")
    for name, words in rows:
        said = textwrap.wrap(words, inner - names - 2, break_on_hyphens=False) or [""]
        if len(name) > names:
            yield f"{edge} {_styled(name[:inner].ljust(inner), '1;36')} {edge}"
            name = ""
        for line in said:
            yield f"{edge} {_styled(name.ljust(names), '1;36')}  {line.ljust(inner - names - 2)} {edge}"
            name = ""
    yield _styled(f"╰{'─' * (width - 2)}╯", "2")


def _styled(text: str, style: str) -> str:
    """Return the text in a style of the terminal's; Typer takes it out again where the output is none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not style or not text.strip()
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"
