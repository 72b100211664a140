"""The streams on which a cell writes: pipes of its own, whose other ends go to the supervisor."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import sys
import threading
from collections.abc import Callable

from .link import Link
from .threads import Threads
from .wire import READ_BYTES

_LATE_BYTES = 64 << 10
"""Output of a cell that is passed on after its end."""


class Stream(io.TextIOWrapper):
    """`sys.stdout` and `sys.stderr`: a subclass, so that an instance can have a `write` of its own."""


class Output:
    """The worker's standard streams, renewed for each cell."""

    def __init__(self, link: Link, threads: Threads) -> None:
        self.link, self.threads = link, threads
        self.null = os.open(os.devnull, os.O_RDWR)
        self.reserve: list[int] = []
        """Descriptors that are given back when a cell begins, should the code have used up all others."""
        self.held: dict[int, tuple[int, int]] = {}
        """By cell: its pipes, for threads that outlived it."""
        self.ticking, self.tick_lock = False, threading.Lock()
        self._open()

    def _open(self) -> None:
        self.stdout, self.stderr = (
            Stream(io.BufferedWriter(io.FileIO(fd, "w", closefd=False), 1 << 16), "utf-8", "backslashreplace", "\n")
            for fd in (1, 2)
        )

    def begin(self) -> None:
        """Put pipes of the cell's own on descriptors 1 and 2, and fresh streams into `sys`."""
        self._sort_writes()
        for cell in [cell for cell in self.held if not self.threads.alive.get(cell)]:
            self._close(*self.held.pop(cell))
        while self.reserve:
            self._close(self.reserve.pop())
        reads = []
        for number in (1, 2):
            read, write = os.pipe()
            reads.append(read)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 18)
            os.dup2(write, number)
            os.close(write)
        self.link.send({"t": "began", "cell": self.threads.cell}, reads)
        self._close(*reads)
        with contextlib.suppress(OSError):
            while len(self.reserve) < 6:
                self.reserve.append(os.dup(self.null))
        try:
            self.stdout.reconfigure(line_buffering=True)
            self.stderr.reconfigure(line_buffering=True)
        except ValueError:  # a thread that outlived its cell closed them
            self._open()
        self._sort_writes()
        stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
        sys.stdin = sys.__stdin__ = stdin  # type: ignore[misc] # made again because the code may close or replace them
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def end(self) -> None:
        """Send what is buffered, and leave the pipes. Call this with the tick lock held."""
        if self.threads.alive.get(self.threads.cell):
            with contextlib.suppress(OSError):
                self.held[self.threads.cell] = os.dup(1), os.dup(2)
        self._sort_writes()  # from here on, and before this cell's pipes make way for the next one's
        if not self.flush():
            self._open()  # without what could not be written
            self._sort_writes()
        for fd in (0, 1, 2):
            os.dup2(self.null, fd)

    def flush(self) -> bool:
        """Write what is buffered; return False if that fails."""
        try:
            self.stdout.flush()
            self.stderr.flush()
        except (OSError, ValueError):
            return False
        return True

    def tick(self) -> None:
        """Let the prints of a cell that runs for long leave in whole blocks, once a tick."""
        if self.ticking and self.tick_lock.acquire(blocking=False):
            try:
                for stream in (self.stdout, self.stderr):
                    with contextlib.suppress(OSError, ValueError):
                        if stream.line_buffering:
                            stream.reconfigure(line_buffering=False)
                        stream.flush()
            finally:
                self.tick_lock.release()

    def _close(self, *fds: int) -> None:
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _sort_writes(self) -> None:
        """While threads of earlier cells live, send what they print to their own cell's pipe."""
        late = self.threads.left()
        for index, stream in enumerate((self.stdout, self.stderr)):
            if late:
                vars(stream)["write"] = self._sorted_write(stream, index)
            else:
                vars(stream).pop("write", None)

    def _sorted_write(self, stream: Stream, index: int) -> Callable[[str], int]:
        def write(text: str) -> int:
            cell = self.threads.cell_of_caller()
            if cell == self.threads.cell and self.threads.running:
                return Stream.write(stream, text)
            fds = self.held.get(cell)
            if fds:
                os.write(fds[index], str(text).encode("utf-8", "backslashreplace"))
            return len(text)

        return write


class OutputPipe:
    """Reads one output stream of one cell: passes the first `room` bytes on at once, the last `keep` at its end."""

    def __init__(self, fd: int, cell: int, stream: str, room: int, keep: int) -> None:
        self.fd, self.cell, self.stream, self.room, self.keep = fd, cell, stream, room, keep
        self.ready: list[str] = []
        self.tail, self.beyond, self.next_at, self.late = bytearray(), 0, 0.0, False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.set_blocking(fd, False)

    def read(self, most: int) -> None:
        """Read what is there, at most about `most` bytes, and close at the end of the stream."""
        while most > 0 and self.fd >= 0:
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            most -= len(data)
            if self.room:
                text = self.decoder.decode(data[: self.room])
                if text:
                    self.ready.append(text)
            if len(data) > self.room:
                data = data[self.room :]
                self.beyond += len(data)
                self.tail += data
                del self.tail[: max(0, len(self.tail) - self.keep)]
                self.room = 0
            else:
                self.room -= len(data)

    def take(self) -> str:
        """Return the text that was not taken yet."""
        text = "".join(self.ready)
        self.ready.clear()
        return text

    def end(self) -> tuple[str, str, int]:
        """End the cell: return the rest of the head, the tail, and how many bytes were dropped between them."""
        text, tail = self.take() + self.decoder.decode(b"", True), bytes(self.tail)
        dropped = self.beyond - len(tail)
        if dropped:
            tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # the cut may have gone through a character
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.tail.clear()
        self.late, self.room, self.keep, self.beyond = True, _LATE_BYTES, 0, 0
        return text, tail.decode("utf-8", "replace"), dropped

    def close(self) -> None:
        """Close the descriptor, if it is open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
