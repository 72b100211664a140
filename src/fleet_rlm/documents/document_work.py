"""Progress, cancellation and errors, which all long work over documents shares."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called from the working thread, a few dozen times a second at most, with (bytes done, bytes in all)."""

Cancelled: TypeAlias = Callable[[], bool]
"""Asked often, from the working thread: true ends the work within some milliseconds."""

BLOCK_BYTES = 1 << 20
"""The size of one read: large enough for full speed, small enough that other threads never wait for long."""

_TURN_SECONDS = 0.004
_PAUSE_SECONDS = 0.0002


def never() -> bool:
    """A `Cancelled` that is never true."""
    return False


class DocumentError(Exception):
    """Something about a document that stops what was asked. `hint` says what the person can do next (may be empty)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class Unreadable(DocumentError):
    """The system refused: no permission, a broken disk, not a regular file, …"""


class Stopped(DocumentError):
    """The work was cancelled before it had a result."""


class Throttle:
    """Lets a progress call through at most every `seconds`; calls with `done == of` always pass."""

    def __init__(self, progress: Progress | None, seconds: float = 0.05) -> None:
        self._progress = progress
        self._seconds = seconds
        self._next = 0.0

    def __call__(self, done: int, of: int) -> None:
        if self._progress is None:
            return
        now = time.monotonic()
        if done >= of or now >= self._next:
            self._next = now + self._seconds
            self._progress(done, of)


class Turns:
    """A `Cancelled` that lets other threads run: ask it often in a loop that also reads files.

    A thread that gives the interpreter's lock up for microseconds at a time (at each read) has it back before a waiting
    thread wakes up, and starves it: 50–200 ms were measured in the event loop. A short sleep every few milliseconds
    hands the lock over (5 ms).
    """

    def __init__(self, cancelled: Cancelled) -> None:
        self._cancelled = cancelled
        self._due = time.monotonic() + _TURN_SECONDS

    def __call__(self) -> bool:
        if time.monotonic() >= self._due:
            time.sleep(_PAUSE_SECONDS)
            self._due = time.monotonic() + _TURN_SECONDS
        return self._cancelled()


def printable(text: str) -> str:
    """`text` without control characters and lone surrogates: a file's name is a stranger's text too."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shown(path: Path | str) -> str:
    """A path as it stands in a message."""
    return printable(str(path))


def size_in_words(count: int) -> str:
    """`0 bytes`, `812 bytes`, `1.4 kB`, `40 MB`: powers of 1000, two digits."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    raise AssertionError("unreachable: the last unit always fits")


def unreadable(error: OSError, path: Path | str) -> Unreadable:
    """The system's refusal, in words."""
    hint = {
        errno.EACCES: "Give yourself read permission (chmod u+r), or choose another file.",
        errno.ENOENT: "It was deleted or renamed meanwhile.",
        errno.EISDIR: "It is a folder.",
        errno.ENOSPC: "Free some space, or point TMPDIR at a disk that has room.",
    }.get(error.errno or 0, "")
    return Unreadable(f"cannot read {shown(path)}: {os.strerror(error.errno) if error.errno else error}.", hint)
