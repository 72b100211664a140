"""The command: all rooms at once, told in order."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from fleet_rlm import config
from fleet_rlm.cli import printing
from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.cli.doctor.parallel_checks import at_once
from fleet_rlm.config.settings_table import MODELS, TUNING, Parsed
from fleet_rlm.run_options import by_group, with_options
from fleet_rlm.terminal_text import clean_line

_MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "missing": ("✗", "red"), "not needed": ("–", "yellow")}
_LINE = 4000


@with_options(one for one in by_group() if one.group in (MODELS, TUNING) or one.key == "run.sandbox")
def doctor(
    asked: Mapping[str, Parsed | None],
    probe: Annotated[bool, typer.Option("--probe", help="Ask the model one tiny question, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check everything that a run needs on this machine, and say how to fix what is missing.

    Exit status: 0 when a run could start; 2 when what is configured can't be used, or for wrong usage; 1 when
    something else is missing that a run needs.
    """
    try:
        with _working(as_json):
            found = examine(asked, probe=probe)
    except KeyboardInterrupt:
        raise typer.Exit(printing.ABORTED) from None
    stopped = [finding for finding in found if finding.stops_a_run]
    if as_json:
        checks = [
            {
                "name": one.name,
                "state": one.state,
                "words": one.words,
                "hint": one.hint,
                "needed": one.needed,
            }
            for one in found
        ]
        printing.say_json({"ok": not stopped, "checks": checks})
    else:
        _print(found)
        names = ", ".join(dict.fromkeys(one.name for one in stopped))
        printing.tell(f"A run can't start before this is fixed: {names}." if stopped else "A run can start here.")
    usage = any(one.configured for one in stopped)
    raise typer.Exit(printing.OK if not stopped else printing.USAGE if usage else printing.FAILED)


def examine(asked: Mapping[str, Parsed | None] | None = None, *, probe: bool = False) -> list[Finding]:
    """All findings, in the order of the rooms. Never raises for what it finds."""
    from fleet_rlm.cli.doctor import (
        check_isolation,
        check_modal,
        check_model,
        check_python,
        check_storage,
        check_terminal,
    )
    from fleet_rlm.cli.doctor import check_settings as settings_room

    settings, stopped = config.load(asked=asked), threading.Event()
    rooms: dict[str, Callable[[], list[Finding]]] = {
        "python": check_python.look,
        "settings": lambda: settings_room.look(settings),
        "model": lambda: check_model.look(settings, probe=probe),
        "isolation": lambda: check_isolation.look(settings, needed=not check_modal.is_asked_for(settings)),
        "modal": lambda: check_modal.look(settings, stopped),
        "storage": check_storage.look,
        "terminal": check_terminal.look,
    }
    questions = [functools.partial(_guarded, name, look) for name, look in rooms.items()]
    return [finding for found in at_once(questions, stopped) for finding in found]


def _guarded(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - the doctor says what it met, whatever it was
        words = f"could not be looked at: {type(error).__name__}: {error}"
        hint = "Install fleet-rlm again, in its folder: make clean sync" if _broken(error) else ""
        return [Finding(name, "missing", words, hint)]


def _broken(error: Exception) -> bool:
    return isinstance(error, ImportError | AttributeError | SyntaxError)


def _working(as_json: bool) -> AbstractContextManager[object]:
    if as_json or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    # Streams stay as they are: one of the rooms looks at them.
    line = Spinner("dots", "looking …")
    return Live(line, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)


def _mark(finding: Finding) -> tuple[str, str]:
    """A sign and its colour."""
    return _MARKS["not needed" if finding.state == "missing" and not finding.needed else finding.state]


def _print(found: Sequence[Finding]) -> None:
    if not printing.draws():
        for one in found:
            printing.say(f"{_mark(one)[0]} {one.name:<15} {clean_line(one.words, _LINE)}")
            if one.hint and one.state != "ok":
                for line in one.hint.splitlines():
                    printing.say(f"{'':<18}{clean_line(line, _LINE)}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        mark, style = _mark(one)
        words = Text(clean_line(one.words, _LINE))
        if one.hint and one.state != "ok":
            words.append("".join(f"\n{clean_line(line, _LINE)}" for line in one.hint.splitlines()), "dim")
        table.add_row(Text(mark, style), Text(one.name, "bold" if one.state == "missing" else ""), words)
    Console(highlight=False).print(table)
