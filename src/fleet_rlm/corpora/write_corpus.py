"""Write a corpus to disk as it is made, and its answers beside it.

A text takes its name only when it is whole: what a full disk or ctrl+c leaves behind is removed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import fleet_rlm
from fleet_rlm.atomic_write import usual_mode, whole_file
from fleet_rlm.corpora import kinds
from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.kinds import Making
from fleet_rlm.corpora.known_answers import Answers, KnownDocument, answers_path
from fleet_rlm.documents.document_work import (
    Cancelled,
    DocumentError,
    Progress,
    Stopped,
    Throttle,
    Unreadable,
    never,
    shown,
    size_in_words,
)

LEAST_BYTES = 4_000
MOST_BYTES = 1_000_000_000_000
_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


class NotASize(DocumentError):
    """That is no size, or none that a corpus can have."""


class Exists(DocumentError):
    """A file of that name is there, and nobody said that it may be replaced."""


def size_of(words: str) -> int:
    """Bytes of `40MB`, `1.5 GB`, `200k` (powers of 1000) or `64MiB` (of 1024). Raises `NotASize`."""
    match = _SIZE.fullmatch(words.strip().replace("_", "").replace(",", ""))
    if match is None:
        raise NotASize(f"{words!r} is no size.", "Write it like 40MB, 200kB or 1.5GB.")
    number, unit, binary = match.groups()
    factor = _UNITS[unit.lower()]
    if binary:
        factor = {10**3: 2**10, 10**6: 2**20, 10**9: 2**30, 10**12: 2**40}.get(factor, 1)
    size = float(number) * factor
    if size < LEAST_BYTES:
        raise NotASize(f"{words} is too small: a corpus has at least {size_in_words(LEAST_BYTES)}.", "Ask for more.")
    if size > MOST_BYTES:
        raise NotASize(f"{words} is too much: a corpus has at most {size_in_words(MOST_BYTES)}.", "Ask for less.")
    return int(size)


def place_for(out: Path, name: str) -> Path:
    """The file that `out` means: itself, or `name` in it where it is a folder."""
    return out / name if out.is_dir() else out


def write_corpus(
    kind: str,
    size: int,
    seed: int,
    path: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled = never,
) -> Answers:
    """Make about `size` bytes of a kind. The same kind, size and seed give the same bytes.

    Raises `UnknownKind`, `Exists`, `Unreadable` (the disk is full or refuses) or `Stopped`.
    """
    making = kinds.get(kind).make(Dice(seed), size)
    return write(making, path, kind=kind, size=size, seed=seed, force=force, progress=progress, cancelled=cancelled)


def write(
    making: Making,
    path: Path,
    *,
    kind: str,
    size: int,
    seed: int,
    force: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled = never,
) -> Answers:
    """Write what is being made, and its answers. Raises as `write_corpus` does."""
    answers_at = answers_path(path)
    for there in (path, answers_at):
        may_be_written(there, force=force)
    room_for(size, path)
    digest, written, lines, tell = hashlib.sha256(), 0, 0, Throttle(progress)
    with new_file(path, force=force) as file:
        for block in making.blocks():
            if cancelled():
                raise Stopped("making the corpus was cancelled.")
            file.write(block)
            digest.update(block)
            written, lines = written + len(block), lines + block.count(b"\n")
            tell(min(written, size), size)
    answers = Answers(
        kind=kind,
        seed=seed,
        size=size,
        made_with=f"fleet-rlm {fleet_rlm.__version__}",
        documents=(KnownDocument(name=path.name, bytes=written, lines=lines, sha256=digest.hexdigest()),),
        questions=making.questions(),
    )
    with new_file(answers_at, force=force) as file:
        file.write(answers.encode())
    tell(size, size)
    return answers


def may_be_written(path: Path, *, force: bool) -> None:
    """Raise `Exists` where something is at `path` that must stay."""
    if path.exists() and not (force and path.is_file()):
        raise (
            _exists(path) if path.is_file() else Exists(f"{shown(path)} is not a regular file.", "Choose another name.")
        )


def room_for(size: int, path: Path) -> None:
    """Raise `Unreadable` where the disk has no room for `size` bytes, or there is no folder."""
    try:
        free = shutil.disk_usage(path.parent).free
    except FileNotFoundError as error:
        raise Unreadable(f"there is no folder {shown(path.parent)}.", "Make it first, or choose another.") from error
    except OSError as error:
        raise _refused(error, path) from error
    if free < size:
        raise Unreadable(
            f"{size_in_words(size)} do not fit on the disk of {shown(path.parent.absolute())}: "
            f"{size_in_words(free)} are free.",
            "Ask for less, or choose another folder.",
        )


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file that takes its name when all of it is written. Raises `Exists` or `Unreadable`."""
    try:
        with whole_file(path, usual_mode(), replace=force) as file:
            yield file
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise _refused(error, path) from error


def _exists(path: Path) -> Exists:
    return Exists(f"{shown(path)} exists already.", "Choose another name with --out, or replace it with --force.")


def _refused(error: OSError, path: Path) -> Unreadable:
    hint = {
        errno.ENOSPC: "Free some space, or choose another folder with --out.",
        errno.EDQUOT: "Your quota is used up: choose another folder with --out.",
        errno.EACCES: "Choose a folder that you may write to, with --out.",
        errno.EROFS: "Choose a folder that you may write to, with --out.",
        errno.ENOENT: "Make the folder first, or choose another.",
        errno.ENOTDIR: "Choose another place with --out.",
    }.get(error.errno or 0, "")
    return Unreadable(f"cannot write {shown(path)}: {os.strerror(error.errno) if error.errno else error}.", hint)
