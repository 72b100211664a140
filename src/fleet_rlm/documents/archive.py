"""Archives of text: zip, and tar packed by gzip, bzip2 or xz; also a single packed file such as `app.log.gz`.

Nothing is unpacked to disk: a member is read into memory when it is wanted, and its name is a name, never a path. What
an archive may unpack to is bounded, whatever it says of itself.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from fleet_rlm.documents.decode import HEAD_BYTES, NotText, refuse_binary
from fleet_rlm.documents.formats.recognise import ARCHIVE, FORMATS, INSTALL, recognise
from fleet_rlm.documents.work import (
    BLOCK_BYTES,
    Cancelled,
    DocumentError,
    Stopped,
    never,
    shown,
    size_in_words,
    unreadable,
)

MOST_BYTES = 2_000_000_000
"""What an archive may unpack to."""
MOST_MEMBERS = 20_000
_PACKERS = {b"\x1f\x8b": gzip, b"BZ": bz2, b"\xfd7": lzma}
_KEPT = 16
_known: dict[tuple[str, int, int], Listing] = {}
"""What was looked into, by path, time and size: a form asks again with every key that is pressed."""
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)


class BadArchive(DocumentError):
    """The archive is broken, or unpacks to more than anybody wants."""


@dataclass(frozen=True, slots=True)
class Member:
    """A text in an archive."""

    name: str
    bytes: int
    """Unpacked."""
    format: str = ""
    """See `formats.FORMATS`; '' for plain text."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What an archive holds."""

    members: tuple[Member, ...]
    left_out: dict[str, tuple[str, ...]]
    """Why → names."""


def listing(path: Path, cancelled: Cancelled = never) -> Listing:
    """The texts in an archive, in its order, and what else there is. Raises `BadArchive`, `Unreadable` or `Stopped`.

    Unpacks all of it once; asked again for the same file, it answers at once.
    """
    try:
        now = path.stat()
    except OSError as error:
        raise _failed(error, path) from error
    key = (str(path), now.st_mtime_ns, now.st_size)
    if (found := _known.get(key)) is None:
        found = _looked_into(path, cancelled)
        if len(_known) >= _KEPT:
            _known.clear()
        _known[key] = found
    return found


def contents(path: Path, wanted: Sequence[str], cancelled: Cancelled = never) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the wanted members, in the archive's order. Raises as `listing` does."""
    left = set(wanted)
    for name, size, open_member in _entries(path, cancelled):
        if name in left and open_member is not None:
            left.remove(name)
            with _broken_is_said(path):
                data = _all(open_member, size, path, cancelled)
            yield name, data
        if not left:
            return
    raise BadArchive(f"{shown(path)} holds no {shown(min(left))} any more.", "It changed since it was looked into.")


def _looked_into(path: Path, cancelled: Cancelled) -> Listing:
    members: dict[str, Member] = {}
    left_out: dict[str, list[str]] = {}
    total = 0
    for name, bytes_, open_member in _entries(path, cancelled):
        why = _unwanted(name)
        if open_member is None:
            why = why or "encrypted"
        if why:
            left_out.setdefault(why, []).append(name)
            continue
        if name in members:
            continue
        with _broken_is_said(path):
            head, bytes_ = _looked_at(cast("IO[bytes]", open_member), bytes_, path, cancelled)
        total += bytes_
        if total > MOST_BYTES:
            raise _too_much(path)
        kind = recognise(name, head)
        if kind == ARCHIVE:
            left_out.setdefault("an archive in the archive", []).append(name)
        elif kind and FORMATS[kind].installed:
            members[name] = Member(name, bytes_, kind)
        elif kind and kind != "html":
            left_out.setdefault(f"{FORMATS[kind].kind} is read after {INSTALL}", []).append(name)
        else:
            try:
                refuse_binary(partial(_from, head), len(head), name)
            except NotText:
                left_out.setdefault("not text", []).append(name)
            else:
                members[name] = Member(name, bytes_)
        if len(members) > MOST_MEMBERS:
            raise BadArchive(f"{shown(path)} holds more than {MOST_MEMBERS:,} files.", "Unpack what matters.")
    return Listing(tuple(members.values()), {why: tuple(names) for why, names in left_out.items()})


def _from(data: bytes, count: int, offset: int) -> bytes:
    return data[offset : offset + count]


def _unwanted(name: str) -> str:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "a name that leads out of the archive"
    if any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX":
        return "hidden"
    return ""


def _entries(path: Path, cancelled: Cancelled) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """(name, unpacked size or -1, what reads it or None where it is encrypted) of every regular file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(0)
            with _broken_is_said(path):
                yield from (
                    _zipped(file, path, cancelled) if head.startswith(b"PK") else _tarred(file, head, path, cancelled)
                )
    except OSError as error:
        raise _failed(error, path) from error


def _zipped(file: BinaryIO, path: Path, cancelled: Cancelled) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    with zipfile.ZipFile(file) as packed:
        entries = [entry for entry in packed.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise _too_much(path)
        for entry in entries:
            if cancelled():
                raise Stopped("looking into the archive was cancelled.")
            if entry.flag_bits & 1:
                yield entry.filename, entry.file_size, None
            else:
                with packed.open(entry) as member:
                    yield entry.filename, entry.file_size, member


def _tarred(
    file: BinaryIO, head: bytes, path: Path, cancelled: Cancelled
) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    packer = _PACKERS.get(head[:2])
    unpacked = cast("IO[bytes]", packer.open(file, "rb")) if packer is not None else file
    stream = _Bounded(unpacked, path, cancelled)
    first = stream.peeked(HEAD_BYTES)
    if first[257:262] != b"ustar":
        name = path.stem if packer is not None else path.name
        yield name, -1, cast("IO[bytes]", stream)
        return
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as packed:
        for entry in packed:
            if entry.isfile() and (member := packed.extractfile(entry)) is not None:
                yield entry.name.removeprefix("./"), entry.size, member


class _Bounded:
    """A stream that ends with an error past `MOST_BYTES`, whatever is behind it."""

    def __init__(self, stream: IO[bytes], path: Path, cancelled: Cancelled) -> None:
        self._stream, self._path, self._cancelled = stream, path, cancelled
        self._ahead = b""
        self._done = 0

    def peeked(self, count: int) -> bytes:
        """What will be read first."""
        self._ahead = self.read(count)
        return self._ahead

    def read(self, count: int = -1) -> bytes:
        if self._cancelled():
            raise Stopped("looking into the archive was cancelled.")
        count = BLOCK_BYTES if count < 0 else count
        if self._ahead:
            found, self._ahead = self._ahead[:count], self._ahead[count:]
            return found
        found = self._stream.read(min(count, BLOCK_BYTES))
        self._done += len(found)
        if self._done > MOST_BYTES:
            raise _too_much(self._path)
        return found


def _looked_at(stream: IO[bytes], size: int, path: Path, cancelled: Cancelled) -> tuple[bytes, int]:
    """A member's beginning, and its size, which only reading to the end tells where nobody wrote it down."""
    head = stream.read(HEAD_BYTES)
    if size >= 0:
        return head, size
    size = len(head)
    while block := stream.read(BLOCK_BYTES):
        if cancelled():
            raise Stopped("looking into the archive was cancelled.")
        size += len(block)
        if size > MOST_BYTES:
            raise _too_much(path)
    return head, size


def _all(stream: IO[bytes], size: int, path: Path, cancelled: Cancelled) -> bytes:
    if size > MOST_BYTES:
        raise _too_much(path)
    parts, done = [], 0
    while block := stream.read(BLOCK_BYTES):
        if cancelled():
            raise Stopped("reading was cancelled.")
        done += len(block)
        if done > MOST_BYTES:
            raise _too_much(path)
        parts.append(block)
    return b"".join(parts)


@contextmanager
def _broken_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except DocumentError:
        raise
    except _BROKEN as error:
        raise BadArchive(f"{shown(path)} is a damaged archive: {shown(str(error)) or 'it ends too early'}.") from error


def _failed(error: OSError, path: Path) -> DocumentError:
    if isinstance(error, gzip.BadGzipFile) or error.errno is None:  # the packers' own errors are OSErrors too
        return BadArchive(f"{shown(path)} is a damaged archive: {shown(str(error))}.")
    return unreadable(error, path)


def _too_much(path: Path) -> BadArchive:
    return BadArchive(
        f"{shown(path)} unpacks to more than {size_in_words(MOST_BYTES)}.",
        "If that is meant, unpack it and pass the folder.",
    )
