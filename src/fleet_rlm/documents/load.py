"""The whole text of a document, as a run's input."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm.documents import formats, reading_process
from fleet_rlm.documents.archive import BadArchive
from fleet_rlm.documents.decode import HEAD_BYTES, Encoding, NotText, decode, detect, reading, utf8
from fleet_rlm.documents.document_work import (
    BLOCK_BYTES,
    Cancelled,
    DocumentError,
    Progress,
    Stopped,
    Throttle,
    Turns,
    never,
    printable,
    shown,
    size_in_words,
    unreadable,
)
from fleet_rlm.documents.formats import Unextractable
from fleet_rlm.documents.select import Chosen
from fleet_rlm.documents.textfile import open_regular


class TooLarge(DocumentError):
    """The text does not fit in memory."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text and what identifies it."""

    path: str
    """Absolute, as a run records it."""
    name: str
    """The key under which the planner sees it when there are several."""
    bytes: int
    """On disk, as read; of an archive's member, unpacked."""
    chars: int
    sha256: str
    """The hash of these bytes, in hexadecimal."""
    text: str
    """Exactly what a plain text holds, line ends included; a byte-order mark left out, invalid bytes as U+FFFD."""
    encoding: str
    notices: tuple[str, ...] = ()
    """Notices for the person: how it was decoded, bytes that were replaced, a change while it was read."""
    format: str = ""
    """The format that the text was extracted from (see `formats.FORMATS`); '' for plain text."""
    member: str = ""
    """The member's name in the archive at `path`; '' for a file of its own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The documents of a selection."""

    documents: tuple[Document, ...]
    notices: tuple[str, ...] = ()
    """Notices for the person: what could not be read, and the formats that text was extracted from."""


def load(
    path: Path | str,
    name: str | None = None,
    *,
    kind: str | None = None,
    member: str = "",
    size: int = 0,
    progress: Progress | None = None,
    cancelled: Cancelled = never,
) -> Document:
    """Read a document. Needs the file's size in memory on top of the text's own.

    `kind` is one of `formats.FORMATS`, '' for plain text, None to go by what the file is; `member` is an archive's, and
    `size` the bytes that it has.
    Raises `Unreadable`, `NotText`, `Unextractable`, `BadArchive`, `TooLarge`, or `Stopped` when cancelled.
    """
    path = Path(path)
    name = printable(name or member or path.name)
    if kind is None and not member:
        kind = _kind_of(path)
    if kind or member:
        text, facts = reading_process.read_document(path, name, kind, member, size, cancelled)
        return Document(
            path=str(path.absolute()),
            name=name,
            bytes=facts["size"],
            chars=facts["chars"],
            sha256=facts["sha256"],
            text=text,
            encoding=facts["encoding"],
            notices=tuple(facts["notices"]),
            format=facts["format"],
            member=member,
        )
    data, digest, changed = read_file(path, progress, cancelled)
    return document_of(path, name, "", data, "", digest, [f"{name} {changed}"] if changed else [])


def _kind_of(path: Path) -> str:
    fd, _ = open_regular(path)
    try:
        kind = formats.recognise(path, os.pread(fd, HEAD_BYTES, 0))
    except OSError as error:
        raise unreadable(error, path) from error
    finally:
        os.close(fd)
    return "" if kind == formats.ARCHIVE else kind  # which is refused with what to do


def read_file(path: Path, progress: Progress | None = None, cancelled: Cancelled = never) -> tuple[bytearray, str, str]:
    """A file's bytes, their SHA-256, and how they changed meanwhile ('' where they did not).

    Raises `Unreadable`, `TooLarge` or `Stopped`.
    """
    fd, expected = open_regular(path)
    try:
        data, digest = _read(fd, expected, progress, cancelled)
    except OSError as error:
        raise unreadable(error, path) from error
    except MemoryError as error:
        raise _too_large(path, expected) from error
    finally:
        os.close(fd)
    changed = f"changed while it was read: {size_in_words(len(data))} instead of {size_in_words(expected)}"
    return data, digest, changed if len(data) != expected else ""


def load_all(files: Sequence[Chosen], *, progress: Progress | None = None, cancelled: Cancelled = never) -> Loaded:
    """Read the files of a selection, with one progress over all of them; raises as `load` does.

    Where there are several, those that text can't be taken out of are left out and told.
    """
    documents: list[Document] = []
    notices: list[str] = []
    refused: list[DocumentError] = []
    before, total = 0, sum(file.bytes for file in files)

    def tell(done: int, _of: int) -> None:
        if progress:
            progress(min(before + done, total), total)

    for file in files:
        try:
            document = load(
                file.path,
                file.name,
                kind=file.format,
                member=file.member,
                size=file.bytes,
                progress=tell,
                cancelled=cancelled,
            )
        except (Unextractable, NotText, BadArchive) as error:
            if len(files) == 1:
                raise
            refused.append(error)
            notices.append(f"left out: {error}")
        else:
            documents.append(document)
        before += file.bytes
        tell(0, total)
    if refused and not documents:
        raise refused[0]
    return Loaded(tuple(documents), (*_taken_out_of(documents), *notices))


def _taken_out_of(documents: Sequence[Document]) -> tuple[str, ...]:
    """Return the notice that names the formats that text was extracted from."""
    kinds = Counter(document.format for document in documents if document.format)
    each = [
        formats.FORMATS[kind].kind if count == 1 else f"{count:,} {formats.FORMATS[kind].plural}"
        for kind, count in kinds.items()
    ]
    return (f"the text was taken out of {', '.join(each)}",) if each else ()


def document_of(
    path: Path,
    name: str,
    member: str,
    data: bytes | bytearray,
    kind: str | None,
    digest: str = "",
    notices: Sequence[str] = (),
) -> Document:
    """The document that bytes make; raises as `load` does. Only the reading process calls it for anything but text."""
    notices = list(notices)
    if kind is None:
        kind = formats.recognise(member or path, bytes(data[:HEAD_BYTES]))
        kind = "" if kind == formats.ARCHIVE else kind
    codec = "utf-8"
    try:
        if kind:
            found = formats.extract(kind, bytes(data), name)
            text = found.text
            notices += found.notices
        else:
            text, encoding, invalid = _decoded(data, Path(name) if member else path)
            codec = encoding.codec
            if notice := encoding.notice(name):
                notices.append(notice)
            if zeros := text.count("\0"):
                notices.append(f"{name}: holds {zeros:,} zero byte{'s' * (zeros != 1)}")
            if invalid:
                notices.append(f"{name}: {invalid:,} invalid byte{'s' * (invalid != 1)} replaced by U+FFFD")
    except MemoryError as error:
        raise _too_large(path, len(data)) from error
    if not text:
        notices.append(f"{name} is empty")
    return Document(
        path=str(path.absolute()),
        name=name,
        bytes=len(data),
        chars=len(text),
        sha256=digest or hashlib.sha256(data).hexdigest(),
        text=text,
        encoding=codec,
        notices=tuple(notices),
        format=kind,
        member=member,
    )


def _read(fd: int, expected: int, progress: Progress | None, cancelled: Cancelled) -> tuple[bytearray, str]:
    digest, tell, turns = hashlib.sha256(), Throttle(progress), Turns(cancelled)
    data = bytearray(expected)
    view, done = memoryview(data), 0
    while True:
        if turns():
            raise Stopped("reading was cancelled.")
        if done < expected:
            count = os.preadv(fd, [view[done : done + BLOCK_BYTES]], done)
        else:  # where the file should end; it may have grown
            more = os.pread(fd, BLOCK_BYTES, done)
            view.release()
            data += more
            view, count = memoryview(data), len(more)
        if not count:
            break
        digest.update(view[done : done + count])
        done += count
        tell(done, max(done, expected))
    view.release()
    del data[done:]
    return data, digest.hexdigest()


def _decoded(data: bytes | bytearray, path: Path) -> tuple[str, Encoding, int]:
    with memoryview(data) as view:
        encoding = detect(reading(view), len(data), path)
        if encoding.is_utf8:
            try:
                return str(view[encoding.bom :], "utf-8"), encoding, 0
            except UnicodeDecodeError:
                encoding = detect(reading(view), len(data), path, thorough=True)
        text, invalid = decode(view[encoding.bom :], encoding.codec)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = utf8(text).decode()
        return text, encoding, invalid


def _too_large(path: Path, size: int) -> TooLarge:
    return TooLarge(
        f"{shown(path)} ({size_in_words(size)}) does not fit in this machine's memory.",
        "Split it, and pass the part that matters.",
    )
