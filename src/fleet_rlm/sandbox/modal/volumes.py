"""Modal Volumes, version 2: documents that cross once and results that outlive a sandbox."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, BinaryIO

from fleet_rlm.sandbox.modal.client import LOOK_UP, Deadlines, connect, within
from fleet_rlm.sandbox.modal.failures import CloudError, NotThere

INPUTS = ".fleet-rlm/inputs"
"""Where documents stand in a volume, each named by the SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder in a volume."""

    path: str
    kind: str
    """`file`, `folder` or `other`."""
    bytes: int
    modified: float
    """Seconds since 1970."""


def open_volume(
    modal: ModuleType,
    name: str,
    *,
    create: bool,
    seconds: float = LOOK_UP,
    stopped: Callable[[], bool] = lambda: False,
) -> Any:
    """A hydrated volume of version 2. `Any`: Modal's volume. Raises `CloudError`, `NotThere`."""

    def look_up() -> Any:
        return modal.Volume.from_name(name, create_if_missing=create, version=2).hydrate.aio()

    try:
        return within(modal, seconds, f"looking up the volume {name}", look_up, stopped)
    except NotThere:
        raise NotThere(
            f"there is no volume named {name!r} in this Modal workspace",
            f"Make it: modal volume create --version 2 {name}",
        ) from None
    except CloudError as error:
        if "version v1" not in str(error) and "VERSION_V1" not in str(error):
            raise
        raise CloudError(
            f"the volume {name!r} is of version 1, and documents and results are kept in volumes of version 2",
            f"Two ways out: name another one (`--volume-name {name}-v2` makes it as version 2), or, when nothing in "
            f"it is needed, delete it and make it again: modal volume delete {name} && "
            f"modal volume create --version 2 {name}",
        ) from error


class VolumeFiles:
    """The files of one volume, from outside of any sandbox."""

    def __init__(self, name: str, *, create: bool = False, deadlines: Deadlines | None = None) -> None:
        """Raises `CloudError` when Modal can't be reached or has no such volume."""
        self.name = name
        self._deadlines = deadlines or Deadlines()
        self._modal, _ = connect(self._deadlines.look_up)
        self._volume = open_volume(self._modal, name, create=create, seconds=self._deadlines.look_up)

    def entries(self, path: str = "/", *, recursive: bool = False) -> list[Entry]:
        """What stands at a path, sorted by it. Raises `NotThere`."""

        async def ask() -> list[Entry]:
            return [_entry(one) for one in await self._volume.listdir.aio(path, recursive=recursive)]

        return sorted(self._do(f"listing {path} of the volume {self.name}", ask, path), key=lambda entry: entry.path)

    def read_into(self, path: str, file: BinaryIO) -> int:
        """Copy a file of the volume into an open file; the bytes copied. Raises `NotThere`."""
        doing = f"reading {path} of the volume {self.name}"
        return int(self._do(doing, lambda: self._volume.read_file_into_fileobj.aio(path, file), path))

    def put(self, source: Path | bytes, path: str, *, force: bool = False) -> None:
        """Store a local file, or bytes, at a path of the volume. Raises `CloudError`; `force` replaces a file."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size

        async def send() -> None:
            async with self._volume.batch_upload(force=force) as batch:
                batch.put_file(io.BytesIO(source) if isinstance(source, bytes) else str(source), path)

        try:
            self._do(f"writing {path} of the volume {self.name}", send, path, size=size)
        except CloudError as error:
            if isinstance(error.__cause__, FileExistsError):
                raise CloudError(f"{path} is in the volume {self.name} already", "Replace it with --force.") from error
            raise

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or with `recursive` a folder and all in it. Raises `NotThere`."""
        doing = f"removing {path} of the volume {self.name}"
        self._do(doing, lambda: self._volume.remove_file.aio(path, recursive=recursive), path)

    def _do(self, doing: str, make: Callable[[], Awaitable[Any]], path: str, size: int = 0) -> Any:
        seconds = self._deadlines.file + size / 1e6
        try:
            return within(self._modal, seconds, doing, make)
        except NotThere:
            raise NotThere(
                f"the volume {self.name} has no {path}", f"fleet-rlm volume ls {self.name} lists it."
            ) from None


async def holds(modal: ModuleType, volume: Any, name: str, size: int) -> bool:
    """Does a volume hold a document of this hash and size? Raises what the client raises."""
    try:
        found = await volume.listdir.aio(f"/{INPUTS}/{name}")
    except (FileNotFoundError, modal.exception.NotFoundError):
        return False
    return any(PurePosixPath(one.path).name == name and one.size == size for one in found)


async def store(volume: Any, name: str, source: BinaryIO | str) -> None:
    """Put a document into a volume. Raises what the client raises."""
    async with volume.batch_upload(force=True) as batch:
        batch.put_file(source, f"/{INPUTS}/{name}")


def inside(mount: str, name: str) -> str:
    """The path of a document in a sandbox that mounts its volume there."""
    return posixpath.join(mount, INPUTS, name)


def local_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below a folder with their paths relative to it, links and special files left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.relative_to(folder).as_posix()


def _entry(one: Any) -> Entry:
    kinds = {1: "file", 2: "folder"}
    return Entry(
        one.path, kinds.get(int(getattr(one.type, "value", one.type)), "other"), int(one.size), float(one.mtime)
    )
