"""Files of the target folder: written whole or not at all, never through a link that nobody spoke of."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".fleet-rlm-partial"
BACKUP = ".before-fleet-rlm-"


class Refused(Exception):
    """It can't be done as asked, and nothing was changed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """While this goes on, no other installation works in the folder. Raises `Refused`."""
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"Another `fleet-rlm init` is at work in {target}.", "Wait for it, then try again.") from None
        yield
    finally:
        os.close(descriptor)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; never waits for a pipe. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        return file.read()


def write_whole(path: Path, data: bytes) -> None:
    """Replace or make the file in one step; a file that was there keeps its permissions. Raises `OSError`."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    partial.unlink(missing_ok=True)  # of a run that was killed: the folder is ours alone now
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    try:
        with partial.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def backup_of(path: Path) -> Path:
    """A name beside the file that is free."""
    number = 1
    while os.path.lexists(backup := path.with_name(f"{path.name}{BACKUP}{number}")):
        number += 1
    return backup


def make_folders(target: Path, folder: Path) -> list[str]:
    """Make a folder with those above it; which were made, relative to the target. Raises `OSError`."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir()
    return [one.relative_to(target).as_posix() for one in reversed(missing)]


def link_above(target: Path, path: Path) -> Path | None:
    """The first folder between the target and the file that is a link; None if there is none."""
    here = target
    for part in path.relative_to(target).parts[:-1]:
        here /= part
        if here.is_symlink():
            return here
    return None


def blocked_by(target: Path, path: Path) -> Path | None:
    """Return the file or broken link that stands where a folder is needed; None if nothing does."""
    here = target
    for part in path.relative_to(target).parts[:-1]:
        if os.path.lexists(here) and not here.is_dir():
            return here
        here /= part
    return here if os.path.lexists(here) and not here.is_dir() else None
