"""A document open for looking at: its text as UTF-8 bytes by position, whatever it is encoded in.

UTF-8 files are read where they are. Text in another encoding is transcoded, piece by piece, into a private temporary
file without a name (nothing stays behind, not even after a crash), so that the index, the search and the locator know
one form only. Positions ("offsets") everywhere in this package are bytes of that UTF-8 text, a byte-order mark left
out.
"""

from __future__ import annotations

import os
import stat
import tempfile
import weakref
from pathlib import Path
from typing import Literal

from fleet_rlm.documents.decode import Decoder, Encoding, detect, known_codec, utf8
from fleet_rlm.documents.document_work import (
    BLOCK_BYTES,
    Cancelled,
    Progress,
    Throttle,
    Turns,
    Unreadable,
    never,
    printable,
    shown,
    unreadable,
)

Change = Literal["grew", "truncated", "rewritten", "replaced", "deleted"]


class TextFile:
    """Open one with `TextFile.open` or `TextFile.of_text`; it closes itself when nobody holds it any more.

    `read` may be called from any thread at any time. Only one thread may call `fill` (`LineIndex.build` does).
    """

    def __init__(self, fd: int, name: str, path: Path | None, encoding: Encoding, file_bytes: int | None) -> None:
        """For this package: takes over `fd`, the document's own bytes, all of them where `file_bytes` is None."""
        self._raw = fd
        weakref.finalize(self, os.close, fd)
        self.name = name
        self.path = path
        self.encoding = encoding
        self._stat = os.fstat(fd)
        self.file_bytes = file_bytes = self._stat.st_size if file_bytes is None else file_bytes
        """The file's size when it was opened, in bytes on disk."""
        self._filled = encoding.bom  # bytes of the file that are transcoded
        if encoding.is_utf8:
            self._text, self._base = fd, encoding.bom
            self._size, self._ready = max(0, file_bytes - encoding.bom), True
        else:
            self._text, self._base, self._size, self._ready = spool(name), 0, 0, False
            weakref.finalize(self, os.close, self._text)
            self._decoder = Decoder(encoding.codec)

    @classmethod
    def open(cls, path: Path | str, name: str | None = None, *, encoding: str | None = None) -> TextFile:
        """Open a file; `encoding` (a codec's name, as a run records it) overrides detection.

        Takes milliseconds at any size. Raises `Unreadable` (missing, no permission, a folder, a pipe) or `NotText`.
        """
        path = Path(path)
        fd, size = open_regular(path)
        try:
            found = detect(lambda count, offset: os.pread(fd, count, offset), size, path)
            if encoding is not None and encoding != found.codec:
                found = Encoding(known_codec(encoding))
        except OSError as error:
            os.close(fd)
            raise unreadable(error, path) from error
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, printable(name or path.name), path, found, size)

    @classmethod
    def of_text(cls, text: str, name: str) -> TextFile:
        """A document that is no file, such as an input stored in a run; kept in a nameless temporary file."""
        fd = spool(name)
        data = utf8(text)
        try:
            write_all(fd, data, name)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, printable(name), None, Encoding(), len(data))

    @property
    def size(self) -> int:
        """Bytes of UTF-8 text that `read` can reach now; grows until `ready`."""
        return self._size

    @property
    def ready(self) -> bool:
        """True when all of the text can be read: at once for UTF-8, after `fill` came to the end for the others."""
        return self._ready

    @property
    def expected(self) -> int:
        """About how many bytes `size` will be in the end, for progress."""
        if self._ready or not self._filled:
            return max(self._size, 1)
        return max(self._size, self._size * self.file_bytes // self._filled, 1)

    def read(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`; fewer at the end, or when the file was truncated meanwhile.

        Raises `Unreadable` when the disk fails.
        """
        count = min(count, self._size - offset)
        parts: list[bytes] = []
        while count > 0:
            try:
                data = os.pread(self._text, count, self._base + offset)
            except OSError as error:
                raise unreadable(error, self.path or self.name) from error
            if not data:
                break
            parts.append(data)
            count -= len(data)
            offset += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def text(self, start: int, end: int) -> str:
        """The text between two offsets; invalid bytes and characters cut by the ends show as U+FFFD."""
        return self.read(end - start, start).decode("utf-8", "replace")

    def fill(self) -> bool:
        """Make about one more MiB of the text readable; False when there is no more. A no-op for UTF-8.

        Raises `Unreadable` when the disk of temporary files is full or the file can't be read.
        """
        if self._ready:
            return False
        try:
            data = os.pread(self._raw, min(BLOCK_BYTES, self.file_bytes - self._filled), self._filled)
        except OSError as error:
            raise unreadable(error, self.path or self.name) from error
        text = utf8(self._decoder(data, final=not data))
        write_all(self._text, text, self.name)
        self._filled += len(data)
        self._size += len(text)
        self._ready = not data
        return not self._ready

    def fill_all(self, progress: Progress | None = None, cancelled: Cancelled = never) -> bool:
        """`fill` to the end; False when cancelled."""
        tell, turns = Throttle(progress), Turns(cancelled)
        while self.fill():
            if turns():
                return False
            tell(self._filled, self.file_bytes)
        return True

    def change(self) -> Change | None:
        """Return how the file changed since it was opened, or None. A `stat` or two: call it now and then, not per row.

        What was opened goes on being shown: a deleted or replaced file in full, a truncated one as far as it goes.
        """
        if self.path is None:
            return None
        now = os.fstat(self._raw)
        if now.st_size < self.file_bytes:
            return "truncated"
        try:
            there = self.path.stat()
        except OSError:
            return "deleted"
        if (there.st_dev, there.st_ino) != (now.st_dev, now.st_ino):
            return "replaced"
        if now.st_size > self.file_bytes:
            return "grew"
        return "rewritten" if now.st_mtime_ns != self._stat.st_mtime_ns else None


def open_regular(path: Path) -> tuple[int, int]:
    """A descriptor and the size in bytes of a regular file. Raises `Unreadable` for anything else."""
    try:
        # non-blocking: opening a pipe must not wait for its writer
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:
        raise Unreadable(f"{shown(path)!r} is no path: it holds a zero byte.") from error
    except OSError as error:
        raise unreadable(error, path) from error
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode):
        return fd, found.st_size
    os.close(fd)
    kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
    raise Unreadable(f"{shown(path)} is {kind}, not a file.", "Save what it gives to a file and pass that.")


def spool(name: str) -> int:
    """A descriptor of a new nameless file that only we can read. Raises `Unreadable`."""
    try:
        with tempfile.TemporaryFile(prefix="fleet-rlm-") as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise unreadable(error, f"a temporary file for {name}") from error


def write_all(fd: int, data: bytes, name: str) -> None:
    """Append to a file that `spool` made. Raises `Unreadable`."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        raise unreadable(error, f"a temporary file for {name}") from error
