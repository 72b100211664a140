"""Between a volume and the folders of this machine: what goes where, settled before anything moves.

Names in a volume may have been made by generated code, so none of them decides where a file is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from fleet_rlm.figures import plural
from fleet_rlm.whole_file import usual_mode, whole_file

if TYPE_CHECKING:
    from fleet_rlm.sandbox.modal.volume_files import Entry, VolumeFiles

AT_ONCE = 8
"""Downloads."""
BATCH_FILES = 500
"""In one upload: they arrive together or not at all."""
_SHOWN = 5
Moved = Callable[[int], None]


class Refused(Exception):
    """What can't be done, before or while it is done."""

    def __init__(self, message: str, hint: str = "", *, usage: bool = False) -> None:
        super().__init__(message)
        self.hint, self.usage = hint, usage


def in_volume(text: str) -> str:
    """A path in a volume as it is used here: relative to the root, which is the empty path. Raises `Refused`."""
    parts = PurePosixPath("/", text).parts[1:]
    if ".." in parts or "\0" in text:
        raise Refused(f"{text!r} is no path in a volume.", "Write it from the volume's root, without `..`.", usage=True)
    return "/".join(parts)


# -- from the volume


@dataclass(frozen=True, slots=True)
class Download:
    """A file of the volume and where it goes."""

    path: str
    target: Path
    bytes: int


def target_of(remote: str, volume: str, local: Path | None) -> Path:
    """Where a file or folder goes: into `local` when that is a folder, else to `local` itself, as `cp` has it."""
    name = PurePosixPath(remote).name or volume
    if local is None:
        return Path(name)
    return local / name if local.is_dir() else local


def downloads(entries: Iterable[Entry], remote: str, root: Path) -> tuple[list[Download], list[str]]:
    """Where the files below the folder `remote` go, each below `root`; and what is left out, in words."""
    wanted: dict[Path, Download] = {}
    left_out: list[str] = []
    for entry in entries:
        if entry.kind == "folder":
            continue
        path = PurePosixPath(entry.path)
        below = path.is_relative_to(remote) and not path.is_absolute() and ".." not in path.parts
        if not below or "\0" in entry.path or path == PurePosixPath(remote):
            left_out.append(f"{entry.path!r}: its name leads out of the folder")
        elif entry.kind != "file":
            left_out.append(f"{entry.path!r}: neither a file nor a folder")
        elif (target := root / path.relative_to(remote)) in wanted:
            left_out.append(f"{entry.path!r}: another file has its name")
        else:
            wanted[target] = Download(entry.path, target, entry.bytes)
    return list(wanted.values()), left_out


def may_be_written(wanted: Sequence[Download], root: Path | None, *, force: bool) -> None:
    """Look before anything moves. `root`: the folder that nothing may leave by a link in it. Raises `Refused`."""
    there = [str(one.target) for one in wanted if os.path.lexists(one.target)]
    folders = [path for path in there if Path(path).is_dir()]
    if root is not None and os.path.lexists(root) and not root.is_dir():
        raise Refused(f"{root} is a file here, and a folder in the volume.", "Choose another place.")
    if folders:
        raise Refused(f"A folder here, and a file in the volume: {_some(folders)}.", "Choose another place.")
    if there and not force:
        raise Refused(f"Here already: {_some(there)}; nothing was fetched.", "Replace what is there with --force.")
    for one in wanted if root is not None else ():
        assert root is not None
        if not Path(os.path.realpath(one.target.parent)).is_relative_to(os.path.realpath(root)):
            words = f"{one.target.parent} is a link out of {root}; nothing was fetched."
            raise Refused(words, "Choose another place.")
    size, folder = sum(one.bytes for one in wanted), _existing(wanted[0].target.parent) if wanted else Path()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Refused(f"{size:,} bytes don't fit: {folder} has {free:,} free.", "Make room, or choose another place.")


def fetch(files: VolumeFiles, wanted: Sequence[Download], moved: Moved, *, force: bool) -> None:
    """Download all of them, several at once; a file takes its name when it is whole.

    Raises `Refused` and what `VolumeFiles` raises, at the first failure: what was whole by then stays.
    """
    mode = usual_mode()

    def one(download: Download) -> None:
        with new_file(download.target, mode, force=force) as file:
            files.read_into(download.path, file, moved)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="volume-get") as pool:
        try:
            for _ in pool.map(one, wanted):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            files.stop()
            raise


@contextmanager
def new_file(path: Path, mode: int, *, force: bool) -> Iterator[BinaryIO]:
    """A file that takes its name when all of it is written, and else leaves nothing. Raises `Refused`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, mode, replace=force) as file:
            yield file
    except FileExistsError as error:
        raise Refused(f"{path} exists already.", "Replace it with --force.") from error
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror or error}.", "Choose another place.") from error


# -- to the volume


@dataclass(frozen=True, slots=True)
class Upload:
    """A local file and its path in the volume."""

    source: Path
    path: str
    bytes: int


def uploads(local: Path, remote: str, *, into: bool) -> tuple[list[Upload], list[str]]:
    """What of a local file or folder goes where; and what is left out, in words. `into`: `remote` is a folder.

    Raises `Refused` when there is nothing to send.
    """
    if not local.exists():
        raise Refused(f"There is no {local} here.", "Name a file or a folder of this machine.")
    whole = local.resolve()
    at = PurePosixPath(remote, whole.name) if into or not remote else PurePosixPath(remote)
    if not local.is_dir():
        if not local.is_file():
            raise Refused(f"{local} is neither a file nor a folder.", "Write `-` to send what comes on standard input.")
        found = [(whole, str(at))]
        left_out: list[str] = []
    else:
        found, left_out = [], []
        for path in _below(whole):
            relative = path.relative_to(whole).as_posix()
            if path.is_symlink() or not path.is_file():
                left_out.append(f"{relative!r}: neither a file nor a folder")
            else:
                found.append((path, str(at / relative)))
        if not found:
            raise Refused(f"There is no file in {local}.", "A volume keeps folders only by the files in them.")
    sent = []
    for source, name in found:
        try:
            name.encode()
            size = source.stat().st_size
        except UnicodeEncodeError:
            raise Refused(f"{name!r} is not UTF-8, as names in a volume are.", "Rename it.") from None
        except OSError as error:
            raise Refused(f"{source} can't be read: {error.strerror}.") from error
        if not os.access(source, os.R_OK):
            raise Refused(f"{source} can't be read: Permission denied.", "Give yourself read permission (chmod u+r).")
        sent.append(Upload(source, name, size))
    return sent, left_out


def may_be_stored(files: VolumeFiles, wanted: Sequence[Upload], *, force: bool) -> None:
    """Look in the volume before anything is sent. Raises `Refused`."""
    if force:
        return
    top = os.path.commonpath([one.path for one in wanted])
    if len(wanted) == 1:
        there = [top] if files.find(top) is not None else []
    elif files.find(top) is None:
        return
    else:
        held = {entry.path for entry in files.entries(top, recursive=True)}
        there = [one.path for one in wanted if one.path in held]
    if there:
        raise Refused(
            f"In the volume already: {_some(there)}; nothing was sent.", "Replace what is there with --force."
        )


def send(files: VolumeFiles, wanted: Sequence[Upload], moved: Moved, *, force: bool) -> None:
    """Upload all of them, each batch whole or not at all. Raises what `VolumeFiles` raises."""
    for number in range(0, len(wanted), BATCH_FILES):
        batch = wanted[number : number + BATCH_FILES]
        files.put([(one.source, one.path) for one in batch], force=force, moved=moved)


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder but the folders themselves, sorted; links are not followed."""

    def refuse(error: OSError) -> None:
        raise Refused(f"{error.filename} can't be read: {error.strerror}.") from error

    for here, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        links = [name for name in folders if Path(here, name).is_symlink()]
        yield from (Path(here, name) for name in sorted([*names, *links]))


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else next(parent for parent in path.parents if parent.exists())


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN])
    return shown if len(paths) <= _SHOWN else f"{shown} and {plural(len(paths) - _SHOWN, 'other')}"
