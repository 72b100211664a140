"""Where runs are kept: can it be written, is there room, does the index open? Nothing new is left there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from fleet_rlm import config
from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.documents.document_work import size_in_words
from fleet_rlm.figures import plural

LITTLE_BYTES = 200_000_000
_ELSEWHERE = "Set FLEET_RLM_HOME to a folder that you may write to."


def look() -> list[Finding]:
    """The folder of runs, the room on its disk, the index beside the runs."""
    folder = config.runs_dir()
    found = [_writable(folder)]
    if folder.parent == config.homeless():
        words = f"no home folder is known, so runs are kept in {folder} and may be gone tomorrow"
        found.append(Finding("home", "note", words, "Set HOME, or FLEET_RLM_HOME to a folder for everything."))
    if found[0].state == "ok":
        found.append(_room(folder))
        if folder.is_dir():
            found.append(_index(folder))
    return found


def _writable(folder: Path) -> Finding:
    try:
        there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        if not there.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(there))
        with tempfile.TemporaryFile(dir=there):
            made = "" if there == folder else ", made by the first run"
    except OSError as error:
        return Finding("runs folder", "missing", f"{folder} can't be written: {error.strerror or error}", _ELSEWHERE)
    return Finding("runs folder", "ok", f"{folder}{made}")


def _room(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = f"{size_in_words(free)} free"
    if free >= LITTLE_BYTES:
        return Finding("room", "ok", words)
    return Finding(
        "room", "missing" if free < LITTLE_BYTES // 20 else "note", words, "Make room, or set FLEET_RLM_HOME."
    )


def _index(folder: Path) -> Finding:
    from fleet_rlm.runs.library import Library

    with Library(folder) as library:
        library.refresh()
        runs, notices = len(library.list()), list(library.notices)
    words = f"opens, {plural(runs, 'run')}"
    if notices:
        return Finding("run index", "note", f"{words}; {' '.join(notices)}")
    return Finding("run index", "ok", words)
