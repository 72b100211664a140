"""Keep texts that come through a pipe (`--docs -`, `--docs <(command)`) as private files in the run library's folder.

A pipe can be read once, and a run's record names its documents so that a screen and a later run can read them again.
The library removes a kept file with the last run that names it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from fleet_rlm.documents.document_work import BLOCK_BYTES, DocumentError, shown, size_in_words, unreadable

FOLDER = "piped"
MOST_BYTES = 2_000_000_000
"""A pipe that gives more is refused."""
_KEPT = re.compile(r"(?:stdin|pipe)-[0-9a-f]{10}")


def is_pipe(name: str) -> bool:
    """True if a path is a pipe, such as a shell makes of `<(command)`."""
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode)  # noqa: PTH116 - no error on odd names
    except (OSError, ValueError):
        return False


def keep(name: str, runs: Path) -> Path:
    """Read a pipe to its end into a new file. Raises `DocumentError`."""
    try:
        with Path(name).open("rb", buffering=0) as pipe:
            return keep_stream(pipe, "pipe", runs)
    except OSError as error:
        raise unreadable(error, name) from error


def keep_stream(source: IO[bytes], kind: str, runs: Path) -> Path:
    """Read a stream to its end into a new file; `kind` is `stdin` or `pipe`. Raises `DocumentError`."""
    path = runs / FOLDER / f"{kind}-{os.urandom(5).hex()}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            while block := source.read(BLOCK_BYTES):
                file.write(block)
                if file.tell() > MOST_BYTES:
                    raise DocumentError(
                        f"{kind} gives more than {size_in_words(MOST_BYTES)}.", "Save what matters of it to a file."
                    )
    except OSError as error:
        forget(runs, [path.name])
        raise unreadable(error, f"{kind}, which is to be kept in {shown(path)}") from error
    except BaseException:  # ctrl+c too: nothing half done is left behind; it is raised again
        forget(runs, [path.name])
        raise
    return path


def is_kept(document: str) -> bool:
    """True if a document has the name of one that was kept from a pipe."""
    return _KEPT.fullmatch(document) is not None


def forget(runs: Path, documents: Iterable[str]) -> None:
    """Remove the files of those documents that were kept from a pipe."""
    for name in filter(is_kept, documents):
        (runs / FOLDER / name).unlink(missing_ok=True)
