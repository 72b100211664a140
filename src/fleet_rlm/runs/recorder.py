"""Write a run's events to its file: stamped, redacted, one line a write, before anybody else hears of them.

What a crash costs. Each event is one `write` of one whole line to a file opened for appending, so a process killed at
any moment (kill -9 included) loses at most the line it was writing. Lines are handed to the operating system at once
and forced to the disk (`fsync`) only at the end of the run: a power cut can cost the last seconds, and no event ever
waits for a disk.

A full disk does not end a run. The half-written line is taken back, events go on to the listeners and are kept in
memory, and every next event tries again; `problem` says so until everything is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets as random_source
import stat
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.runs.redact import Redactor, StreamRedactor
from fleet_rlm.runs.repair import repaired

Listener = Callable[[ev.Event, bytes], None]
"""Hears each stamped event after it was written, with the line as it stands in the file (newline included)."""

BACKLOG_BYTES = 64 << 20
"""The most bytes kept in memory while the disk takes nothing."""
RETRY_SECONDS = 0.5

_ODD_NUMBER = re.compile(rb":-[0-9]|[0-9]{19}")
"""A number below 0, or so long that it may not fit into 63 bits: few fields can have one."""
_ENDS = (ev.PlannerFinished, ev.CallFinished, ev.ExecutionFinished, ev.ModelRetrying)


class RecordError(RuntimeError):
    """The run file can't be made; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class RunIsOver(RuntimeError):
    """An event came after `run.finished`, or after the recorder was closed."""


def new_run_id() -> str:
    """Ten hexadecimal digits: short enough to type, and no two of a library are the same."""
    return random_source.token_hex(5)


def run_path(task: str, run_id: str, started: datetime | None = None) -> Path:
    """Return the path of a new run of this task: `YYYY-MM-DD/HHMMSS-<task>-<id>.jsonl` (local time)."""
    started = started or datetime.now().astimezone()
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in task)[:40].strip("-") or "run"
    return config.runs_dir() / f"{started:%Y-%m-%d}" / f"{started:%H%M%S}-{name}-{run_id}.jsonl"


class Recorder:
    """One run file being written. Every method may be called from any thread."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        secrets: Iterable[str] | Redactor = (),
        listeners: Iterable[Listener] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the file (an existing one is used only when it is empty) and its folders.

        Raises `RecordError` when that can't be done.
        """
        self.path = Path(path).expanduser().absolute()
        self.problem: str | None = None
        """Why the newest events are not in the file; None while they are."""
        self.lost_events = 0
        """Events that fitted neither on the disk nor into the backlog."""
        self.redactor = secrets if isinstance(secrets, Redactor) else Redactor(secrets)
        self._listeners = list(listeners)
        self._clock = clock
        self._lock = threading.RLock()
        self._emitting = False
        self._streams: dict[tuple[str, str | None, object], tuple[ev.Event, StreamRedactor]] = {}
        self._began: float | None = None
        self._seq = 0
        self._t = 0.0
        self._over = False
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0
        self._next_try = 0.0
        self._file, self._ours = _create(self.path)
        self._good = 0
        """Length of the file up to the last whole line."""

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def emit(self, event: ev.Event) -> ev.Event:
        """Stamp, redact and write an event, then tell the listeners; returns it as it was written.

        The first event must be `run.started`. Text that may be the beginning of a secret comes with a later event of
        its span. Listeners run under the recorder's lock, in order: they must be quick and emit nothing. One that
        raises `OSError` (a pipe whose reader left) hears no more.

        Raises `RunIsOver` after the end, `ValueError` when the first event is another.
        """
        with self._lock:
            if self._over:
                raise RunIsOver(f"{event.kind} came after the end of the run")
            if self._emitting:
                raise RuntimeError("a listener of a recorder must not emit events")
            if self._began is None and not isinstance(event, ev.RunStarted):
                raise ValueError(f"a run begins with run.started, not with {event.kind}")
            self._emitting = True
            try:
                return self._emit(event)
            finally:
                self._emitting = False

    def close(self) -> None:
        """Force the file to the disk and let go of it; one without any event is removed. Harmless when repeated."""
        with self._lock:
            if self._file < 0:
                return
            if not self._over and self._began is not None:
                self._release(None)
            self._over = True
            self._write(b"", at_once=True)
            if self._began is None and self._ours:
                self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # some file systems can't; the lines are with the system anyway
                os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _emit(self, event: ev.Event) -> ev.Event:
        if isinstance(event, ev.PlannerDelta | ev.CallDelta | ev.Output):
            return self._put(self._pass_on(event), redacted=True)
        if isinstance(event, _ENDS):
            self._release(event.span)
        elif isinstance(event, ev.RunFinished):
            self._release(None)
        stamped = self._put(event)
        if isinstance(event, ev.RunFinished):
            self._over = True
            self._write(b"", at_once=True)
            with contextlib.suppress(OSError):
                os.fsync(self._file)
        return stamped

    def _pass_on(self, event: ev.PlannerDelta | ev.CallDelta | ev.Output) -> ev.Event:
        """The event with as much of its stream's text as can't be the beginning of a secret."""
        part: object = None
        if isinstance(event, ev.PlannerDelta):
            part = event.thinking
        elif isinstance(event, ev.Output):
            part = event.stream
        key = (event.kind, event.span, part)
        kept = self._streams.get(key)
        stream = kept[1] if kept else StreamRedactor(self.redactor)
        text = stream.feed(event.text)
        self._streams[key] = (event, stream)
        return event if text == event.text else msgspec.structs.replace(event, text=text)

    def _release(self, span: str | None) -> None:
        """Write what was held back of a span that ends (None: of all)."""
        for key in [key for key in self._streams if span is None or key[1] == span]:
            last, stream = self._streams.pop(key)
            if text := stream.flush():
                self._put(msgspec.structs.replace(last, text=text), redacted=True)

    def _put(self, event: ev.Event, *, redacted: bool = False) -> ev.Event:
        stamped, line = self._stamp(event, redacted=redacted)
        problem = self.problem
        self._write(line)
        self._tell(stamped, line)
        if self.problem != problem:
            words = self.problem or "the run file takes events again, and nothing is missing from it"
            if self.lost_events and not self.problem:
                words = f"the run file takes events again; {self.lost_events} events are missing from it"
            notice, line = self._stamp(ev.Notice(level="error" if self.problem else "warning", text=words))
            self._write(line)
            self._tell(notice, line)
        return stamped

    def _stamp(self, event: ev.Event, *, redacted: bool = False) -> tuple[ev.Event, bytes]:
        if self._began is None:
            self._began = self._clock()
        else:
            self._t = max(self._t, round(self._clock() - self._began, 6))
        event = msgspec.structs.replace(event, seq=self._seq, t=self._t)
        self._seq += 1
        line = ev.encode(event)
        if not redacted and _ODD_NUMBER.search(line) and (mended := repaired(line)):
            assert not isinstance(mended.event, ev.Unknown)
            event, line = mended.event, ev.encode(mended.event)
        if not redacted and self.redactor.may_be_in(line):
            event = self.redactor.event(event)
            line = ev.encode(event)
        return event, line + b"\n"

    def _tell(self, event: ev.Event, line: bytes) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event, line)
            except OSError:
                self._listeners.remove(listener)

    def _write(self, line: bytes, *, at_once: bool = False) -> None:
        """Append a line, or keep it (in order) until the disk takes lines again."""
        if self.problem is not None:
            if line and self._backlog_bytes + len(line) > BACKLOG_BYTES:
                self.lost_events += 1
                return
            if line:
                self._backlog.append(line)
                self._backlog_bytes += len(line)
            if not at_once and self._clock() < self._next_try:
                return
            self._drain()
        elif line and (error := self._append(line)) is not None:
            self._backlog, self._backlog_bytes = [line], len(line)
            self._give_up_for_now(error)

    def _drain(self) -> None:
        for count, line in enumerate(self._backlog):
            if (error := self._append(line)) is not None:
                del self._backlog[:count]
                self._backlog_bytes = sum(map(len, self._backlog))
                self._give_up_for_now(error)
                return
        self._backlog, self._backlog_bytes, self.problem = [], 0, None

    def _append(self, line: bytes) -> OSError | None:
        """One write. A part that was written of a line that did not fit is taken back."""
        written = 0
        try:
            while written < len(line):  # a second turn only when the system took less than all
                written += os.write(self._file, line[written:] if written else line)
        except OSError as error:
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._good)
            return error
        self._good += len(line)
        return None

    def _give_up_for_now(self, error: OSError) -> None:
        self._next_try = self._clock() + RETRY_SECONDS
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
        self.problem = f"events are not recorded at the moment ({why}): {self.path}"


def _create(path: Path) -> tuple[int, bool]:
    """An open, locked file for appending, and whether it is new."""
    hint = "Record somewhere else with --record PATH, or set FLEET_RLM_HOME to a folder that you can write to."
    try:
        _make_folders(path.parent)
        try:
            file, ours = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), True
        except FileExistsError:
            file, ours = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK), False
    except OSError as error:
        raise RecordError(f"The run can't be recorded to {path}: {error.strerror or error}.", hint) from error
    about = os.fstat(file)
    if not ours and (not stat.S_ISREG(about.st_mode) or about.st_size > 0):
        os.close(file)
        raise RecordError(
            f"The run can't be recorded to {path}: there is something already, and a record is never overwritten.",
            "Name a file that does not exist yet.",
        )
    if not _lock(file):
        os.close(file)
        raise RecordError(f"Another process is recording to {path}.", "Name another file.")
    return file, ours


def _lock(file: int) -> bool:
    """Hold the file until this process ends, since readers tell by it whether a run is still going on."""
    patience = time.monotonic() + 0.25
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a reader that asks whether the run is going on holds the lock for microseconds
            if time.monotonic() > patience:
                return False
            time.sleep(0.001)
        except OSError:  # a file system without locks: the run counts as interrupted until it is finished
            return True
        else:
            return True


def _make_folders(folder: Path) -> None:
    """Make the missing folders, for their owner alone."""
    missing = [folder]
    while not missing[-1].exists() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
