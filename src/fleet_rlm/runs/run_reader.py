"""Read a run file: whole, in part, or while it is being written; with a torn end, damaged lines and unknown kinds."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from fleet_rlm import events as ev
from fleet_rlm.runs.formats import is_compressed, name_format
from fleet_rlm.runs.repair import decode_or_repair, repaired

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 256 << 20
"""A longer line is reported as damaged and passed over, never held in memory."""
MAX_HEADER_BYTES = 64 << 20
DAMAGES_KEPT = 100
SILENT_SECONDS = 2.0
"""A followed file that doesn't grow for so long, and that no process holds open for writing, has lost its writer."""
_HEAD_BYTES = 64 << 10

RunEvent = ev.AnyEvent | ev.Unknown


class NotARun(ValueError):
    """The file can't be read as a run; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that holds no event, or one that had to be repaired."""

    line: int
    """The line, from 1."""
    offset: int
    """The place of its first byte in the file."""
    reason: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a file's events, complete or not."""

    complete: bool
    """True when the last event was `run.finished`."""
    words: str = ""
    """Why it is not complete."""
    hint: str = ""
    torn_bytes: int = 0
    """Length of a last line that was cut short and is left out."""


def is_being_written(file: int) -> bool:
    """True if a recorder holds this open file right now (its process lives)."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


class RunFile:
    """A run file, opened for reading. One thread reads; `end` and `damages` may be looked at from any.

    `poll` gives what is there, `events` everything there is, `follow` everything that will be.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `NotARun` when the file can't be opened or is no run. A run that is just being started is waited
        for by `follow`; until then its `header` is None.
        """
        self.path = Path(path).absolute()
        self.header: ev.RunStarted | None = None
        self.damages: list[Damage] = []
        """The first damaged lines; `damaged_lines` counts all."""
        self.damaged_lines = 0
        self.repairs: list[Damage] = []
        """The first lines that were read after a repair; `repaired_lines` counts all."""
        self.repaired_lines = 0
        self.lines = 0
        """Lines taken so far."""
        self.end: RunEnd | None = None
        """Set once nothing more will come, as far as this reader can tell."""
        self._offset = 0
        self._seen: tuple[int, int] | None = None
        self._last_kind = ""
        self._passing_over = False
        self._file = _open(self.path)
        try:
            self.header = self._read_header()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def offset(self) -> int:
        """Bytes taken so far, all of them whole lines."""
        return self._offset

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._file).st_size

    def is_being_written(self) -> bool:
        """True if the process that records this run lives."""
        return is_being_written(self._file)

    def poll(self, limit: int = 2000) -> list[RunEvent]:
        """At most `limit` (or a few megabytes of) further events from whole lines; empty when there are none yet."""
        events: list[RunEvent] = []
        about = os.fstat(self._file)
        version = (about.st_size, about.st_mtime_ns)
        if about.st_size < self._offset:
            self.end = RunEnd(False, "the file was cut short while it was being read", "Open it again.")
            return events
        if version == self._seen:
            return events
        budget = 4 * CHUNK_BYTES
        while len(events) < limit and budget > 0:
            data = self._whole_lines()
            if not data:
                self._seen = version
                break
            budget -= len(data)
            at = 0
            while at < len(data) and len(events) < limit:
                stop = data.index(b"\n", at)
                self._take(memoryview(data)[at:stop], events)
                self._offset += stop + 1 - at
                at = stop + 1
        return events

    def events(self) -> Iterator[RunEvent]:
        """Everything in the file from where reading stands, then `end` is set."""
        while True:
            writing = self.is_being_written()  # asked first: what is written until then is read below
            batch = self.poll()
            yield from batch
            if self.end is not None:
                return
            if not batch:
                yield from self._finish(writing)
                return

    def follow(
        self, stop: threading.Event | None = None, gone: Callable[[RunEnd], None] | None = None
    ) -> Iterator[RunEvent]:
        """Everything in the file and everything that is still being written, until the run ends.

        Waits up to 0.25 s at a time (shorter when events come), or until `stop` is set. A file that nobody holds open
        for writing and that hasn't grown for `SILENT_SECONDS` ends the iteration; with `gone`, that is called instead
        with what is known, and again after each time that more came.
        """
        stop, pause, told = stop or threading.Event(), 0.01, False
        grew = time.monotonic()
        while not stop.is_set():
            writing = self.is_being_written()
            batch = self.poll()
            yield from batch
            if self.end is not None:
                return
            if batch:
                pause, told, grew = 0.01, False, time.monotonic()
                continue
            if self._last_kind == "run.finished":
                yield from self._finish(writing)
                return
            if words := self._was_displaced():
                self.end = RunEnd(False, words, "Everything up to there is shown. Open it again.")
                return
            if not writing and not told and time.monotonic() - grew >= SILENT_SECONDS:
                if gone is None or self._kind_of_rest() == "run.finished":
                    yield from self._finish(writing)
                    return
                told = True
                gone(self._cut_off(self.size - self._offset))
            stop.wait(pause)
            pause = min(pause * 1.5, 0.25)

    def _kind_of_rest(self) -> str:
        """The kind of the event after the last newline; empty where there is no whole one."""
        try:
            return ev.decode(os.pread(self._file, MAX_LINE_BYTES, self._offset)).kind
        except ev.NotAnEvent:
            return ""

    def _finish(self, writing: bool) -> Iterator[RunEvent]:
        """Yield what stands after the last newline: an event that only lacks its newline, or a torn line."""
        rest = os.pread(self._file, MAX_LINE_BYTES, self._offset)
        torn = 0 if writing else len(rest)
        if torn and (event := decode_or_repair(rest)) is not None:  # else torn: `end` says so
            torn = 0
            self.lines += 1
            self._offset += len(rest)
            self._last_kind = event.kind
            yield event
        if self._last_kind == "run.finished":
            self.end = RunEnd(True, torn_bytes=torn)
        elif writing:
            self.end = RunEnd(False, "the run is still going on", "Follow it to see the rest.")
        else:
            self.end = self._cut_off(torn)

    @staticmethod
    def _cut_off(torn: int) -> RunEnd:
        words = "the recording ends before the run did: its process was stopped"
        if torn:
            words += f"; the last line is torn ({torn:,} bytes left out)"
        return RunEnd(False, words, "Everything up to there is shown.", torn)

    def _was_displaced(self) -> str:
        """Say what became of the file's name when it no longer leads to this file; else return ''."""
        own = os.fstat(self._file)
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return "the file was deleted or moved away while it was followed"
        except OSError as error:
            return f"the file can't be reached any more: {error.strerror or error}"
        return "" if (own.st_dev, own.st_ino) == (now.st_dev, now.st_ino) else "another file took this one's place"

    def _whole_lines(self) -> bytes | bytearray:
        """The next bytes up to a newline, about a chunk of them; empty when no whole line is there."""
        long = bytearray()
        while data := os.pread(self._file, CHUNK_BYTES, self._offset + len(long)):
            if self._passing_over:
                first = data.find(b"\n") + 1
                self._offset += first or len(data)
                self._passing_over = not first
                continue
            stop = data.rfind(b"\n") + 1
            if stop and not long:
                return data[:stop]
            long += data[:stop] if stop else data
            if stop:
                return long
            if len(long) > MAX_LINE_BYTES:
                self._damaged(f"longer than {MAX_LINE_BYTES >> 20} MiB")
                self.lines += 1
                self._offset += len(long)
                self._passing_over = True
                long.clear()
        return b""

    def _take(self, line: memoryview, events: list[RunEvent]) -> None:
        if not line:
            self._damaged("an empty line")
        elif (event := self._decode(line)) is not None:
            self._last_kind = event.kind
            events.append(event)
            if self.header is None:
                self.header = read_header(self.path.name, bytes(line), bytes(line[:_HEAD_BYTES]))
        self.lines += 1

    def _decode(self, line: memoryview | bytes) -> RunEvent | None:
        try:
            return ev.decode(line)
        except ev.NotAnEvent as error:
            mended = repaired(line)
            if mended is None:
                self._damaged(str(error))
                return None
        self.repaired_lines += 1
        if len(self.repairs) < DAMAGES_KEPT:
            self.repairs.append(Damage(self.lines + 1, self._offset, mended.words))
        return mended.event

    @property
    def damage(self) -> str:
        """Damaged and repaired lines of the file so far, in words; empty when there are none."""
        said = []
        for number, first, what in (
            (self.damaged_lines, self.damages, "damaged and left out"),
            (self.repaired_lines, self.repairs, "repaired"),
        ):
            if number:
                lines = "1 line is" if number == 1 else f"{number:,} lines are"
                said.append(f"{lines} {what} (line {first[0].line}: {first[0].reason})")
        return "; ".join(said)

    def _damaged(self, reason: str) -> None:
        self.damaged_lines += 1
        if len(self.damages) < DAMAGES_KEPT:
            self.damages.append(Damage(self.lines + 1, self._offset, reason))

    def _read_header(self) -> ev.RunStarted | None:
        head = bytearray()
        while b"\n" not in head and len(head) < MAX_HEADER_BYTES:
            data = os.pread(self._file, CHUNK_BYTES, len(head))
            if not data:
                break
            head += data
        first, newline, _ = bytes(head).partition(b"\n")
        if not newline and self.is_being_written():
            return None
        return read_header(self.path.name, first, bytes(head[:_HEAD_BYTES]))


def open_run(path: str | os.PathLike[str]) -> RunFile:
    """A recorded run, or one that is being recorded, to read or to follow. Raises `NotARun`."""
    return RunFile(path)


class _Header(msgspec.Struct):
    kind: str
    format: str = ""
    version: int = 0


def read_header(name: str, first: bytes, head: bytes) -> ev.RunStarted:
    """The first event from a file's first line (and its beginning, to name what else it may be). Raises `NotARun`."""
    if not head.strip(b" \t\r\n\0"):
        raise NotARun(f"{name} is empty: no run was recorded in it.")
    if is_compressed(head):
        raise NotARun(f"{name} is compressed.", "Unpack it first.")
    if b"\0" in first:
        raise NotARun(f"{name} is no run file: it is not text.", "Run files end in .jsonl.")
    if (known := name_format(head)) is not None:
        raise NotARun(f"{name} is {known}, not a run file; the import of such files is not there yet.")
    try:
        ev.decode(first)
    except ev.NotAnEvent:
        first = ev.encode(mended.event) if (mended := repaired(first)) else first
    try:
        header = msgspec.json.decode(first, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotARun(f"{name} is no run file: its first line is not an event.", "Run files end in .jsonl.") from None
    if header.kind != "run.started":
        hint = "Its beginning may be missing." if header.kind in ev.KINDS else ""
        raise NotARun(f"{name} is no run file: it begins with {header.kind[:60]!r}, not with 'run.started'.", hint)
    if header.format != ev.FORMAT:
        raise NotARun(f"{name} is a run file of another format: {header.format[:60]!r}, not {ev.FORMAT!r}.")
    if header.version > ev.VERSION:
        raise NotARun(
            f"{name} was written by a newer fleet-rlm: version {header.version} of the format, this one reads "
            f"version {ev.VERSION}.",
            "Upgrade fleet-rlm to open it.",
        )
    try:
        event = ev.decode(first)
    except ev.NotAnEvent as error:
        raise NotARun(f"The first event of {name} is damaged: {error}.") from error
    if not isinstance(event, ev.RunStarted):
        raise NotARun(f"{name} is no run file: it does not begin with 'run.started'.")
    return event


def _open(path: Path) -> int:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer must not block the reader
    except OSError as error:
        words = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise NotARun(f"{path} can't be opened: {words}.") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotARun(f"{path} is no run file: it is not a regular file.")
    return file
