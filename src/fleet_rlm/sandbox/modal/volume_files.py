"""The files of a Modal Volume, looked at and moved from outside of any sandbox.

A transfer has no deadline for the whole of it: it is given up when nothing has moved for `Deadlines.file` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fleet_rlm.sandbox.modal.client import Deadlines, connect, within
from fleet_rlm.sandbox.modal.failures import CloudError, NotThere, too_late
from fleet_rlm.sandbox.modal.volumes import open_volume
from fleet_rlm.sandbox.transport import TransportError

_T = TypeVar("_T")
_FOREVER = 1e9
"""Seconds: more than a transfer takes, and less than what a clock can't count."""


def _ignore(_bytes: int) -> None:
    """Nobody looks on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a volume. Its path is whatever the volume says: it may have been made by generated code."""

    path: str
    """From the volume's root, without a slash before it."""
    kind: str
    """`file`, `folder` or `other`."""
    bytes: int
    modified: float
    """Seconds since 1970."""


class VolumeFiles:
    """The files of one volume, for any number of threads. Paths are relative to its root, which is the empty path."""

    def __init__(self, name: str, *, deadlines: Deadlines | None = None) -> None:
        """Raises `CloudError` when Modal can't be reached, `NotThere` when it has no such volume."""
        self.name = name
        self._deadlines = deadlines or Deadlines()
        self._modal, self._client = connect(self._deadlines.look_up)
        self._volume = open_volume(self._modal, name, create=False, seconds=self._deadlines.look_up)
        self._moved_at = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Give up what is under way, in whatever threads."""
        self._stopped.set()

    def entries(self, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """What a folder holds, or the one file that stands there, sorted by path. Raises `NotThere`."""

        async def ask() -> list[Entry]:
            found: list[Entry] = []
            async for one in self._volume.iterdir.aio(f"/{path}", recursive=recursive):
                found.append(_entry(one))
                self._moved_at = time.monotonic()
            return found

        found = self._do(f"listing {_shown(path)} of the volume {self.name}", ask, path)
        return sorted(found, key=lambda entry: entry.path)

    def find(self, path: str) -> Entry | None:
        """The file or folder at a path; None when there is nothing."""
        if not path:
            return Entry("", "folder", 0, 0.0)
        try:
            held = self.entries(path)
        except NotThere:
            return None
        own = next((entry for entry in held if entry.path == path and len(held) == 1), None)
        return own or Entry(path, "folder", 0, 0.0)

    def read_into(self, path: str, file: BinaryIO, moved: Callable[[int], None] = _ignore) -> int:
        """Copy a file of the volume into an open file that can be sought in; returns the bytes copied.

        `moved` hears of each piece, in bytes, from another thread. Raises `NotThere`, `CloudError`.
        """

        def told(*_: object, advance: float | None = None, **__: object) -> None:
            self._tell(moved, advance)

        doing = f"reading {_shown(path)} of the volume {self.name}"
        return int(self._do(doing, lambda: self._volume.read_file_into_fileobj.aio(path, file, progress_cb=told), path))

    def put(
        self, files: Sequence[tuple[Path, str]], *, force: bool = False, moved: Callable[[int], None] = _ignore
    ) -> None:
        """Store local files at paths of the volume, all of them or none; `force` replaces what stands there.

        Blocks that Modal knows from any file do not cross again, and `moved` is not told of them. Raises `CloudError`.
        """

        def told(*_: object, advance: float | None = None, **__: object) -> str:
            self._tell(moved, advance)
            return "file"

        async def send() -> None:
            async with self._batch(told, force=force) as batch:
                for source, path in files:
                    batch.put_file(str(source), f"/{path}")

        what = _shown(files[0][1]) if len(files) == 1 else f"{len(files):,} files"
        try:
            self._moving(f"writing {what} of the volume {self.name}", send)
        except CloudError as error:
            cause = error.__cause__
            if isinstance(cause, FileExistsError):
                raise CloudError(
                    f"the volume {self.name} has it already: {cause}", "Replace it with --force."
                ) from error
            if isinstance(cause, OSError) and cause.filename is not None:
                raise CloudError(f"{cause.filename} can't be read: {cause.strerror}") from error
            raise

    def _batch(self, told: Callable[..., str], *, force: bool) -> Any:
        """Modal's upload, told of its progress as Modal's own command line is, where this client still has that."""
        batch = getattr(self._modal.volume, "VolumeUploadContextManager2", None)
        if batch is None:
            return self._volume.batch_upload(force=force)
        return batch(self._volume.object_id, self._client, progress_cb=told, force=force)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or with `recursive` a folder and all in it. Raises `NotThere`, `CloudError`."""
        doing = f"removing {_shown(path)} of the volume {self.name}"
        self._do(doing, lambda: self._volume.remove_file.aio(f"/{path}", recursive=recursive), path)

    def _tell(self, moved: Callable[[int], None], advance: float | None) -> None:
        self._moved_at = time.monotonic()
        if advance:
            moved(int(advance))

    def _do(self, doing: str, make: Callable[[], Awaitable[_T]], path: str) -> _T:
        try:
            return self._moving(doing, make)
        except NotThere:
            where = f"fleet-rlm volume ls {self.name} lists what is there."
            raise NotThere(f"the volume {self.name} has no {_shown(path)}", where) from None

    def _moving(self, doing: str, make: Callable[[], Awaitable[_T]]) -> _T:
        patience = self._deadlines.file
        self._moved_at = time.monotonic()

        def stalled() -> bool:
            return self._stopped.is_set() or time.monotonic() - self._moved_at > patience

        try:
            return within(self._modal, _FOREVER, doing, make, stalled)
        except CloudError:
            raise
        except TransportError:
            if self._stopped.is_set():
                raise CloudError(f"{doing} was stopped") from None
            raise too_late(doing, patience) from None


def _shown(path: str) -> str:
    return path or "/"


def _entry(one: Any) -> Entry:
    kinds = {1: "file", 2: "folder"}
    kind = kinds.get(int(getattr(one.type, "value", one.type)), "other")
    return Entry(str(one.path).removeprefix("/"), kind, int(one.size), float(one.mtime))
