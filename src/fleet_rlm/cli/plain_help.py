"""A Typer whose help shows every text as it is written: `[modal]` is a section's name there, and no markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


def _escaped(text: str | None) -> str | None:
    """The text as rich's markup writes it; texts that are escaped already stay."""
    return text.replace("\\[", "[").replace("[", "\\[") if text else text


def _escape(command: Any) -> None:  # a command of the click that Typer carries within, which has no public name
    for name in ("help", "short_help", "epilog"):
        setattr(command, name, _escaped(getattr(command, name, None)))
    for parameter in command.params:
        parameter.help = _escaped(getattr(parameter, "help", None))


class _Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _escape(self)
        super().format_help(ctx, formatter)


class _Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _escape(self)
        for command in self.commands.values():
            _escape(command)
        super().format_help(ctx, formatter)


class App(typer.Typer):
    """A group of commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **options)
