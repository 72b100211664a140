"""A file that takes its name when all of it is written: a full disk, a break or ctrl+c leave nothing behind."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, mode: int, *, replace: bool) -> Iterator[BinaryIO]:
    """Write in here; with the end of it the file stands at `path`, with these permissions.

    Raises `FileExistsError` when something came there meanwhile and `replace` is off, and `OSError` as writing does.
    """
    # A name of its own: a long one could not be made longer.
    fd, part = tempfile.mkstemp(prefix=".fleet-rlm-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
        Path(part).chmod(mode)
        if replace:
            Path(part).replace(path)
        else:
            _link(part, path)
    finally:
        Path(part).unlink(missing_ok=True)


def usual_mode() -> int:
    """The permissions of a new file of the person's. Asking changes the mask of all threads for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _link(part: str, path: Path) -> None:
    """Unlike a rename, a link never replaces what came there meanwhile; some file systems know none."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        Path(part).rename(path)
