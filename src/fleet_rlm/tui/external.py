"""Hand text to the person's own programs: `$EDITOR` and the pager. The app steps aside until they end."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.app import SuspendNotSupported

from fleet_rlm.terminal_text import clean

if TYPE_CHECKING:
    from textual.app import App

    from fleet_rlm.tui.app import FleetApp

_INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)


class CannotRun(RuntimeError):
    """The program is missing or failed; the message says what to set."""


def editor_command() -> list[str]:
    """Return the command in `$VISUAL` or `$EDITOR`, else the first of nano, vim, vi. Raises `CannotRun`."""
    return _command(("VISUAL", "EDITOR"), ("nano", "vim", "vi"), "set EDITOR, for example EDITOR=nano")


def pager_command() -> list[str]:
    """Return the command in `$PAGER`, else the first of less, more. Raises `CannotRun`."""
    return _command(("PAGER",), ("less", "more"), "set PAGER, for example PAGER=less")


def edit_text(app: App[Any], text: str, suffix: str = ".py") -> str:
    """The text as the person left it in their editor; as it was when they interrupted it. Raises `CannotRun`."""
    command = editor_command()
    with tempfile.TemporaryDirectory(prefix="fleet-rlm-") as folder:
        path = Path(folder) / f"cell{suffix}"
        path.write_text(text, encoding="utf-8", errors="replace")
        if not _run(app, [*command, str(path)]):
            return text
        return path.read_text(encoding="utf-8", errors="replace")


def page_text(app: App[Any], text: str) -> None:
    """Show the text in the person's pager, cleaned as everything that meets a terminal. Raises `CannotRun`."""
    command = pager_command()
    with tempfile.TemporaryDirectory(prefix="fleet-rlm-") as folder:
        path = Path(folder) / "text"
        path.write_text(clean(text), encoding="utf-8")
        _run(app, [*command, str(path)])


def _command(variables: tuple[str, ...], usual: tuple[str, ...], hint: str) -> list[str]:
    for variable in variables:
        words = shlex.split(os.environ.get(variable, ""))
        if words and shutil.which(words[0]):
            return words
    for name in usual:
        if shutil.which(name):
            return [name]
    raise CannotRun(f"No program found: {hint}.")


def _run(app: App[Any], command: list[str]) -> bool:
    """Run a program in the app's terminal. False when the person interrupted it."""
    code, error, terminal = 0, "", cast("FleetApp", app).terminal
    try:
        with terminal.lent(), app.suspend():  # an error inside would leave the app suspended
            try:
                code = terminal.run(command)
            except OSError as failed:
                error = f"{command[0]} did not start: {failed.strerror}."
    except SuspendNotSupported as failed:
        raise CannotRun("This terminal cannot be handed over to another program.") from failed
    if error:
        raise CannotRun(error)
    if code in _INTERRUPTED:
        return False
    if code != 0:
        raise CannotRun(f"{command[0]} ended with code {code}.")
    return True
