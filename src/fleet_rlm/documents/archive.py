"""Archives of text: zip, and tar packed by gzip, bzip2 or xz; also a single packed file such as `app.log.gz`.

Nothing is unpacked to disk: a member is read into memory when it is wanted, and its name is a name, never a path. What
an archive may unpack to is bounded, whatever it says of itself. Archives and packed files in an archive are looked into
as well, but not those in them. Only the reading process unpacks (see `fleet_rlm.documents.reading_process`).
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
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from fleet_rlm.documents.cut_zip import CutZip, open_zip, read_some
from fleet_rlm.documents.decode import HEAD_BYTES, NotText, reading, refuse_binary
from fleet_rlm.documents.document_work import DocumentError, shown, size_in_words, unreadable
from fleet_rlm.documents.formats.recognise import ARCHIVE, recognise

MOST_BYTES = 2_000_000_000
"""The most bytes that an archive may unpack to."""
MOST_INNER_BYTES = 200_000_000
"""The largest archive in an archive, in bytes as it is packed."""
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
    """The texts in an archive, and the files that were left out."""

    members: tuple[Member, ...]
    left_out: dict[str, tuple[str, ...]]
    """Why → names."""
    notices: tuple[str, ...] = ()
    """Notices for the person: which files are cut off or damaged."""


@dataclass(slots=True)
class _Entry:
    """A regular file in an archive, while it can be read."""

    name: str
    size: int
    """Unpacked; -1 where only reading it to its end tells."""
    stream: _ToTheCut | None
    """None where it is encrypted."""
    is_alone: bool = False
    """True for a packed file that is no archive."""


@dataclass(slots=True)
class _Looking:
    """The bytes and notices counted while an archive is read."""

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

    def damaged(self, name: str, error: Exception) -> str:
        """Note that a file ends too early, and return the notice."""
        why = shown(str(error)).rstrip(".") or "it ends too early"
        self.notices.append(f"{shown(name)} is cut off or damaged and was read as far as it goes ({why})")
        return self.notices[-1]


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
            data = b"".join(_blocks(entry))
            yield entry.name, data, entry.stream.notices
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
                inner = b"".join(_blocks(entry))
                found.append((entry.name, recognise(entry.name, inner[:HEAD_BYTES]), inner))
    return found, looking.notices


def _is_text(name: str, head: bytes) -> bool:
    try:
        refuse_binary(reading(head), len(head), name)
    except NotText:
        return False
    return True


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
    for entry in _zipped(file, name, looking) if head.startswith(b"PK") else _tarred(file, head, name, looking):
        inner = None
        stream = None if _unwanted(entry.name) else entry.stream
        if deepest and stream is not None and entry.size <= MOST_INNER_BYTES:
            head = stream.peeked(512)
            inner = b"".join(_blocks(entry)) if recognise(entry.name, head) == ARCHIVE else None
        if inner is None:
            yield entry
            continue
        try:
            for one in _entries(io.BytesIO(inner), PurePosixPath(entry.name).name, looking, deepest - 1):
                yield _Entry(entry.name if one.is_alone else f"{entry.name}/{one.name}", one.size, one.stream)
        except (*_BROKEN, OSError) as error:
            looking.damaged(entry.name, error)


def _zipped(file: BinaryIO, name: str, looking: _Looking) -> Iterator[_Entry]:
    with open_zip(file, MOST_MEMBERS) as packed:
        if isinstance(packed, CutZip):
            looking.damaged(name, zipfile.BadZipFile("its list of members is missing, so there may have been more"))
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
            is_cut = isinstance(packed, CutZip) and info.filename == packed.unfinished
            with member:
                yield _Entry(info.filename, -1 if is_cut else info.file_size, _ToTheCut(member, info.filename, looking))


def _tarred(file: BinaryIO, head: bytes, name: str, looking: _Looking) -> Iterator[_Entry]:
    packer = _PACKERS.get(head[:2])
    unpacked = cast("IO[bytes]", packer.open(file, "rb")) if packer is not None else file
    stream = _ToTheCut(unpacked, name, looking)
    first = stream.peeked(HEAD_BYTES)
    if first[257:262] != b"ustar":
        yield _Entry(PurePosixPath(name).stem if packer is not None else name, -1, stream, is_alone=True)
        return
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as packed:
            for info in packed:
                if info.isfile() and (member := packed.extractfile(info)) is not None:
                    inner = info.name.removeprefix("./")
                    yield _Entry(inner, info.size, _ToTheCut(member, inner, looking, counts=False))
        if any(stream.last):  # a whole one ends in zero bytes
            raise tarfile.TarError("its end mark is missing, so there may have been more")
    except (tarfile.TarError, EOFError) as error:
        if not stream.notices:
            looking.damaged(name, error)


class _ToTheCut:
    """A stream that ends where it is cut off or damaged, which is noted."""

    def __init__(self, stream: IO[bytes], name: str, looking: _Looking, *, counts: bool = True) -> None:
        self._stream, self._name, self._looking, self._counts = stream, name, looking, counts
        self._ahead = b""
        self.notices: list[str] = []
        """The damage found so far, in words; empty while none was found."""
        self.last = b""
        """The last 512 bytes that were read."""

    def peeked(self, count: int) -> bytes:
        """The bytes that will be read first: at least 512 where there are as many."""
        found = b""
        while len(found) < min(count, 512) and (more := self.read(count - len(found))):
            found += more
        self._ahead = found + self._ahead
        return found

    def read(self, count: int = -1) -> bytes:
        count = HEAD_BYTES if count < 0 else min(count, HEAD_BYTES)
        if self._ahead:
            found, self._ahead = self._ahead[:count], self._ahead[count:]
            return found
        if self.notices:
            return b""
        try:
            found = read_some(self._stream, count)
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.notices, found = [self._looking.damaged(self._name, error)], b""
        if self._counts:
            self._looking.add(len(found))
        self.last = (self.last + found[-512:])[-512:]
        return found


def _looked_at(entry: _Entry, looking: _Looking) -> tuple[bytes, int]:
    """A member's beginning, and its size, which only reading to the end tells where nobody wrote it down."""
    blocks = _blocks(entry)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= HEAD_BYTES:
            break
    if entry.size >= 0:
        looking.add(max(0, entry.size - len(head)))
        return head[:HEAD_BYTES], entry.size
    return head[:HEAD_BYTES], len(head) + sum(map(len, blocks))


def _blocks(entry: _Entry) -> Iterator[bytes]:
    """Yield a member's bytes as far as they can be read."""
    assert entry.stream is not None
    while block := entry.stream.read():
        yield block


@contextmanager
def _broken_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except DocumentError:
        raise
    except _BROKEN as error:
        raise BadArchive(f"{shown(path)} is a damaged archive: {shown(str(error)) or 'it ends too early'}.") from error
