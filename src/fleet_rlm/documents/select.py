"""Resolve the arguments of `--docs`: files, folders and globs become a list of text files with short names.

The names are the keys under which a planner sees several documents: unique, relative, the same on every machine and
whatever the working directory is. A file is named by its file name, one in a folder or matched by a glob by its path
within that; where two would be the same, both get as many of their parent folders as tell them apart.
"""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fleet_rlm.documents import bundled, expand, reading_process
from fleet_rlm.documents.archive import BadArchive
from fleet_rlm.documents.decode import HEAD_BYTES, NotText, refuse_binary
from fleet_rlm.documents.document_work import (
    Cancelled,
    DocumentError,
    Stopped,
    Unreadable,
    never,
    printable,
    shown,
    unreadable,
)
from fleet_rlm.documents.formats.recognise import ARCHIVE, FORMATS, Unextractable, recognise
from fleet_rlm.documents.textfile import open_regular

MAX_FILES = 20_000
BYTES_PER_TOKEN = 4
ANSWERS_SUFFIX = ".answers.json"
"""The ending of files with known answers (`fleet-rlm corpus`), which a planner that is tested must not read."""


_LINK, _LINKS = "a link that leads out of it", "links that lead out of it"


class NotFound(DocumentError):
    """Nothing is there. `path` is what was looked for, `near` names that were probably meant."""

    def __init__(self, path: Path | str, message: str, hint: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint)
        self.path = str(path)
        self.near = near


class NothingToRead(DocumentError):
    """The arguments exist, and not one readable text is among them."""


class TooMany(DocumentError):
    """More than `MAX_FILES` files: a folder that was not meant, most likely."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file that was chosen."""

    path: Path
    """Absolute; links are not resolved."""
    name: str
    """Unique within the selection."""
    bytes: int
    """On disk; of an archive's member, unpacked."""
    format: str = ""
    """The format that its text is extracted from (see `formats.FORMATS`); '' for plain text."""
    member: str = ""
    """The member's name in the archive at `path`; '' for a file of its own."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The files that the arguments name, and what was left out."""

    files: tuple[Chosen, ...]
    notices: tuple[str, ...]
    """Notices for the person: what was left out, and why; what is empty."""

    @property
    def bytes(self) -> int:
        """Size on disk, of all."""
        return sum(file.bytes for file in self.files)

    @property
    def approximate_tokens(self) -> int:
        """A quarter of the bytes: right within a factor of two for text in most languages."""
        return self.bytes // BYTES_PER_TOKEN


class _Readable(NamedTuple):
    """A text in a file, or the file's own."""

    bytes: int
    format: str = ""
    member: str = ""


@dataclass(slots=True)
class _Finding:
    """The files and notices that were found so far."""

    cancelled: Cancelled
    files: dict[tuple[str, str], tuple[Path, Path, _Readable]] = field(default_factory=dict)
    """(real path, member) → (path, the folder that it is named relative to, what can be read)."""
    notices: list[str] = field(default_factory=list)

    def add(self, path: Path, base: Path, found: _Readable) -> None:
        self.files.setdefault((os.path.realpath(path), found.member), (path, base, found))
        if len(self.files) > MAX_FILES:
            raise TooMany(
                f"more than {MAX_FILES:,} files; the last one was {shown(path)}.",
                "Name the folders that matter, or a glob.",
            )


def select(
    arguments: Iterable[str | os.PathLike[str]], *, cwd: Path | None = None, cancelled: Cancelled = never
) -> Selection:
    """Resolve arguments: files, folders (read recursively, in order of name), globs (`**` too).

    `~` is the home folder, and `bundled:NAME` something that ships with the package.

    In folders and globs, hidden files and folders, links that lead out of what was named, pipes and devices, and files
    that are not text are left out with a notice. Reads some of every file: run it in a worker where folders may be
    large. Raises `NotFound`, `NotText` (a file named by itself that is not text), `Unreadable`, `NothingToRead`,
    `TooMany`, or `Stopped`.
    """
    cwd = cwd or Path.cwd()
    given = [os.fspath(argument) for argument in arguments]
    finding = _Finding(cancelled)
    if not given:
        raise NothingToRead("no documents were named.", "Name files, folders or globs.")
    for argument in given:
        if not argument.strip() or "\0" in argument:
            raise NotFound(argument, f"{shown(argument)!r} is no path.", "Name a file, a folder or a glob.")
        expanded = _at_home(argument)
        path = cwd / expanded
        if argument.startswith(bundled.PREFIX) and not _exists(path):
            _take(bundled.located(argument), finding)
        elif _exists(path):
            _take(path, finding)
        elif glob.has_magic(argument):
            _take_glob(expanded, cwd, finding)
        else:
            raise _not_found(path, argument)
    if not finding.files:
        raise NothingToRead(
            "there is no text to read in " + ", ".join(map(shown, given)) + ".", "; ".join(finding.notices)
        )
    found = list(finding.files.values())
    names = unique_names([(path / text.member if text.member else path, base) for path, base, text in found])
    chosen = tuple(
        Chosen(path, name, text.bytes, text.format, text.member)
        for (path, _, text), name in zip(found, names, strict=True)
    )
    empty = [file.name for file in chosen if not file.bytes]
    if empty:
        finding.notices.append(f"{_some(empty)} {'is' if len(empty) == 1 else 'are'} empty")
    return Selection(chosen, tuple(finding.notices))


def unique_names(files: Sequence[tuple[Path, Path]]) -> list[str]:
    """A short unique name for each (path, the folder that it is named relative to)."""
    parts = [_relative(path, base) for path, base in files]
    full = [tuple(path.absolute().parts[1:]) for path, _ in files]
    while True:
        counts = Counter(parts)
        clashing = [i for i, name in enumerate(parts) if counts[name] > 1 and len(name) < len(full[i])]
        if not clashing:
            break
        for i in clashing:
            parts[i] = full[i][-len(parts[i]) - 1 :]
    taken: set[str] = set()
    names = []
    for each in parts:  # cleaned names may be the same where the files' are not
        name = plain = printable("/".join(each))
        number = 2
        while name in taken:
            name, number = f"{plain} ({number})", number + 1
        taken.add(name)
        names.append(name)
    return names


def _relative(path: Path, base: Path) -> tuple[str, ...]:
    try:
        return path.relative_to(base).parts or (path.name,)
    except ValueError:
        return (path.name,)


def _at_home(argument: str) -> Path:
    try:
        return Path(argument).expanduser()
    except RuntimeError:  # a ~name whom nobody knows: then it is a file's name
        return Path(argument)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(error, path) from error
    return True


def _take(path: Path, finding: _Finding) -> None:
    """A path that the person named."""
    path = Path(os.path.normpath(path))
    if path.is_dir():
        before = len(finding.notices)
        if not _take_folder(path, path, finding) and len(finding.notices) == before:
            finding.notices.append(f"the folder {shown(path)} is empty")
    else:
        texts = _texts(path, finding)
        base = path if texts and texts[0].member else path.parent
        for found in texts:
            finding.add(path, base, found)


def _take_glob(pattern: Path, cwd: Path, finding: _Finding) -> None:
    fixed, rest = expand.parted(pattern)
    base = cwd / fixed
    if not base.is_dir():
        raise _not_found(base, str(fixed))
    found = expand.matching(base, rest, finding.cancelled)
    place = f"of {shown(pattern)}"
    _skipped(found.links, _LINK, place, finding, _LINKS)
    _skipped(found.refused, "a folder that may not be read", place, finding, "folders that may not be read")
    if not found.paths:
        if found.links or found.refused:
            return
        raise NotFound(pattern, f"nothing matches {shown(pattern)}.", f"Looked in {shown(base)}.")
    folders: list[Path] = []
    files: list[Path] = []
    for match in found.paths:
        if any(match.is_relative_to(folder) for folder in folders[-1:]):
            continue
        (folders if match.is_dir() else files).append(match)
    _take_files(files, base, place, finding)
    for folder in folders:
        _take_folder(folder, base, finding)


def _take_folder(folder: Path, base: Path, finding: _Finding) -> int:
    """Everything readable in a folder; how many files that is."""
    files: list[Path] = []
    hidden: list[str] = []
    links: list[str] = []
    refused: list[str] = []
    answers: list[str] = []
    root = os.path.realpath(base)

    def note(error: OSError) -> None:
        refused.append(str(error.filename))

    for here, folders, names in os.walk(folder, onerror=note):
        if finding.cancelled():
            raise Stopped("looking for documents was cancelled.")
        hidden.extend(name for name in (*folders, *names) if name.startswith("."))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links.extend(name for name in folders if expand.leads_out(Path(here, name), root))
        for name in sorted(names):
            path = Path(here, name)
            if name.startswith("."):
                continue
            if expand.leads_out(path, root):
                links.append(name)
            elif name.endswith(ANSWERS_SUFFIX):
                answers.append(name)
            else:
                files.append(path)
        if len(files) + len(finding.files) > MAX_FILES:
            raise TooMany(
                f"{shown(folder)} holds more than {MAX_FILES:,} files.", "Name the folders that matter, or a glob."
            )
    place = f"in {shown(folder)}"
    _skipped(hidden, "hidden", place, finding)
    _skipped(links, _LINK, place, finding, _LINKS)
    _skipped(answers, "the known answers to a text", place, finding)
    _skipped(refused, "a folder that may not be read", place, finding, "folders that may not be read")
    return _take_files(files, base, place, finding)


def _take_files(files: list[Path], base: Path, place: str, finding: _Finding) -> int:
    binary: list[str] = []
    refused: list[str] = []
    odd: list[str] = []
    broken: list[str] = []
    taken = 0
    for path in files:
        if finding.cancelled():
            raise Stopped("looking for documents was cancelled.")
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                odd.append(path.name)
                continue
            texts = _texts(path, finding)
        except NotText:
            binary.append(path.name)
        except (BadArchive, Unextractable) as error:
            finding.notices.append(f"left out {printable(path.name)} {place}: {error}")
        except FileNotFoundError:
            broken.append(path.name)
        except (Unreadable, OSError):
            refused.append(path.name)
        else:
            for found in texts:
                finding.add(path, base, found)
            taken += len(texts)
    _skipped(odd, "a pipe, socket or device", place, finding, "pipes, sockets or devices")
    _skipped(broken, "a link to nothing", place, finding, "links to nothing")
    _skipped(binary, "not text", place, finding)
    _skipped(refused, "not readable", place, finding)
    return taken


def _skipped(names: list[str], why: str, place: str, finding: _Finding, plural: str = "") -> None:
    if names:
        finding.notices.append(f"left out {_some(names)} {place}: {why if len(names) == 1 or not plural else plural}")


def _some(names: Sequence[str]) -> str:
    """`a, b and c`, or `a, b, c and 9 more`."""
    names = [printable(Path(name).name) for name in names]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _texts(path: Path, finding: _Finding) -> list[_Readable]:
    """The text that a file is or holds; several where it is an archive.

    Raises `NotText`, `BadArchive`, `Unextractable`, `Unreadable`, or `Stopped`.
    """
    fd, size = open_regular(path)
    try:
        kind = recognise(path, os.pread(fd, HEAD_BYTES, 0))
        known = FORMATS.get(kind)
        if known is None and kind != ARCHIVE:
            refuse_binary(lambda count, offset: os.pread(fd, count, offset), size, path)
            return [_Readable(size)]
    except OSError as error:
        raise unreadable(error, path) from error
    finally:
        os.close(fd)
    return _packed_texts(path, finding) if known is None else [_Readable(size, kind)]


def _packed_texts(path: Path, finding: _Finding) -> list[_Readable]:
    found = reading_process.list_archive(path, finding.cancelled)
    for why, names in found.left_out.items():
        _skipped(list(names), why, f"in {shown(path.name)}", finding)
    finding.notices += [notice for notice in found.notices if notice not in finding.notices]
    if not found.members and not found.left_out:
        finding.notices.append(f"the archive {shown(path.name)} is empty")
    return [_Readable(member.bytes, member.format, member.name) for member in found.members]


def _not_found(path: Path, argument: str) -> NotFound:
    folder, missing = path.parent, path.name
    while not folder.is_dir() and folder != folder.parent:
        folder, missing = folder.parent, folder.name
    try:
        there = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        return NotFound(
            path, f"there is no {shown(argument)}.", f"{shown(folder)} could not be read: {error.strerror}."
        )
    by_folded = {name.casefold(): name for name in there}
    folded = difflib.get_close_matches(missing.casefold(), by_folded, n=3, cutoff=0.6)
    near = tuple(printable(by_folded[name]) for name in folded)
    looked = f"Looked for {printable(missing)} in {shown(folder)}"
    return NotFound(
        path,
        f"there is no {shown(argument)}.",
        f"{looked}; did you mean {_either(near)}?" if near else f"{looked}.",
        near,
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
