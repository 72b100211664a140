"""`fleet-rlm-tui`: check what was asked for, run the app, say where the runs are.

The way to Home imports little: it is what a person waits for most often.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from fleet_rlm import __version__, standard_streams

if TYPE_CHECKING:
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.sources.event_source import RunSource

STOP_SECONDS = 8.0
LINE_CHARS = 2000
USAGE_CODE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app. Returns 0, or 2 for a usage error, told in one line on stderr before any screen opens."""
    gc.disable()  # until the first frame: collecting between imports would cost a tenth of the time to it
    return standard_streams.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    given = sys.argv[1:] if argv is None else argv
    source, spec, on_hang_up = None, None, None
    if given:
        from fleet_rlm.tui.command_line import UsageError, first_to_open, parse

        try:
            arguments = parse(given)
            if arguments.opened.version:
                sys.stdout.write(f"fleet-rlm {__version__}\n")
                return 0
            if arguments.opened.keys:
                from fleet_rlm.tui.look.keys import printable

                sys.stdout.write(printable() + "\n")
                return 0
            source, spec = first_to_open(arguments)
            on_hang_up = cast("str | None", arguments.options.asked.get("run.on_hang_up"))
        except UsageError as error:
            return _refuse(str(error))
    if missing := _missing_terminal():
        return _refuse(missing)
    return _run(source, spec, on_hang_up)


def _run(source: RunSource | None, spec: RunSpec | None, on_hang_up: str | None) -> int:
    from fleet_rlm.log_text import clean_process
    from fleet_rlm.tui.app import FleetApp

    clean_process()
    app = FleetApp(source, spec, on_hang_up=on_hang_up)
    lines = app.run(mouse=app.mouse_on) or []
    lines += _engines_left(app)
    from fleet_rlm.terminal_text import clean_line

    for line in lines:
        sys.stdout.write(clean_line(line, LINE_CHARS) + "\n")
    return app.return_code or 0


def _engines_left(app: FleetApp) -> list[str]:
    """Wait for engines that were told to end; leaving earlier would leave their end to chance."""
    if not len(app.live_runs):
        return []
    from fleet_rlm.tui.sources import EngineClient

    left = []
    for run in app.live_runs:
        source = run.view.source
        source.close()
        if isinstance(source, EngineClient) and not source.wait_closed(STOP_SECONDS):
            left.append(f"An engine (process {source.pid}) has not ended yet.")
    return left


def _missing_terminal() -> str:
    """Why no screen can open here; empty when one can."""
    if os.environ.get("TERM", "") == "dumb":
        return "this terminal (TERM=dumb) cannot show the app; `fleet-rlm run` works without one."
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr)):
        if stream is None or not stream.isatty():
            return f"standard {name} is not a terminal; `fleet-rlm run` works without one."
    return ""


def _refuse(words: str) -> int:
    from fleet_rlm.terminal_text import clean_line

    sys.stderr.write(f"fleet-rlm-tui: {clean_line(words, LINE_CHARS)}\n")
    return USAGE_CODE
