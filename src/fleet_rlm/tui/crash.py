"""What a person gets when the app itself breaks: a line and a file, not a page of its insides."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from fleet_rlm.screen_text import clean, clean_line

REPORT_CHARS = 200_000


def report(error: BaseException, folder: Path) -> list[str]:
    """Write the traceback (without the variables' values) beside the app's state; the lines to tell the person."""
    text = "".join(traceback.format_exception(error))[-REPORT_CHARS:]
    what = clean_line(f"{type(error).__name__}: {error}", 300)
    path = folder / f"crash-{os.getpid()}.txt"
    lines = [f"fleet-rlm-tui broke: {what}", "Runs that were recorded are kept."]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(clean(text), encoding="utf-8", errors="replace")
        path.chmod(0o600)
    except OSError:
        return [*lines, clean(text)]
    return [*lines, f"Please report it with this file: {clean_line(str(path), 500)}"]
