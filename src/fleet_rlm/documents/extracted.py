"""Look at the text of a document that is no plain text: another process takes it out, into a temporary file here."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from pathlib import Path

from fleet_rlm.documents.decode import Encoding
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.textfile import TextFile, spool
from fleet_rlm.documents.work import BLOCK_BYTES, Cancelled, DocumentError, Stopped, never, printable, shown, unreadable

_POLL_SECONDS = 0.05

_turn = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[str, str, str, int, int], TextFile] = weakref.WeakValueDictionary()
"""What somebody has open: the document's pane and the search for what was seen want the same text."""


def open_extracted(
    path: Path, name: str, *, kind: str = "", member: str = "", cancelled: Cancelled = never
) -> TextFile:
    """The text of a file in a format, or of an archive's member. Takes seconds: call it from a worker thread.

    Raises `DocumentError` (also where the reading process ends in a way that it should not), or `Stopped`.
    """
    try:
        now = path.stat()
    except OSError as error:
        raise unreadable(error, path) from error
    key = (str(path), kind, member, now.st_mtime_ns, now.st_size)
    while not _turn.acquire(timeout=_POLL_SECONDS):
        if cancelled():
            raise _stopped()
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
        for last in (False, True):
            try:
                _reader.read([str(path.absolute()), kind, member], fd, cancelled)
                break
            except (EOFError, OSError) as error:  # it may have just gone for want of work
                _reader.end()
                if last:
                    words = f"{shown(path)} could not be read: its reader came to grief over it."
                    raise Unextractable(words) from error
                os.ftruncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return TextFile(fd, printable(name), None, Encoding(), None)


class _Reader:
    """The process that reads (see `fleet_rlm.documents.formats.__main__`), started when there is something to read."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead = b""

    def read(self, request: list[str], into: int, cancelled: Cancelled) -> None:
        """Write the text into a descriptor. Raises `DocumentError`, `Stopped`, or `EOFError` when the process ended."""
        if self._process is None or self._process.poll() is not None:
            self.end()
            command = [sys.executable, "-m", "fleet_rlm.documents.formats"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        try:
            while b"\n" not in self._ahead:
                self._ahead += self._more(cancelled)
            head, _, self._ahead = self._ahead.partition(b"\n")
            answer = json.loads(head)
            left: int = answer.get("bytes", 0)
            while left:
                data = self._ahead or self._more(cancelled)
                self._ahead = b""
                left -= len(data)
                _write_all(into, data)
        except BaseException:  # what it still has to say would be taken for the next answer
            self.end()
            raise
        if "message" in answer:
            raise DocumentError(answer["message"], answer["hint"])

    def end(self) -> None:
        """Leave nothing of the process."""
        process, self._process, self._ahead = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def _more(self, cancelled: Cancelled) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while True:
            if cancelled():
                raise _stopped()
            if select.select([out], [], [], _POLL_SECONDS)[0]:
                break
        if data := os.read(out, BLOCK_BYTES):
            return data
        raise EOFError


_reader = _Reader()
atexit.register(_reader.end)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise unreadable(error, "a temporary file for the document's text") from error


def _stopped() -> Stopped:
    return Stopped("opening the document was cancelled.")
