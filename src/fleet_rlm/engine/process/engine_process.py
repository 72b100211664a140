"""The engine process: reads commands from stdin, runs one run, writes its events to stdout.

Nothing slow is imported before the first command is read: documents are read while dspy is being imported.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import msgspec

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.engine.process.event_outlet import Outlet
from fleet_rlm.engine.run.session import RunSession
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.log_text import clean_process, logger
from fleet_rlm.sandbox.local.harden import harden_self

SCREEN_ENDED = "the screen ended"
FAILED, BROKEN = 2, 70

_log = logger(__name__)


def main(arguments: list[str], commands: int, events: int) -> NoReturn:
    """Run the process to its exit; `commands` and `events` are private descriptors (see `own_pipes`)."""
    if arguments[:1] == ["--describe"]:
        from fleet_rlm.engine.process.describe import describe

        answer = memoryview(describe(arguments[1] if len(arguments) > 1 else "{}") + b"\n")
        while answer:
            answer = answer[os.write(events, answer) :]
        sys.exit(0)
    if arguments:
        sys.exit(f"fleet_rlm.engine takes commands on stdin, or --describe JSON; not {arguments[0]!r}")
    clean_process()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    with suppress(PermissionError):  # already a group leader, as our parent made us
        os.setsid()
    harden_self()
    code = _work(_Lines(commands), events)
    sys.stderr.flush()
    os._exit(code)  # the run is recorded and over; a thread that hangs in a library must not keep the process


def _work(lines: _Lines, events: int) -> int:
    session: RunSession | None = None
    outlet = Outlet(events, lambda: session.path if session else None)
    try:
        start = _first(lines)
        threading.Thread(target=_import_driving, name="fleet-import", daemon=True).start()
        session = RunSession(start.spec, [outlet.hear])
        _handle_signals(session.abort)
        threading.Thread(target=_carry_out_commands, args=(session, lines), name="fleet-commands", daemon=True).start()
        session.run()
    except SetupError as error:
        outlet.fail(ev.Failure(type="Setup", message=error.message, hint=error.hint or None))
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last place that can still tell the screen
        _log.exception("the engine failed before its run began")
        message = f"the engine failed before the run began: {error}"
        outlet.fail(ev.Failure(type=type(error).__name__, message=message, hint="Please report this."))
        return BROKEN
    _handle_signals(None)
    outlet.close()
    return 0


def _import_driving() -> None:
    """Import dspy, which takes long, while documents are read."""
    importlib.import_module("fleet_rlm.engine.run.drive_rlm")


def _first(lines: _Lines) -> spec.Start:
    line = lines.next()
    if line is None:
        raise SetupError("No command came.", 'The first line on stdin is {"do": "start", "spec": {…}}.')
    try:
        command = spec.decode_command(line)
    except ValueError as error:
        raise SetupError(f"The first command can't be read: {error}") from error
    if not isinstance(command, spec.Start):
        raise SetupError("The first command must be `start`.")
    return command


def _carry_out_commands(session: RunSession, lines: _Lines) -> None:
    """Carry out commands until their pipe ends."""
    detached = False
    while (line := lines.next()) is not None:
        try:
            command = spec.decode_command(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("a command can't be read: %s", error)
            continue
        detached |= isinstance(command, spec.Detach)
        session.command(command)
    if not detached:
        session.abort(SCREEN_ENDED)
        return
    session.command(spec.SetBreakpoints(breakpoints=spec.Breakpoints()))  # nobody is left to answer a gate
    session.command(spec.Continue())


def _handle_signals(abort: Callable[[str], None] | None) -> None:
    """Abort the run on SIGTERM, SIGINT and SIGHUP; with None, after the run, let them end the process at once."""

    def abort_on_signal(number: int, _frame: object) -> None:
        assert abort is not None
        reason = f"the engine got {signal.Signals(number).name}"
        threading.Thread(target=abort, args=(reason,), daemon=True).start()  # a handler must take no lock

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, abort_on_signal if abort else signal.SIG_DFL)


class _Lines:
    """Lines of a descriptor, read without a buffer object (whose lock a daemon thread could hold at the end)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rest = b""

    def next(self) -> bytes | None:
        """Return the next line that is not empty, or None at the end."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                if line.strip():
                    return line
                continue
            data = os.read(self._fd, 1 << 16)
            if not data:
                return None
            self._rest += data
