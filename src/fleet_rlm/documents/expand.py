"""Expand globs to files and folders, without following a link out of the folder that a glob begins in.

The standard library's `glob` follows every link, round and round where they make a loop, and tells nobody.
"""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet_rlm.documents.document_work import Cancelled, Stopped


@dataclass(slots=True)
class Matching:
    """The paths that match a glob, and the names that were passed over."""

    paths: list[Path] = field(default_factory=list)
    """In order of name, a folder before what is in it."""
    links: list[str] = field(default_factory=list)
    """Names of links that would lead out."""
    refused: list[str] = field(default_factory=list)
    """Folders that may not be read."""


def parted(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """The folders of a pattern before its first wildcard, and the rest."""
    fixed = tuple(itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    return Path(*fixed), pattern.parts[len(fixed) :]


def matching(base: Path, parts: Sequence[str], cancelled: Cancelled) -> Matching:
    """Return what matches the parts of a pattern below a folder; hidden names only where a part begins with a dot."""
    found = Matching()
    folded = [part for part, before in zip(parts, (None, *parts), strict=False) if not part == before == "**"]
    found.paths = sorted(set(_below(base, folded, os.path.realpath(base), found, cancelled)))
    found.links = sorted(set(found.links))
    return found


def leads_out(path: Path, root: str) -> bool:
    """True if a path is a link that leads out of the folder `root` (a real path)."""
    if not path.is_symlink():
        return False
    target = os.path.realpath(path)
    return target != root and not target.startswith(root.rstrip(os.sep) + os.sep)


def _below(folder: Path, parts: Sequence[str], root: str, found: Matching, cancelled: Cancelled) -> Iterator[Path]:
    if cancelled():
        raise Stopped("looking for documents was cancelled.")
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(folder, rest, root, found, cancelled)
    for path in _named(folder, part, found):
        if leads_out(path, root):
            if part == "**" or not rest or path.is_dir():
                found.links.append(path.name)
        elif part == "**":
            if path.is_dir() and not path.is_symlink():
                yield from _below(path, parts, root, found, cancelled)
        elif not rest or path.is_dir():
            yield from _below(path, rest, root, found, cancelled)


def _named(folder: Path, part: str, found: Matching) -> Iterator[Path]:
    """Yield the paths in a folder that match one part of a pattern."""
    if part != "**" and not glob.has_magic(part):
        path = folder / part
        if os.path.lexists(path):
            yield path
        return
    wanted = "*" if part == "**" else part
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are what is wanted
    except OSError:
        found.refused.append(folder.name)
        return
    for name in names:
        if fnmatch.fnmatchcase(name, wanted) and (part.startswith(".") or not name.startswith(".")):
            yield folder / name
