"""Text out of PDFs, mails, archives and the like, in a process of its own that may be stopped or come to grief.

What a file makes a parser do costs that process alone: it has a limit of memory and of time, none of the person's keys,
and a new one takes its place when it ends. `read_document` gives an engine a whole text, `open_extracted` a screen a
`TextFile`, `list_archive` what is in an archive.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fleet_rlm.documents.archive import BadArchive, Listing, Member
from fleet_rlm.documents.decode import Encoding, NotText
from fleet_rlm.documents.document_work import (
    BLOCK_BYTES,
    Cancelled,
    DocumentError,
    Stopped,
    Unreadable,
    never,
    printable,
    shown,
    size_in_words,
    unreadable,
)
from fleet_rlm.documents.formats.recognise import Unextractable
from fleet_rlm.documents.textfile import TextFile, spool, write_all

SECONDS = 90.0
"""Seconds of computing for reading a small file; a large one gets a second more for every `BYTES_A_SECOND`."""
BYTES_A_SECOND = 100_000
MEMORY_BYTES = 1_500_000_000
"""Bytes of memory for reading a small file; a large one gets `MEMORY_TIMES` its size more."""
MEMORY_TIMES = 60
_PATIENCE = 4
"""The process may take so many times longer than it computes: others want the machine, too."""
_POLL_SECONDS = 0.05
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "PYTHONPATH", "PYTHONUTF8", "SYSTEMROOT")
_ERRORS: dict[str, type[DocumentError]] = {
    one.__name__: one for one in (Unextractable, BadArchive, Unreadable, DocumentError)
}
_KEPT = 16

_turn = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[str, str, str, int, int], TextFile] = weakref.WeakValueDictionary()
"""Extracted texts that are in use, shared by the document's pane and the search for what was seen."""
_listings: dict[tuple[str, int, int], Listing] = {}
"""Archives that were looked into, by path, time and size: a form asks again with every key that is pressed."""


def read_document(
    path: Path, name: str, kind: str | None, member: str = "", size: int = 0, cancelled: Cancelled = never
) -> tuple[str, dict[str, Any]]:
    """The text of a file in a format, or of an archive's member, and facts about it: those of `load.Document`.

    `size` is the member's, unpacked. Raises `DocumentError`, or `Stopped`.
    """
    parts: list[bytes] = []
    request = {"do": "read", "path": str(path.absolute()), "name": name, "kind": kind, "member": member}
    facts = _ask(request, path, size, parts.append, cancelled)
    return b"".join(parts).decode(), facts


def digest_of(path: Path, member: str, cancelled: Cancelled = never) -> tuple[str, int]:
    """SHA-256 and size of an archive's member, unpacked. Raises as `read_document` does."""
    request = {"do": "digest", "path": str(path.absolute()), "member": member}
    facts = _ask(request, path, 0, lambda _: None, cancelled)
    return facts["sha256"], facts["size"]


def list_archive(path: Path, cancelled: Cancelled = never) -> Listing:
    """The texts in an archive, and what else there is. Raises `BadArchive`, `Unreadable` or `Stopped`.

    Unpacks all of it once; asked again for the same file, it answers at once.
    """
    now = _status(path)
    key = (str(path), now.st_mtime_ns, now.st_size)
    if (found := _listings.get(key)) is None:
        said = _ask({"do": "list", "path": str(path.absolute())}, path, 0, lambda _: None, cancelled)
        left_out = {why: tuple(names) for why, names in said["left_out"].items()}
        found = Listing(tuple(Member(*one) for one in said["members"]), left_out, tuple(said["notices"]))
        if len(_listings) >= _KEPT:
            _listings.clear()
        _listings[key] = found
    return found


def open_extracted(
    path: Path, name: str, *, kind: str = "", member: str = "", cancelled: Cancelled = never
) -> TextFile:
    """The text of a file in a format, or of an archive's member. Takes seconds: call it from a worker thread.

    Raises `DocumentError` (also where the reading process ends in a way that it should not), or `Stopped`.
    """
    now = _status(path)
    key = (str(path), kind, member, now.st_mtime_ns, now.st_size)
    if (text := _open.get(key)) is not None:
        return text
    fd = spool(name)
    request = {"do": "read", "path": str(path.absolute()), "name": path.name, "kind": kind, "member": member}
    try:
        _ask(request, path, 0, lambda data: write_all(fd, data, name), cancelled)
    except BaseException:  # ctrl+c too: nothing half done is left behind; it is raised again
        os.close(fd)
        raise
    text = _open[key] = TextFile(fd, printable(name), None, Encoding(), None)
    return text


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise unreadable(error, path) from error


def _ask(
    request: Mapping[str, str | None], path: Path, size: int, take: Callable[[bytes], object], cancelled: Cancelled
) -> dict[str, Any]:
    """Have something read, by one process and one thing at a time. Raises `DocumentError` or `Stopped`."""
    file_size = _status(path).st_size
    seconds = SECONDS + max(file_size, size) / BYTES_A_SECOND
    memory = MEMORY_BYTES + MEMORY_TIMES * min(file_size, 100_000_000) + 4 * max(file_size, size)
    while not _turn.acquire(timeout=_POLL_SECONDS):
        if cancelled():
            raise _stopped()
    try:
        return _reader.ask({**request, "seconds": seconds, "memory": memory}, take, cancelled)
    except TimeoutError as error:
        words = f"{shown(path)} could not be read in {seconds:,.0f} seconds."
        raise Unextractable(words, "Convert it to plain text, or split it, and pass that.") from error
    except (EOFError, OSError, ValueError) as error:
        words = f"{shown(path)} could not be read: its reader came to grief over it."
        hint = f"It may use up to {size_in_words(memory)} of memory. Convert the file to plain text and pass that."
        raise Unextractable(words, hint) from error
    finally:
        _turn.release()


class _Reader:
    """The process that reads (see `fleet_rlm.documents.formats.__main__`), started when there is something to read."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead = b""

    def ask(self, request: dict[str, Any], take: Callable[[bytes], object], cancelled: Cancelled) -> dict[str, Any]:
        """Send a request, pass the text on, and give the facts. Raises `DocumentError`, `Stopped`, `TimeoutError`, or
        `EOFError` when the process ended.
        """
        self._send(json.dumps(request).encode() + b"\n")
        until = time.monotonic() + request["seconds"] * _PATIENCE
        try:
            while b"\n" not in self._ahead:
                self._ahead += self._more(until, cancelled)
            head, _, self._ahead = self._ahead.partition(b"\n")
            facts: dict[str, Any] = json.loads(head)
            left: int = facts.get("bytes", 0)
            while left:
                data = self._ahead or self._more(until, cancelled)
                self._ahead = b""
                left -= len(data)
                take(data)
        except BaseException:  # what it still has to say would be taken for the next answer
            self.end()
            raise
        if "error" in facts:
            raise _error(facts)
        return facts

    def _send(self, line: bytes) -> None:
        """Write to the process; to a new one where the last has just gone for want of work."""
        if self._process is not None and self._process.poll() is None and self._process.stdin is not None:
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError:
                pass
            else:
                return
        self.end()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            # -P: no module of the current folder's, which may be a stranger's
            [sys.executable, "-P", "-m", "fleet_rlm.documents.formats"],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def end(self) -> None:
        """Leave nothing of the process."""
        process, self._process, self._ahead = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def _more(self, until: float, cancelled: Cancelled) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while True:
            if cancelled():
                raise _stopped()
            if select.select([out], [], [], _POLL_SECONDS)[0]:
                break
            if time.monotonic() > until:
                raise TimeoutError
        if data := os.read(out, BLOCK_BYTES):
            return data
        if self._process.wait() == -24:  # SIGXCPU: it computed longer than it may
            raise TimeoutError
        raise EOFError


_reader = _Reader()
atexit.register(_reader.end)


def _error(facts: dict[str, Any]) -> DocumentError:
    if facts["error"] == NotText.__name__:
        return NotText.said(facts["message"], facts["hint"])
    return _ERRORS.get(facts["error"], DocumentError)(facts["message"], facts["hint"])


def _stopped() -> Stopped:
    return Stopped("reading the document was cancelled.")
