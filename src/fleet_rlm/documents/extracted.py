"""Look at the text of a document that is no plain text: extracted by another process into a temporary file."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path

from fleet_rlm.documents.decode import Encoding
from fleet_rlm.documents.formats.__main__ import REFUSED
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.textfile import TextFile, spool
from fleet_rlm.documents.work import Cancelled, DocumentError, Stopped, never, printable, shown, unreadable

_POLL_SECONDS = 0.05

_turn = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[str, str, str, int, int], TextFile] = weakref.WeakValueDictionary()
"""What somebody has open: the document's pane and the search for what was seen want the same text."""


def open_extracted(
    path: Path,
    name: str,
    *,
    kind: str = "",
    member: str = "",
    cancelled: Cancelled = never,
) -> TextFile:
    """The text of a file in a format, or of an archive's member. Takes seconds: call it from a worker thread.

    Raises `DocumentError` (also where the extracting process ends in a way that it should not), or `Stopped`.
    """
    try:
        now = path.stat()
    except OSError as error:
        raise unreadable(error, path) from error
    key = (str(path), kind, member, now.st_mtime_ns, now.st_size)
    while not _turn.acquire(timeout=_POLL_SECONDS):
        if cancelled():
            raise Stopped("opening the document was cancelled.")
    try:
        text = _open.get(key)
        if text is None:
            text = _open[key] = _extracted(path, name, kind, member, cancelled)
        return text
    finally:
        _turn.release()


def _extracted(path: Path, name: str, kind: str, member: str, cancelled: Cancelled) -> TextFile:
    fd = spool(name)
    try:
        _run(fd, path, kind, member, cancelled)
    except BaseException:
        os.close(fd)
        raise
    return TextFile(fd, printable(name), None, Encoding(), None)


def _run(fd: int, path: Path, kind: str, member: str, cancelled: Cancelled) -> None:
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-m", "fleet_rlm.documents.formats", str(path), kind, member]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=fd, stderr=errors)
        try:
            while child.poll() is None:
                if cancelled():
                    raise Stopped("opening the document was cancelled.")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=_POLL_SECONDS)
        finally:
            if child.poll() is None:
                child.kill()
            code = child.wait()
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    if code == REFUSED:
        refused = json.loads(said.splitlines()[-1])
        raise DocumentError(refused["message"], refused["hint"])
    if code:
        raise Unextractable(f"{shown(path)} could not be read: its reader ended with status {code}.")
