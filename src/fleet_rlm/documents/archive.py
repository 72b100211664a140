"""Archives of text: zip, and tar packed by gzip, bzip2 or xz; also a single packed file such as `app.log.gz`.

Nothing is unpacked to disk: a member is read into memory when it is wanted, and its name is a name, never a path. What
an archive may unpack to is bounded, whatever it says of itself. Archives and packed files in an archive are looked into
as well, but not those in them. Only the reading process unpacks (see `fleet_rlm.documents.extraction`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from fleet_rlm.documents.decode import HEAD_BYTES, NotText, refuse_binary
from fleet_rlm.documents.formats.recognise import ARCHIVE, recognise
from fleet_rlm.documents.work import BLOCK_BYTES, DocumentError, shown, size_in_words, unreadable

MOST_BYTES = 2_000_000_000
"""What an archive may unpack to."""
MOST_INNER_BYTES = 200_000_000
"""How large an archive in an archive may be, packed as it is."""
MOST_MEMBERS = 20_000
_PACKERS = {b"\x1f\x8b": gzip, b"BZ": bz2, b"\xfd7": lzma}
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError,
    NotImplementedError, gzip.BadGzipFile,
)  # fmt: skip


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
    notices: tuple[str, ...] = ()
    """Where the archive is cut off or damaged, and what of it was read nevertheless."""


@dataclass(slots=True)
class _Entry:
    """A regular file in an archive, while it can be read."""

    name: str
    size: int
    """Unpacked; -1 where only reading it to its end tells."""
    stream: IO[bytes] | None
    """None where it is encrypted."""


@dataclass(slots=True)
class _Looking:
    """What is known of an archive while it is read."""

    path: Path
    done: int = 0
    """Bytes unpacked so far."""
    notices: list[str] = field(default_factory=list)

    def add(self, count: int) -> None:
        """Count what was unpacked. Raises `BadArchive`."""
        self.done += count
        if self.done > MOST_BYTES:
            raise BadArchive(
                f"{shown(self.path)} unpacks to more than {size_in_words(MOST_BYTES)}.",
                "If that is meant, unpack it and pass the folder.",
            )

    def damaged(self, name: str, error: Exception) -> None:
        """Note that a file ends too early."""
        why = shown(str(error)).rstrip(".") or "it ends too early"
        self.notices.append(f"{shown(name)} is cut off or damaged and was read as far as it goes ({why})")


def listing(path: Path) -> Listing:
    """The texts in an archive, in its order, and what else there is. Raises `BadArchive` or `Unreadable`.

    Unpacks all of it once.
    """
    looking = _Looking(path)
    members: dict[str, Member] = {}
    left_out: dict[str, list[str]] = {}
    for entry in _opened(looking):
        why = _unwanted(entry.name) or ("encrypted" if entry.stream is None else "")
        if not why and entry.name in members:
            why = "a second file of that name"
        if not why:
            head, size = _looked_at(entry, looking)
            kind = recognise(entry.name, head)
            if not head and entry.size and looking.notices:
                why = "damaged"
            elif kind == ARCHIVE:
                why = "an archive too deep in archives"
            elif kind or _is_text(entry.name, head):
                members[entry.name] = Member(entry.name, size, kind)
            else:
                why = "not text"
        if why:
            left_out.setdefault(why, []).append(entry.name)
        if len(members) > MOST_MEMBERS:
            raise BadArchive(f"{shown(path)} holds more than {MOST_MEMBERS:,} files.", "Unpack what matters.")
    kept = {why: tuple(names) for why, names in left_out.items()}
    if not members and not kept.keys() - {"damaged"} and looking.notices:
        raise BadArchive(f"{shown(path)} is a damaged archive.", f"({looking.notices[0]})")
    return Listing(tuple(members.values()), kept, tuple(looking.notices))


def contents(path: Path, wanted: Sequence[str]) -> Iterator[tuple[str, bytes, list[str]]]:
    """(name, bytes, notices of damage) of the wanted members, in the archive's order. Raises as `listing` does."""
    left, looking = set(wanted), _Looking(path)
    for entry in _opened(looking):
        if entry.name in left and entry.stream is not None:
            left.remove(entry.name)
            known = len(looking.notices)
            data = b"".join(_blocks(entry, looking))
            yield entry.name, data, looking.notices[known:]
        if not left:
            return
    raise BadArchive(f"{shown(path)} holds no {shown(min(left))} any more.", "It changed since it was looked into.")


def texts_in(data: bytes, name: str) -> tuple[list[tuple[str, str, bytes]], list[str]]:
    """(name, format, bytes) of the files in an archive that is part of something else, and what is to be told of it.

    Raises `BadArchive`.
    """
    looking = _Looking(Path(name))
    found: list[tuple[str, str, bytes]] = []
    with _broken_is_said(looking.path):
        for entry in _entries(io.BytesIO(data), name, looking, deepest=1):
            if not _unwanted(entry.name) and entry.stream is not None and len(found) < MOST_MEMBERS:
                inner = b"".join(_blocks(entry, looking))
                found.append((entry.name, recognise(entry.name, inner[:HEAD_BYTES]), inner))
    return found, looking.notices


def _is_text(name: str, head: bytes) -> bool:
    try:
        refuse_binary(partial(_from, head), len(head), name)
    except NotText:
        return False
    return True


def _from(data: bytes, count: int, offset: int) -> bytes:
    return data[offset : offset + count]


def _unwanted(name: str) -> str:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "a name that leads out of the archive"
    if any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX":
        return "hidden"
    return ""


def _opened(looking: _Looking) -> Iterator[_Entry]:
    """Every regular file of the archive, and of the archives in it."""
    path = looking.path
    try:
        with path.open("rb") as file, _broken_is_said(path):
            yield from _entries(file, path.name, looking, deepest=1)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno is None:  # the packers' own errors are OSErrors too
            raise BadArchive(f"{shown(path)} is a damaged archive: {shown(str(error))}.") from error
        raise unreadable(error, path) from error


def _entries(file: BinaryIO, name: str, looking: _Looking, deepest: int) -> Iterator[_Entry]:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for entry in _zipped(file, looking) if head.startswith(b"PK") else _tarred(file, head, name, looking):
        inner = None
        if deepest and entry.stream is not None and not _unwanted(entry.name):
            start = entry.stream.read(512)
            entry.stream = cast("IO[bytes]", _Rejoined(start, entry.stream))
            if recognise(entry.name, start) == ARCHIVE and entry.size <= MOST_INNER_BYTES:
                inner = b"".join(_blocks(entry, looking))
        if inner is None:
            yield entry
            continue
        try:
            for one in _entries(io.BytesIO(inner), PurePosixPath(entry.name).name, looking, deepest - 1):
                packed_alone = one.size < 0
                yield _Entry(entry.name if packed_alone else f"{entry.name}/{one.name}", one.size, one.stream)
        except (*_BROKEN, OSError) as error:
            looking.damaged(entry.name, error)


class _Rejoined:
    """A stream with its beginning, which somebody looked at, put back."""

    def __init__(self, start: bytes, stream: IO[bytes]) -> None:
        self._start, self._stream = start, stream

    def read(self, count: int = -1) -> bytes:
        if self._start:
            found, self._start = (self._start, b"") if count < 0 else (self._start[:count], self._start[count:])
            return found
        return self._stream.read(count)


def _zipped(file: BinaryIO, looking: _Looking) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            if info.is_dir() or info.external_attr >> 28 == 0o12:  # a folder, or a link
                continue
            if info.flag_bits & 1:
                yield _Entry(info.filename, info.file_size, None)
                continue
            try:
                member = packed.open(info)
            except (*_BROKEN, OSError) as error:
                looking.damaged(info.filename, error)
                continue
            with member:
                yield _Entry(info.filename, info.file_size, member)


def _tarred(file: BinaryIO, head: bytes, name: str, looking: _Looking) -> Iterator[_Entry]:
    packer = _PACKERS.get(head[:2])
    unpacked = cast("IO[bytes]", packer.open(file, "rb")) if packer is not None else file
    stream = _ToTheCut(unpacked, name, looking)
    first = stream.peeked(HEAD_BYTES)
    if first[257:262] != b"ustar":
        yield _Entry(PurePosixPath(name).stem if packer is not None else name, -1, cast("IO[bytes]", stream))
        return
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as packed:
            for info in packed:
                if info.isfile() and (member := packed.extractfile(info)) is not None:
                    yield _Entry(info.name.removeprefix("./"), info.size, member)
    except (tarfile.TarError, EOFError) as error:
        if not stream.is_cut:
            looking.damaged(name, error)


class _ToTheCut:
    """A packed stream that ends where it is cut off or damaged, which is noted."""

    def __init__(self, stream: IO[bytes], name: str, looking: _Looking) -> None:
        self._stream, self._name, self._looking = stream, name, looking
        self._ahead = b""
        self.is_cut = False

    def peeked(self, count: int) -> bytes:
        """What will be read first."""
        found = self.read(count)
        while len(found) < min(count, 512) and (more := self.read(count - len(found))):
            found += more
        self._ahead = found
        return found

    def read(self, count: int = -1) -> bytes:
        count = BLOCK_BYTES if count < 0 else min(count, BLOCK_BYTES)
        if self._ahead:
            found, self._ahead = self._ahead[:count], self._ahead[count:]
            return found
        if self.is_cut:
            return b""
        try:
            # `read1` gives what there is before the damage; `read` would lose it
            found = getattr(self._stream, "read1", self._stream.read)(count)
        except _BROKEN as error:
            self.is_cut, found = True, b""
            self._looking.damaged(self._name, error)
        except OSError as error:
            if error.errno is not None:
                raise
            self.is_cut, found = True, b""
            self._looking.damaged(self._name, error)
        self._looking.add(len(found))
        return bytes(found)


def _looked_at(entry: _Entry, looking: _Looking) -> tuple[bytes, int]:
    """A member's beginning, and its size, which only reading to the end tells where nobody wrote it down."""
    blocks = _blocks(entry, looking)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    if entry.size >= 0:
        looking.add(max(0, entry.size - len(head)))
        return head[:HEAD_BYTES], entry.size
    return head[:HEAD_BYTES], len(head) + sum(map(len, blocks))


def _blocks(entry: _Entry, looking: _Looking) -> Iterator[bytes]:
    """A member's bytes as far as they can be read; where they end too early, that is noted."""
    assert entry.stream is not None
    counted = isinstance(entry.stream, _ToTheCut)  # it counts, and notes, itself
    while True:
        try:
            block = entry.stream.read(BLOCK_BYTES if counted else HEAD_BYTES)
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            looking.damaged(entry.name, error)
            return
        if not block:
            return
        if not counted:
            looking.add(len(block))
        yield block


@contextmanager
def _broken_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except DocumentError:
        raise
    except _BROKEN as error:
        raise BadArchive(f"{shown(path)} is a damaged archive: {shown(str(error)) or 'it ends too early'}.") from error
