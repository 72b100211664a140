"""Volumes of version 2: files made of blocks that are known by their hash, and a view of them in each sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from modal_server.names import new_id

BLOCK_BYTES = 8 << 20
_LINKED_BYTES = 1 << 20
"""A file of this size or more is linked into a sandbox' view rather than copied."""


@dataclass
class Volume:
    name: str
    version: int
    folder: Path
    id: str = field(default_factory=lambda: new_id("vo"))
    made: float = field(default_factory=time.time)

    def at(self, path: str) -> Path:
        """The file of a path in the volume. Raises `ValueError` for one that leaves it."""
        found = (self.folder / path.lstrip("/")).resolve()
        if not found.is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} is not in the volume")
        return found


class Blocks:
    """Pieces of up to 8 MiB, each kept once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, digest: bytes) -> bool:
        return self._path(digest).exists()

    def keep(self, digest: bytes, data: bytes) -> None:
        """Raises `ValueError` when the data are not what the digest says."""
        if hashlib.sha256(data).digest() != digest:
            raise ValueError("the data have another digest")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path(digest).write_bytes(data)

    def assemble(self, digests: list[bytes], size: int, target: Path, mode: int) -> None:
        """Make a file of its blocks; a block may leave out the zeros at its end."""
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        with beside.open("wb") as file:
            for number, digest in enumerate(digests):
                data = self._path(digest).read_bytes()
                file.write(data.ljust(min(BLOCK_BYTES, size - number * BLOCK_BYTES), b"\0"))
        beside.chmod(mode or 0o644)
        beside.replace(target)

    def _path(self, digest: bytes) -> Path:
        return self._folder / digest.hex()


class View:
    """A volume as one sandbox sees it: the others' news after a reload, its own news for others after a commit.

    What Modal does in the background, and when a sandbox ends well, is left out: a test shall notice who relies on it.
    """

    def __init__(self, volume: Volume, folder: Path, sub_path: str = "") -> None:
        self._source = volume.at(sub_path)
        self.folder = folder
        self._known: dict[Path, _Stamp] = {}
        self._source.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True)
        self.reload()

    def commit(self) -> None:
        """What was written, changed and removed in the sandbox since the last time."""
        now = _stamps(self.folder)
        for path, stamp in now.items():
            if path not in self._known or stamp != self._known[path]:  # a folder's stamp is None
                _renew(self.folder / path, self._source / path)
        for path in sorted(self._known.keys() - now.keys(), reverse=True):
            _remove(self._source / path)
        self._known = now

    def reload(self) -> None:
        self.commit()
        theirs = _stamps(self._source)
        for path in theirs:
            _renew(self._source / path, self.folder / path)
        for path in sorted(self._known.keys() - theirs.keys(), reverse=True):
            _remove(self.folder / path)
        self._known = _stamps(self.folder)


_Stamp = tuple[int, int] | None
"""Size and time of a file's last change; None of a folder."""


def _stamps(folder: Path) -> dict[Path, _Stamp]:
    """Everything below a folder but links, folders before what they hold."""
    found: dict[Path, _Stamp] = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            state = path.lstat()
            if stat.S_ISDIR(state.st_mode) or stat.S_ISREG(state.st_mode):
                is_file = stat.S_ISREG(state.st_mode)
                found[path.relative_to(folder)] = (state.st_size, state.st_mtime_ns) if is_file else None
    return found


def _renew(source: Path, target: Path) -> None:
    """The same file or folder there, when it is not yet."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    state = source.stat()
    with contextlib.suppress(FileNotFoundError):
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns):
            return
    beside = target.with_name(f"{target.name}.{os.getpid()}")
    if state.st_size >= _LINKED_BYTES:
        os.link(source, beside)
    else:
        shutil.copy2(source, beside)
    beside.replace(target)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # a folder that holds something stays
        path.rmdir() if path.is_dir() else path.unlink()
