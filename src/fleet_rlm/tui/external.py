"""Hand text to the person's own programs: `$EDITOR` and the pager. The app steps aside until they end."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from fleet_rlm.screen_text import clean

if TYPE_CHECKING:
    from textual.app import App


class CannotRun(RuntimeError):
    """The program is missing or failed; the message says what to set."""


def editor_command() -> list[str]:
    """What `$VISUAL` or `$EDITOR` says, else the first of nano, vim, vi. Raises `CannotRun`."""
    return _command(("VISUAL", "EDITOR"), ("nano", "vim", "vi"), "set EDITOR, for example EDITOR=nano")


def pager_command() -> list[str]:
    """What `$PAGER` says, else the first of less, more. Raises `CannotRun`."""
    return _command(("PAGER",), ("less", "more"), "set PAGER, for example PAGER=less")


def edit_text(app: App[object], text: str, suffix: str = ".py") -> str:
    """The text as the person left it in their editor. Raises `CannotRun`."""
    command = editor_command()
    with tempfile.TemporaryDirectory(prefix="fleet-rlm-") as folder:
        path = Path(folder) / f"cell{suffix}"
        path.write_text(text, encoding="utf-8", errors="replace")
        _run(app, [*command, str(path)])
        return path.read_text(encoding="utf-8", errors="replace")


def page_text(app: App[object], text: str) -> None:
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


def _run(app: App[object], command: list[str]) -> None:
    try:
        with app.suspend():
            done = subprocess.run(command, check=False)
    except SuspendNotSupported as error:
        raise CannotRun("This terminal cannot be handed over to another program.") from error
    except OSError as error:
        raise CannotRun(f"{command[0]} did not start: {error.strerror}.") from error
    if done.returncode != 0:
        raise CannotRun(f"{command[0]} ended with code {done.returncode}.")
