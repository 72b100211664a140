"""The whole text of a document, as a run's input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm.documents.decode import Encoding, decode, detect, utf8
from fleet_rlm.documents.select import Chosen
from fleet_rlm.documents.textfile import open_regular
from fleet_rlm.documents.work import (
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
    """On disk, as read."""
    chars: int
    sha256: str
    """Of the bytes on disk, in hexadecimal."""
    text: str
    """Exactly what the file holds, line ends included; a byte-order mark left out, invalid bytes as U+FFFD."""
    encoding: str
    notices: tuple[str, ...] = ()
    """What the person should know: how it was decoded, bytes that were replaced, a change while it was read."""


def load(
    path: Path | str, name: str | None = None, *, progress: Progress | None = None, cancelled: Cancelled = never
) -> Document:
    """Read a document. Needs the file's size in memory on top of the text's own.

    Raises `Unreadable`, `NotText`, `TooLarge`, or `Stopped` when cancelled.
    """
    path = Path(path)
    name = printable(name or path.name)
    fd, expected = open_regular(path)
    try:
        data, digest = _read(fd, expected, progress, cancelled)
    except OSError as error:
        raise unreadable(error, path) from error
    except MemoryError as error:
        raise _too_large(path, expected) from error
    finally:
        os.close(fd)
    notices = []
    if len(data) != expected:
        notices.append(
            f"{name} changed while it was read: {size_in_words(len(data))} instead of {size_in_words(expected)}"
        )
    try:
        text, encoding, invalid = _decoded(data, path)
    except MemoryError as error:
        raise _too_large(path, expected) from error
    if notice := encoding.notice(name):
        notices.append(notice)
    if invalid:
        notices.append(f"{name}: {invalid:,} invalid byte{'s' * (invalid != 1)} replaced by U+FFFD")
    if not text:
        notices.append(f"{name} is empty")
    return Document(str(path.absolute()), name, len(data), len(text), digest, text, encoding.codec, tuple(notices))


def load_all(
    files: Sequence[Chosen],
    *,
    progress: Progress | None = None,
    cancelled: Cancelled = never,
) -> tuple[Document, ...]:
    """Read the files of a selection, with one progress over all of them; raises as `load` does."""
    documents, before, total = [], 0, sum(file.bytes for file in files)
    for file in files:

        def tell(done: int, _of: int, before: int = before) -> None:
            if progress:
                progress(min(before + done, total), total)

        documents.append(load(file.path, file.name, progress=tell, cancelled=cancelled))
        before += file.bytes
    return tuple(documents)


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


def _decoded(data: bytearray, path: Path) -> tuple[str, Encoding, int]:
    with memoryview(data) as view:
        encoding = detect(lambda count, offset: bytes(view[offset : offset + count]), len(data), path)
        if encoding.is_utf8:
            try:
                return str(view[encoding.bom :], "utf-8"), encoding, 0
            except UnicodeDecodeError:
                encoding = detect(
                    lambda count, offset: bytes(view[offset : offset + count]), len(data), path, thorough=True
                )
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
