"""Write what broke to a file that a person can send: the traceback, redacted, without any variable's value."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from fleet_rlm.terminal_text import clean, clean_line

REPORT_CHARS = 200_000


def report(error: BaseException, folder: Path) -> list[str]:
    """Write a crash file into `folder` (added to, within one process) and return the lines that tell the person.

    The traceback has every exception of the chain. Where no file can be written, the lines hold the traceback itself.
    """
    redacted = redact("".join(traceback.format_exception(error)))
    text = clean(redacted if len(redacted) <= REPORT_CHARS else _shortened(redacted))
    what = clean_line(redact(f"{type(error).__name__}: {error}"), 300)
    path = folder / f"crash-{os.getpid()}.txt"
    lines = [f"fleet-rlm-tui ended on an error: {what}", "All recorded runs are kept."]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError:
        return [*lines, text]
    return [*lines, f"Please report it with this file: {clean_line(str(path), 500)}"]


def redact(text: str) -> str:
    """The text without the secrets of the environment and without what looks like a key."""
    from fleet_rlm import config
    from fleet_rlm.runs.redact import Redactor, secrets_in

    try:
        environment = config.load().environment
    except (OSError, ValueError):
        environment = dict(os.environ)
    return Redactor(secrets_in({**environment, **os.environ})).text(text)


def _shortened(text: str) -> str:
    """The beginning, which names the first cause, and the end, which names the last error."""
    half = REPORT_CHARS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
